"""Forecasting: what a frozen encoder of single graphs can do once it is given a past."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.freezing import unfreeze
from gtl.catalog import HEADS, WEIGHTINGS
from gtl.data.series import PARTS, Series, Windows, as_horizons
from gtl.errors import ConfigError, DataError
from gtl.forecasting.baselines import BASELINES, Baseline
from gtl.forecasting.forecaster import (
    TARGET,
    Forecaster,
    WindowBatches,
    base_of,
    body_of,
    snapshots_of,
)
from gtl.forecasting.horizons import errors, future_of, mean_of, windows_of
from gtl.report.plots import write_plots
from gtl.run_folder import RunFolder, read_json
from gtl.train import loop
from gtl.train.model import encoder_config, module_device
from gtl.train.resolve import as_encoder, check_positive
from gtl.train.seed import reseed, seeded
from gtl.train.step import TaskModel

MEMORIES = (None, "gru")


def forecast(
    encoder: Any,
    series: Series,
    *,
    adapter: Any = None,
    memory: str | None = None,
    frozen: bool | None = None,
    difference: bool = False,
    head: Any = "linear",
    history: int = 12,
    horizons: int | Sequence[int] = (1, 3, 6, 12),
    stride: int | Mapping[str, int] = 1,
    epochs: int = 20,
    batch_size: int = 8,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Any:
    """Train a model of the values to come, from those of a window of the past.

    The encoder reads snapshots, a head the vectors of the present one. With neither ``adapter`` nor
    ``memory`` that snapshot is all that counts: so, with ``history=1``, an encoder is trained that
    knows no time, which others may start from. Inputs and targets are z-scores by the training
    part; errors are in the unit of the series. Validation data choose the epoch; the test part is
    looked at once, at the end.

    Args:
        encoder: Name, mapping with options, instance, run or its folder, or what this function
            returned before or its folder; it is copied. Adapters and memory that it came with stay
            behind: its encoder alone is taken. Or ``last_value``, ``seasonal_naive`` or ``linear``
            (an autoregression that all nodes share), for which nothing is trained step by step.
        series: Values over time.
        adapter: Adapter, or a list of them, such as ``"spatio_temporal"``, which is told the
            history.
        memory: ``"gru"`` for a recurrent unit over the encoder's vectors; ``None`` for none.
        frozen: Whether the encoder keeps its weights; by default so if there is an adapter or a
            memory to learn instead. Otherwise all of it learns, also what was frozen where it
            comes from. Beside an adapter it stays in eval mode also where it learns.
        difference: Learn how much the values change, instead of the values: where the present one
            is a good forecast, a network need not learn to hand it on.
        head: Vectors to values.
        history: Steps of the past that a forecast may look at, the present one included.
        horizons: Steps ahead; one number ``h`` means 1 to ``h``.
        stride: Take every so many-th window only: one number for training, or one by part.
        epochs: Passes over the training windows.
        batch_size: Windows per step.
        lr: Learning rate.
        weight_decay: Weight decay.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Go on with the run in ``out``.

    Returns:
        A :class:`Forecaster`, or a :class:`Fitted` baseline: both ``predict`` and have
        ``results``: ``valid`` and ``test`` (mean absolute error, mean over the horizons),
        ``horizons`` (errors on the test part at each) and ``epoch``.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    if not isinstance(series, Series):
        raise ConfigError(
            f"`series` is a {type(series).__name__}, expected a gtl.data.Series such as "
            "gtl.load('series:chickenpox')"
        )
    check_positive(epochs=epochs, lr=lr, batch_size=batch_size)
    if memory not in MEMORIES:
        raise ConfigError(f"`memory` is {memory!r}, expected one of {MEMORIES}")
    ahead = as_horizons(horizons)
    strides = dict(stride) if isinstance(stride, Mapping) else {"train": stride}
    for part in strides:
        if part not in PARTS:
            raise ConfigError(f"`stride` names {part!r}, expected parts: {', '.join(PARTS)}")
    windows = {part: series.windows(history, ahead, part, strides.get(part, 1)) for part in PARTS}
    history = windows["train"].history
    config = {
        "command": "forecast",
        "data": series.spec,
        "data_options": dict(series.options),
        "data_checksum": series.checksum(),
        "history": history,
        "horizons": ahead,
        "stride": {part: int(number) for part, number in strides.items()},
        "columns": series.values.shape[2],
        "seed": seed,
    }
    if isinstance(encoder, str) and encoder in BASELINES:
        _refuse(
            encoder,
            adapter=adapter,
            memory=memory,
            frozen=frozen,
            difference=difference,
            head=head,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            optimizer=optimizer,
        )
        return _fit(encoder, series, windows, {**config, "baseline": encoder}, out, resume)
    frozen = frozen if frozen is not None else adapter is not None or memory is not None
    scale = series.scale()
    with seeded(seed) as rng:
        base = base_of(as_encoder(_copied(encoder), series.schema)[0])
        unfreeze(base)  # the adapters that held it stay behind
        reseed(rng)
        body = body_of(base, _with_history(adapter, history), memory, history, frozen)
        answer = Forecaster(body, head, history, ahead, scale, difference)
        batches = WindowBatches(series, windows["train"], scale, difference)
        answer.target.standardize(batches.labels())
        model = TaskModel(body, {TARGET: answer.target})
        model.to(device or module_device(base))
        config |= {
            **encoder_config(snapshots_of(body)),
            "memory": memory,
            "frozen": frozen,
            "difference": difference,
            "head": HEADS.spec(answer.head),
            "target": {"mean": scale.mean.tolist(), "std": scale.std.tolist()},
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "weight_decay": weight_decay,
            "optimizer": optimizer,
        }
        how = WEIGHTINGS.build("equal")
        how.setup([TARGET], TARGET)
        job = loop.Job(
            model,
            how,
            loop.build_optimizer(model, optimizer, lr, weight_decay),
            batches,  # type: ignore[arg-type]
            torch.arange(len(windows["train"])),
            epochs,
            batch_size,
            rng,
            seed=seed,
            target=TARGET,
            validate=lambda: mean_of(answer.errors(series, windows["valid"]), "mae"),
            folder=None if out is None else RunFolder(out, config, resume),
            title=f"forecast {series.spec}",
        )
        done = loop.run(job)
    answer.training_history, answer.folder = done.epochs, job.folder
    answer.results = {
        **_results(answer.errors(series, windows["test"]), done.best["valid"], seed),
        "epoch": done.best["epoch"],
        "footprint": loop.footprint(answer, done.seconds),
    }
    if job.folder is not None:
        job.folder.write_results(answer.results)
        write_plots(job.folder.path)
    return answer.eval()


