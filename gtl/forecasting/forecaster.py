"""Forecaster: windows of a series in, values to come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.adapters import attach, print_trainable_parameters
from gtl.adapters.adapted import AdaptedEncoder
from gtl.adapters.sites import in_eval_mode
from gtl.adapters.spatio_temporal import SpatioTemporal
from gtl.catalog import HEADS
from gtl.checkpoint import read_json
from gtl.data.series import Scale, Series, Windows
from gtl.data.window_items import WindowItems, future_of
from gtl.errors import CheckpointError, ConfigError, GtlError
from gtl.forecasting.horizons import errors, windows_of
from gtl.forecasting.recurrent import Recurrent
from gtl.graph import Graph
from gtl.graph.time_graph import history_rows
from gtl.roles import Encoder
from gtl.run_folder import RunFolder, best_weights
from gtl.run_kinds import kind_of
from gtl.tasks import Supervised
from gtl.train.device import module_device
from gtl.train.model import TARGET, Predictor, encoder_config, encoder_from_config, load_part

_ROWS = 1 << 15  # node vectors that a prediction encodes at once


class Forecaster(nn.Module):
    """What :func:`forecast` returns: windows of a series in, values to come out.

    Args:
        encoder: Batches of windows to node vectors.
        head: Name, mapping or instance.
        history: Steps of a window.
        horizons: Steps ahead.
        scale: Of the values.
        difference: Whether what it learns are changes of the present value.

    Attributes:
        results: What ``results.json`` holds.
        training_history: One dictionary per epoch, as in ``metrics.jsonl``.
        folder: The run folder, or ``None``.
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Any,
        history: int,
        horizons: tuple[int, ...],
        scale: Scale,
        difference: bool,
    ):
        super().__init__()
        self.encoder, self.history, self.horizons = encoder, history, horizons
        self.scale, self.difference = scale, difference
        self.results: dict[str, Any] = {}
        self.training_history: list[dict[str, Any]] = []
        self.folder: RunFolder | None = None
        outputs = len(horizons) * len(scale.mean)
        self.target = Supervised(
            Predictor(HEADS.build(head, encoder.width, outputs)), "regression", outputs
        )

    @property
    def head(self) -> nn.Module:
        """Vectors to values."""
        assert isinstance(self.target.predictor, Predictor)
        return self.target.predictor.head

    def forward(self, graph: Graph) -> Tensor:
        """Values ``(b, horizons * d)`` of the seeds of a batch of windows of z-scores."""
        values = self.target.predict(graph, self.encoder(graph))
        if not self.difference:
            return values
        assert graph.x is not None and graph.seeds is not None
        present = self.scale.to(graph.device).undo(graph.x[graph.seeds])  # (b, d)
        return values + present.repeat(1, len(self.horizons))

    @torch.no_grad()
    def predict(self, series: Series, windows: Windows | str = "test") -> Tensor:
        """Forecasts in the unit of the series, which may be of what is not known yet.

        Args:
            series: Values of as many columns as it was trained on.
            windows: Windows, or the part of which to take all.

        Returns:
            ``(w, horizons, n, d)`` on the CPU; NaN for a node that is absent at present.

        Raises:
            ConfigError: If the windows have another history or other horizons than its own.
            DataError: If the series has other columns, or a window's past reaches out of it.
        """
        windows = self._windows(series, windows)
        batches = WindowItems(series, windows, self.scale, self.difference)
        size = max(1, _ROWS // (self.history * max(series.num_nodes, 1)))
        parts = []
        with in_eval_mode(self):
            for index in torch.arange(len(windows)).split(size):
                graph = batches.inputs(index).to(module_device(self))
                parts.append(self._spread(self(graph).cpu(), graph.to("cpu"), series.num_nodes))
        return torch.cat(parts)

    def errors(self, series: Series, windows: Windows | str = "test") -> dict[int, dict]:
        """MAE, RMSE and MAPE at each horizon; see :func:`gtl.forecasting.horizons.errors`.

        Raises:
            GtlError: As :meth:`predict` and :func:`gtl.forecasting.horizons.future_of` do, or if a
                forecast is no finite number.
        """
        windows = self._windows(series, windows)
        future, forecast = future_of(series, windows), self.predict(series, windows)
        there = series.present()[windows.now]  # (w, n)
        if not bool(forecast.transpose(1, 2)[there].isfinite().all()):
            raise GtlError(
                "forecasts are no finite numbers; lower the learning rate (lr) or check the data"
            )
        return errors(forecast, future, self.horizons)

    def print_trainable_parameters(self) -> None:
        """Print how many parameters may move, in the manner of PEFT."""
        print_trainable_parameters(self)

    def config(self) -> dict[str, Any]:
        """What :meth:`load` needs to build the forecaster again, for ``config.json``."""
        return {
            **encoder_config(snapshots_of(self.encoder)),
            "memory": "gru" if isinstance(self.encoder, Recurrent) else None,
            "difference": self.difference,
            "head": HEADS.spec(self.head),
            "target": {"mean": self.scale.mean.tolist(), "std": self.scale.std.tolist()},
        }

    @staticmethod
    def load(folder: Path | str) -> Forecaster:
        """The forecaster of a run folder, at its best epoch on validation data.

        Raises:
            CheckpointError: If the folder is no such run or its checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if kind.role != "forecast":
            raise CheckpointError(f"{folder} is {kind.what}, not a forecast")
        if "baseline" in config:
            raise CheckpointError(
                f"{folder} is a run of the baseline {config['baseline']!r}, not of a trained "
                "forecaster"
            )
        state = best_weights(folder)
        encoder = encoder_from_config(config, folder)
        scale = Scale(*(torch.tensor(config["target"][k]).double() for k in ("mean", "std")))
        forecaster = Forecaster(
            encoder if config["memory"] is None else Recurrent(encoder, config["history"]),
            config["head"],
            config["history"],
            tuple(config["horizons"]),
            scale,
            config["difference"],
        )
        load_part(forecaster.encoder, state, "encoder.", folder)
        load_part(forecaster.target, state, f"tasks.{TARGET}.", folder)
        return forecaster.eval()

    def _windows(self, series: Series, windows: Windows | str) -> Windows:
        self.encoder.schema.require(series.schema, "the forecaster")
        return windows_of(series, windows, self.history, self.horizons)

    def _spread(self, values: Tensor, graph: Graph, nodes: int) -> Tensor:
        """Rows of the seeds as ``(w, horizons, n, d)``."""
        rows = history_rows(graph, self.history)[:, -1]  # (w, k)
        out = values.new_full((*rows.shape, values.shape[1]), torch.nan)
        out[rows >= 0] = values
        out = F.pad(out, (0, 0, 0, nodes - rows.shape[1]), value=torch.nan)
        return out.unflatten(2, (len(self.horizons), -1)).transpose(1, 2)


def body_of(base: Encoder, adapter: Any, memory: str | None, history: int, frozen: bool) -> Encoder:
    """Encoder, adapters and memory; what is frozen also stays in eval mode.

    Args:
        base: Without adapters; all of it learns unless it is frozen, whatever was before.
        adapter: As for :func:`gtl.adapters.attach`; ``None`` for none.
        memory: ``"gru"`` or ``None``.
        history: Steps of a window.
        frozen: Whether ``base`` stays as it is.

    Raises:
        ConfigError: If an adapter does not fit, or is for windows of another history.
    """
    encoder = base
    if adapter is not None or frozen:
        encoder = attach(base, [] if adapter is None else adapter)
        for part in encoder.parts():
            if isinstance(part, SpatioTemporal) and part.history != history:
                raise ConfigError(
                    f"the adapter has `history` {part.history}, the windows have {history}; leave "
                    "it out of the adapter, which gets that of the forecast, or forecast with it"
                )
    if not frozen:
        base.requires_grad_(True)
    return encoder if memory is None else Recurrent(encoder, history)


def snapshots_of(body: Encoder) -> Encoder:
    """The encoder with its adapters, without memory."""
    return body.base if isinstance(body, Recurrent) else body


def base_of(body: Encoder) -> Encoder:
    """The encoder without adapters and memory."""
    while isinstance(body, (Recurrent, AdaptedEncoder)):
        body = body.base
    return body
