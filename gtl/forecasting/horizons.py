"""Errors of forecasts at each horizon."""

from __future__ import annotations

from torch import Tensor

from gtl.data.series import Series, Windows
from gtl.errors import ConfigError, DataError, ShapeError

ERRORS = ("mae", "rmse", "mape")


def windows_of(
    series: Series, windows: Windows | str, history: int, horizons: tuple[int, ...]
) -> Windows:
    """All windows of a part, or those given, if a model of that history and horizons can use them.

    Their future need not be known.

    Raises:
        ConfigError: If they have another history or other horizons, or there is no such part.
        DataError: If their past reaches out of the series.
    """
    if isinstance(windows, str):
        return series.windows(history, horizons, windows)
    if windows.history != history or tuple(windows.horizons) != tuple(horizons):
        raise ConfigError(
            f"`windows` have {windows.history} past steps and the horizons "
            f"{list(windows.horizons)}, the model has {history} and {list(horizons)}; make them "
            f"with series.windows({history}, {list(horizons)}, ...)"
        )
    past = windows.past()
    if past.numel() and (int(past.min()) < 0 or int(past.max()) >= len(series)):
        raise DataError(
            f"{series.spec}: windows cover steps {int(past.min())} to {int(past.max())} of a "
            f"series of {len(series)}; take present steps from {history - 1} to {len(series) - 1}"
        )
    return windows


def errors(forecast: Tensor, future: Tensor, horizons: tuple[int, ...]) -> dict[int, dict]:
    """Mean errors at each horizon.

    Args:
        forecast: ``(w, horizons, n, d)``; NaN where there is none.
        future: The true values, likewise.
        horizons: Steps ahead, the keys of the result.

    Returns:
        By horizon: ``mae``, ``rmse`` in the unit of the values, and ``mape`` in percent, over all
        values for which there is a forecast. ``mape`` leaves out values of 0 and is ``None`` if
        there are no others.

    Raises:
        ShapeError: If the shapes differ.
        DataError: If at some horizon no value has a forecast.

    Example:
        >>> import torch
        >>> errors(torch.tensor([[[[3.0], [1.0]]]]), torch.tensor([[[[2.0], [0.0]]]]), (1,))
        {1: {'mae': 1.0, 'rmse': 1.0, 'mape': 50.0}}
    """
    if forecast.shape != future.shape or forecast.dim() != 4 or future.shape[1] != len(horizons):
        raise ShapeError(
            f"`forecast` has shape {tuple(forecast.shape)} and `future` {tuple(future.shape)}, "
            f"expected both to be (w, {len(horizons)}, n, d)"
        )
    return {h: _at(forecast[:, i], future[:, i], h) for i, h in enumerate(horizons)}


def mean_of(found: dict[int, dict], error: str) -> float:
    """Mean of an error over the horizons."""
    return sum(found[h][error] for h in found) / len(found)


def _at(forecast: Tensor, future: Tensor, horizon: int) -> dict[str, float | None]:
    known = ~(forecast.isnan() | future.isnan())
    truth, gap = future[known].double(), (forecast[known].double() - future[known].double())
    if not len(gap):
        raise DataError(f"no value {horizon} steps ahead has a forecast; take other windows")
    counts = truth != 0
    relative = (gap[counts] / truth[counts]).abs()
    return {
        "mae": gap.abs().mean().item(),
        "rmse": gap.square().mean().sqrt().item(),
        "mape": 100 * relative.mean().item() if len(relative) else None,
    }
