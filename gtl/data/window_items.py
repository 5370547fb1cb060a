"""Windows of a series as items: past snapshots in one graph, values to come as labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gtl.data.items import Items
from gtl.data.series import Scale, Series, Windows
from gtl.errors import DataError
from gtl.graph import Graph, Schema
from gtl.graph.time_graph import history_rows


class WindowItems(Items):
    """Windows of a series; a batch has the values to come as labels of the present nodes.

    Args:
        series: Values over time.
        windows: Present steps, with their past and future.
        scale: Of the values.
        difference: Whether labels are changes of the present value.

    Attributes:
        metric: Mean absolute error.
    """

    level = "window"
    one_graph = False
    metric = "mae"

    def __init__(self, series: Series, windows: Windows, scale: Scale, difference: bool):
        self.series, self.windows, self.difference = series, windows, difference
        self.scores = scale.apply(series.values)

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def schema(self) -> Schema:
        """What the snapshots look like."""
        return self.series.schema

    @cached_property
    def future(self) -> Tensor:
        """Values to come, or their changes, ``(w, horizons, n, d)``; NaN for missing."""
        came = future_of(self.series, self.windows)
        return came - present_of(self.series, self.windows) if self.difference else came

    def inputs(self, index: Tensor) -> Graph:
        """Windows one after the other; seeds are the nodes that are present now."""
        windows = self.windows.pick(index)
        graph = self.series.snapshots(windows.past().flatten(), self.scores)
        rows = history_rows(graph, windows.history)[:, -1]  # (w, k)
        return graph.replace(seeds=rows[rows >= 0])

    def batch(
        self,
        index: Tensor,
        device: torch.device | str = "cpu",
        fan_out: Sequence[int | None] | None = None,
        rng: torch.Generator | None = None,
    ) -> Graph:
        """The same with values to come as labels of the seeds, ``(b, horizons * d)``."""
        graph = self.inputs(index)
        rows = history_rows(graph, self.windows.history)[:, -1]
        window, node = (rows >= 0).nonzero().unbind(1)
        y = self.future[index].transpose(1, 2)[window, node].flatten(1).float()
        return graph.replace(y=y).to(torch.device(device))

    @staticmethod
    def features(graph: Graph, nodes: Tensor, pool: Any) -> Tensor:
        """Vectors of the nodes that are present now."""
        return nodes if graph.seeds is None else nodes[graph.seeds]

    def labels(self) -> Tensor:
        """Labels of all nodes of all windows, ``(w * n, horizons * d)``; NaN for missing."""
        return self.future.transpose(1, 2).flatten(0, 1).flatten(1)

    def checksum(self) -> str:
        """See :class:`gtl.data.items.Items`."""
        return self.series.checksum()


def future_of(series: Series, windows: Windows) -> Tensor:
    """What came, ``(w, horizons, n, d)`` in the unit of the series; NaN for an absent node.

    Raises:
        DataError: If the series ends before.
    """
    last = int(windows.future().max()) if len(windows) else 0
    if last >= len(series):
        raise DataError(
            f"{series.spec} has {len(series)} steps, windows ask what came at step {last}; that "
            "is not known yet: use `predict`, or earlier windows"
        )
    return known_values(series)[windows.future()]


def present_of(series: Series, windows: Windows) -> Tensor:
    """What is there now, ``(w, 1, n, d)``, likewise."""
    return known_values(series)[windows.now.unsqueeze(1)]


def known_values(series: Series) -> Tensor:
    """Values ``(T, n, d)`` with NaN for absent nodes."""
    return series.values.masked_fill(~series.present().unsqueeze(2), torch.nan)