class Fitted:
    """A baseline after :func:`forecast`.

    Args:
        baseline: What forecasts.
        history: Steps of a window.
        horizons: Steps ahead.
        columns: Columns of the values.
    """

    def __init__(self, baseline: Baseline, history: int, horizons: tuple[int, ...], columns: int):
        self.baseline, self.history, self.horizons = baseline, history, horizons
        self.columns = columns
        self.results: dict[str, Any] = {}
        self.folder: RunFolder | None = None

    def predict(self, series: Series, windows: Windows | str = "test") -> Tensor:
        """Forecasts ``(w, horizons, n, d)`` in the unit of the series.

        Raises:
            ConfigError: If the windows have another history or other horizons than its own.
            DataError: If the series has other columns, or a window's past reaches out of it.
        """
        if series.values.shape[2] != self.columns:
            raise DataError(
                f"{series.spec} has {series.values.shape[2]} columns of values, the baseline was "
                f"fitted to {self.columns}; fit it to this series"
            )
        windows = windows_of(series, windows, self.history, self.horizons)
        return self.baseline.predict(series, windows)


def _with_history(adapter: Any, history: int) -> Any:
    """Tell the adapter of sequences how long they are."""
    if isinstance(adapter, (list, tuple)):
        return [_with_history(part, history) for part in adapter]
    spec = {"name": adapter} if isinstance(adapter, str) else adapter
    if isinstance(spec, Mapping) and spec.get("name") == "spatio_temporal":
        return {"history": history, **spec}
    return adapter


def _copied(encoder: Any) -> Any:
    """A copy of an encoder, or of a forecaster's, that is handed in."""
    config = Path(encoder) / "config.json" if isinstance(encoder, (str, Path)) else None
    if config and config.is_file() and read_json(config).get("command") == "forecast":
        encoder = Forecaster.load(config.parent)
    if isinstance(encoder, Forecaster):
        encoder = encoder.encoder
    return copy.deepcopy(encoder) if isinstance(encoder, nn.Module) else encoder


def _refuse(baseline: str, **options: Any) -> None:
    """Refuse what only networks have a use for."""
    known = inspect.signature(forecast).parameters
    given = [f"`{name}`" for name, value in options.items() if value != known[name].default]
    if given:
        raise ConfigError(
            f"{baseline} has no encoder to adapt or train; leave out {', '.join(given)}"
        )


def _fit(
    name: str,
    series: Series,
    windows: Mapping[str, Windows],
    config: Mapping[str, Any],
    out: Path | str | None,
    resume: bool,
) -> Fitted:
    started = time.monotonic()
    baseline = BASELINES[name]().fit(series, windows["train"])
    seconds = time.monotonic() - started
    test = windows["test"]
    answer = Fitted(baseline, test.history, test.horizons, series.values.shape[2])

    def judged(part: str) -> dict[int, dict]:
        chosen = windows[part]
        return errors(answer.predict(series, chosen), future_of(series, chosen), chosen.horizons)

    valid = mean_of(judged("valid"), "mae")
    answer.results = {**_results(judged("test"), valid, config["seed"]), "epoch": None}
    fitted = nn.ParameterList([nn.Parameter(baseline.weight)])
    answer.results["footprint"] = loop.footprint(fitted, seconds)
    if out is not None:
        answer.folder = RunFolder(out, config, resume)
        answer.folder.write_results(answer.results)
    return answer


def _results(found: dict[int, dict], valid: float | None, seed: int) -> dict[str, Any]:
    return {
        "metric": "mae",
        "valid": valid,
        "test": mean_of(found, "mae"),
        "seed": seed,
        "horizons": {str(h): values for h, values in found.items()},
    }
