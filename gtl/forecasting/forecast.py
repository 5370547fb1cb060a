"""Forecasting of the values of nodes, with an encoder, an adapter or a memory, or a baseline."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.freezing import unfreeze
from gtl.catalog import WEIGHTINGS
from gtl.checkpoint import read_json
from gtl.checks import check_positive
from gtl.data.series import PARTS, Series, Windows, as_horizons
from gtl.data.window_items import WindowItems, future_of
from gtl.errors import ConfigError, DataError
from gtl.forecasting.baselines import BASELINES, Baseline
from gtl.forecasting.forecaster import Forecaster, base_of, body_of
from gtl.forecasting.horizons import errors, mean_of, windows_of
from gtl.run_folder import RunFolder
from gtl.train.footprint import footprint
from gtl.train.inference_cost import ITEMS
from gtl.train.job import Job
from gtl.train.loop import History
from gtl.train.loop import train as train_job
from gtl.train.model import TARGET
from gtl.train.session import Session
from gtl.train.settings import Settings
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
) -> Forecaster | Fitted:
    """Train a model of the values to come, from those of a window of the past.

    The encoder reads snapshots, a head the vectors of the present one. With neither ``adapter`` nor
    ``memory`` no other snapshot is used: so, with ``history=1``, an encoder of single snapshots is
    trained, from which others may start. Inputs and targets are z-scores by the training
    part; errors are in the unit of the series. Validation data select the epoch; the test part is
    evaluated once, at the end.

    Args:
        encoder: Name, mapping with options, instance, run or its folder, or what this function
            returned before or its folder; it is copied. Adapters and memory that it came with stay
            behind: its encoder alone is taken. Or ``last_value``, ``seasonal_naive`` or ``linear``
            (an autoregression that all nodes share), for which nothing is trained step by step.
        series: Values over time.
        adapter: Adapter, or a list of them, such as ``"spatio_temporal"``, which gets the
            history.
        memory: ``"gru"`` for a recurrent unit over the encoder's vectors; ``None`` for none.
        frozen: Whether the encoder keeps its weights; by default so if there is an adapter or a
            memory to learn instead. Otherwise all of it learns, also what was frozen where it
            comes from. Beside an adapter it stays in eval mode also where it learns.
        difference: Learn how much the values change, instead of the values: where the present one
            is a good forecast, a network need not learn to hand it on.
        head: Vectors to values.
        history: Steps of the past that a forecast reads, the present one included.
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
        resume: Continue the run in ``out``.

    Returns:
        A :class:`Forecaster`, or a :class:`Fitted` baseline: both ``predict`` and have
        ``results``: ``valid`` and ``test`` (mean absolute error, mean over the horizons),
        ``horizons`` (errors on the test part at each) and ``epoch``.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    check_positive(batch_size=batch_size)
    if memory not in MEMORIES:
        raise ConfigError(f"`memory` is {memory!r}, expected one of {MEMORIES}")
    windows = _windows(series, history, horizons, stride)
    settings = Settings(epochs, batch_size, None, lr, weight_decay, optimizer)
    with Session("forecast", series, seed=seed, device=device, out=out, resume=resume) as session:
        shape = _shape(series, windows, stride)
        if isinstance(encoder, str) and encoder in BASELINES:
            given = {"adapter": adapter, "memory": memory, "frozen": frozen, "head": head}
            _refuse(encoder, difference=difference, **given, **_training(settings))
            return _fit(encoder, series, windows, session, shape)
        frozen = frozen if frozen is not None else adapter is not None or memory is not None
        base = base_of(session.encoder(_copied(encoder))[0])
        unfreeze(base)  # the adapters that froze it are not used here
        train = windows["train"]
        adapter = _with_history(adapter, train.history)
        body = body_of(base, adapter, memory, train.history, frozen)
        scale = series.scale()
        forecaster = Forecaster(body, head, train.history, train.horizons, scale, difference)
        items = WindowItems(series, train, scale, difference)
        forecaster.target.standardize(items.labels())
        model = session.placed(TaskModel(body, {TARGET: forecaster.target}))
        settings.check(model)
        config = {**forecaster.config(), "frozen": frozen, **shape, **_training(settings)}
        folder = session.open(config)
        how = WEIGHTINGS.build("equal")
        how.setup([TARGET], TARGET)
        job = Job(
            model,
            how,
            settings.optimizer_of(model),
            items,
            torch.arange(len(items)),
            epochs,
            batch_size,
            session.rng,
            seed=seed,
            target=TARGET,
            validate=lambda: mean_of(forecaster.errors(series, windows["valid"]), "mae"),
            folder=folder,
            title=f"forecast {series.spec}",
        )
        done = train_job(job)
        forecaster.training_history, forecaster.folder = done.epochs, folder
        forecaster.results = session.close(
            {
                **_results(forecaster.errors(series, windows["test"]), done.best["valid"]),
                "epoch": done.best["epoch"],
                "footprint": _cost(forecaster, job, done, series, windows["test"]),
            }
        )
    return forecaster.eval()


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
    """The adapter, if it is one of sequences with their number of steps."""
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


