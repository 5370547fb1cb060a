"""Baselines of forecasting without a network: last value, last season, linear regression.

Hyndman and Athanasopoulos 2021 ("Forecasting: principles and practice", Section 5.2) name the
first two; the third is an autoregression that all nodes share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from gtl.data.series import Scale, Series, Windows
from gtl.data.window_items import known_values, present_of
from gtl.errors import ConfigError, DataError

_RIDGE = 1e-6  # of the number of samples: an autoregression of a constant series stays solvable


class Baseline(ABC):
    """Forecasts from values alone.

    Attributes:
        weight: What :meth:`fit` found; nothing by default.
    """

    weight: Tensor = torch.empty(0)

    @property
    def parameters(self) -> int:
        """Number of fitted weights."""
        return self.weight.numel()

    def fit(self, series: Series, windows: Windows) -> Baseline:
        """Fit to windows of the training part; returns itself."""
        return self

    @abstractmethod
    def predict(self, series: Series, windows: Windows) -> Tensor:
        """Values ``(w, horizons, n, d)``; NaN where what is needed is absent."""


class LastValue(Baseline):
    """The present value as the forecast of every horizon."""

    def predict(self, series: Series, windows: Windows) -> Tensor:
        """The present value at each horizon."""
        return present_of(series, windows).expand(-1, len(windows.horizons), -1, -1)


class SeasonalNaive(Baseline):
    """The value at the same time of the latest complete season as the forecast."""

    def predict(self, series: Series, windows: Windows) -> Tensor:
        """The value one period before each target, or as many periods as lead to the past.

        Nodes that are absent at present have no forecast, like those of any other method; neither
        has a node that was absent a season before, for which others do have one.

        Raises:
            ConfigError: If the series has no period.
            DataError: If the first window has no season behind it.
        """
        if series.period is None:
            raise ConfigError(f"{series.spec} has no `period`; seasonal_naive needs one")
        ahead = torch.tensor(windows.horizons)
        periods = (ahead + series.period - 1) // series.period
        steps = windows.future() - series.period * periods
        if int(steps.min()) < 0:
            raise DataError(
                f"{series.spec}: seasonal_naive needs a season of {series.period} steps before "
                f"step {int(windows.now.min())}; take later windows"
            )
        absent = ~series.present()[windows.now]  # (w, n)
        return known_values(series)[steps].masked_fill(absent[:, None, :, None], torch.nan)


class LinearHistory(Baseline):
    """Least squares from the history of a node to its future, one map for all nodes.

    An absent past value counts as the mean of the training part.
    """

    def fit(self, series: Series, windows: Windows) -> LinearHistory:
        """Solve the normal equations over all nodes of all windows, each horizon for itself."""
        self.scale: Scale = series.scale()
        past = self._past(series, windows).flatten(0, 1)  # (w * n, history * d + 1)
        future = self.scale.apply(known_values(series).double())[windows.future()]
        future = future.transpose(1, 2).flatten(0, 1).flatten(1)  # (w * n, horizons * d)
        here = ~known_values(series)[windows.now].isnan().any(2).flatten()
        self.weight = torch.stack(
            [_solve(past, column, here & ~column.isnan()) for column in future.unbind(1)], 1
        )
        return self

    def predict(self, series: Series, windows: Windows) -> Tensor:
        """Forecasts of the nodes that are there."""
        scores = self._past(series, windows) @ self.weight  # (w, n, horizons * d)
        scores = scores.unflatten(2, (len(windows.horizons), -1)).transpose(1, 2)
        absent = known_values(series)[windows.now].isnan().any(2)
        forecast = self.scale.undo(scores).to(series.values.dtype)
        return forecast.masked_fill(absent[:, None, :, None], torch.nan)

    def _past(self, series: Series, windows: Windows) -> Tensor:
        scores = self.scale.apply(known_values(series).double()).nan_to_num(0.0)[windows.past()]
        rows = scores.transpose(1, 2).flatten(2)  # (w, n, history * d)
        return torch.cat([rows, torch.ones_like(rows[..., :1])], 2)


BASELINES: dict[str, Callable[[], Baseline]] = {
    "last_value": LastValue,
    "seasonal_naive": SeasonalNaive,
    "linear": LinearHistory,
}


def _solve(past: Tensor, future: Tensor, rows: Tensor) -> Tensor:
    past, future = past[rows], future[rows]
    ridge = _RIDGE * max(len(past), 1) * torch.eye(past.shape[1], dtype=past.dtype)
    return torch.linalg.solve(past.T @ past + ridge, past.T @ future)
