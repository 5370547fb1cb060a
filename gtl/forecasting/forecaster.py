"""A Forecaster: windows of a series in, values to come out, whatever was trained in between."""

from __future__ import annotations

from functools import cached_property
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
from gtl.data.series import Scale, Series, Windows
from gtl.errors import CheckpointError, ConfigError, GtlError
from gtl.forecasting.horizons import errors, future_of, present_of, windows_of
from gtl.forecasting.recurrent import Recurrent
from gtl.graph import Graph
from gtl.graph.time_graph import history_rows
from gtl.roles import Encoder
from gtl.run_folder import RunFolder, best_weights, read_json
from gtl.tasks import Supervised
from gtl.train.model import Predictor, encoder_from_config, load_part, module_device

TARGET = "supervised"
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
        batches = WindowBatches(series, windows, self.scale, self.difference)
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

    @staticmethod
    def load(folder: Path | str) -> Forecaster:
        """The forecaster of a run folder, at its best epoch on validation data.

        Raises:
            CheckpointError: If the folder is no such run or its checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if config.get("command") != "forecast" or "baseline" in config:
            what = config.get("baseline") or config.get("command")
            raise CheckpointError(f"{folder} is a run of {what!r}, not of a trained forecaster")
        state = best_weights(folder)
        encoder = encoder_from_config(config, folder)
        scale = Scale(*(torch.tensor(config["target"][k]).double() for k in ("mean", "std")))
        answer = Forecaster(
            encoder if config["memory"] is None else Recurrent(encoder, config["history"]),
            config["head"],
            config["history"],
            tuple(config["horizons"]),
            scale,
            config["difference"],
        )
        load_part(answer.encoder, state, "encoder.", folder)
        load_part(answer.target, state, f"tasks.{TARGET}.", folder)
        return answer.eval()

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


class WindowBatches:
    """Windows as the loop sees a data set: items are windows, labels the values to come."""

    metric = "mae"
    level = "node"

    def __init__(self, series: Series, windows: Windows, scale: Scale, difference: bool):
        self.series, self.windows, self.difference = series, windows, difference
        self.scores = scale.apply(series.values)

    @cached_property
    def future(self) -> Tensor:
        """What came, or how much it had changed, ``(w, horizons, n, d)``; NaN for missing."""
        came = future_of(self.series, self.windows)
        return came - present_of(self.series, self.windows) if self.difference else came

    def inputs(self, index: Tensor) -> Graph:
        """Windows one after the other; seeds are the nodes that are there at present."""
        windows = self.windows.pick(index)
        graph = self.series.snapshots(windows.past().flatten(), self.scores)
        rows = history_rows(graph, windows.history)[:, -1]  # (w, k)
        return graph.replace(seeds=rows[rows >= 0])

    def batch(
        self, index: Tensor, device: Any = "cpu", fan_out: Any = None, rng: Any = None
    ) -> Graph:
        """The same with what came as labels of the seeds, ``(b, horizons * d)``."""
        graph = self.inputs(index)
        rows = history_rows(graph, self.windows.history)[:, -1]
        window, node = (rows >= 0).nonzero().unbind(1)
        y = self.future[index].transpose(1, 2)[window, node].flatten(1).float()
        return graph.replace(y=y).to(device)

    def labels(self) -> Tensor:
        """Labels of all nodes of all windows, ``(w * n, horizons * d)``; NaN for missing."""
        return self.future.transpose(1, 2).flatten(0, 1).flatten(1)


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
                    "it out of the adapter, which is told, or forecast with that `history`"
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