def _windows(
    series: Any, history: int, horizons: int | Sequence[int], stride: int | Mapping[str, int]
) -> dict[str, Windows]:
    """Windows of each part of the series."""
    if not isinstance(series, Series):
        raise ConfigError(
            f"`series` is a {type(series).__name__}, expected a gtl.data.Series such as "
            "gtl.load('series:chickenpox')"
        )
    ahead, strides = as_horizons(horizons), _strides(stride)
    for part in strides:
        if part not in PARTS:
            raise ConfigError(f"`stride` names {part!r}, expected parts: {', '.join(PARTS)}")
    return {part: series.windows(history, ahead, part, strides.get(part, 1)) for part in PARTS}


def _strides(stride: int | Mapping[str, int]) -> dict[str, int]:
    return dict(stride) if isinstance(stride, Mapping) else {"train": stride}


def _shape(
    series: Series, windows: Mapping[str, Windows], stride: int | Mapping[str, int]
) -> dict[str, Any]:
    """What is forecast from what, for ``config.json``."""
    return {
        "history": windows["train"].history,
        "horizons": windows["train"].horizons,
        "stride": {part: int(number) for part, number in _strides(stride).items()},
        "columns": series.values.shape[2],
    }


def _training(settings: Settings) -> dict[str, Any]:
    """Settings that a user can give here."""
    names = ("epochs", "batch_size", "lr", "weight_decay", "optimizer")
    return {name: getattr(settings, name) for name in names}


def _refuse(baseline: str, **options: Any) -> None:
    """Refuse options that only networks have."""
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
    session: Session,
    shape: Mapping[str, Any],
) -> Fitted:
    """A baseline, fitted and evaluated."""
    started = time.monotonic()
    baseline = BASELINES[name]().fit(series, windows["train"])
    seconds = time.monotonic() - started
    test = windows["test"]
    fitted = Fitted(baseline, test.history, test.horizons, series.values.shape[2])

    def errors_on(part: str) -> dict[int, dict]:
        chosen = windows[part]
        return errors(fitted.predict(series, chosen), future_of(series, chosen), chosen.horizons)

    weights = nn.ParameterList([nn.Parameter(baseline.weight)])
    found = _results(errors_on("test"), mean_of(errors_on("valid"), "mae"))
    fitted.folder = session.open({**shape, "baseline": name})
    cost = footprint(weights, seconds, predict=_prediction_of(fitted, series, test))
    fitted.results = session.close({**found, "epoch": None, "footprint": cost})
    return fitted


def _cost(
    forecaster: Forecaster, job: Job, done: History, series: Series, windows: Windows
) -> dict[str, Any]:
    """The footprint of a training."""
    return footprint(
        forecaster,
        done.seconds,
        optimizer=job.optimizer,
        epochs=done.epochs,
        metric=job.data.metric,
        samples=len(job.items),
        predict=_prediction_of(forecaster, series, windows),
    )


def _prediction_of(
    forecaster: Any, series: Series, windows: Windows
) -> tuple[Callable[[], Any], int]:
    """A call that forecasts a few windows, and their number."""
    few = windows.pick(torch.arange(min(ITEMS, len(windows))))
    return (lambda: forecaster.predict(series, few)), len(few)


def _results(found: dict[int, dict], valid: float | None) -> dict[str, Any]:
    return {
        "metric": "mae",
        "valid": valid,
        "test": mean_of(found, "mae"),
        "horizons": {str(h): values for h, values in found.items()},
    }
