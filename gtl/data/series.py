"""The Series: values of the nodes of a graph over time, in windows of past and future steps.

The parts of a split follow one another in time, and everything that is fitted to values (a scale, a
baseline, a model) uses the training part alone: scaling with later values would leak them into the
forecast.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.convert import as_graph
from gtl.graph.graph import STRUCTURE
from gtl.graph.pack import PackedGraphs

PARTS = ("train", "valid", "test")
_UNSEEN = 1e-12  # share of the mean: a smaller deviation is rounding of a constant column


@dataclass(frozen=True, eq=False)
class Series:
    """Values of ``n`` nodes at ``T`` steps, on one graph or on a graph for each step.

    Attributes:
        spec: What it was loaded from, such as ``series:los_loop``.
        values: Float ``(T, n, d)``, in the unit of the file.
        graph: The graph of all steps, without ``x``; ``None`` if each step has its own. Given as
            what :func:`gtl.as_graph` reads.
        graphs: The graph of each step, without ``x``; ``None`` if all steps share one. Given packed
            or as a list of what :func:`gtl.as_graph` reads.
        mask: Which nodes are present at each step, boolean ``(T, n)``; ``None`` if all are. Values
            of absent nodes are not read and may be NaN.
        split: First step of ``train``, ``valid`` and ``test``, each with the step after its last;
            parts follow one another.
        period: Steps of a season, such as 52 weeks; ``None`` if there is none.
        step: Name of one step, such as ``"week"``.
        names: A name per node; may be empty.
        options: What :func:`gtl.load` was given beside ``spec`` and ``root``, to load it again.

    Raises:
        DataError: If lengths disagree, parts overlap or leave gaps, or a value of a present
            node is missing.
    """

    spec: str
    values: Tensor
    graph: Graph | None = None
    graphs: PackedGraphs | None = None
    mask: Tensor | None = None
    split: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    period: int | None = None
    step: str = "step"
    names: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""

    def __post_init__(self) -> None:
        values, where = self.values, self.spec
        if values.dim() != 3 or not values.is_floating_point():
            raise DataError(
                f"{where}: `values` are {values.dtype} {tuple(values.shape)}, expected floats "
                "(steps, nodes, columns); add the missing axis"
            )
        if (self.graph is None) == (self.graphs is None):
            raise DataError(f"{where}: give either `graph`, for all steps, or `graphs`, one a step")
        self._read_graphs()
        if self.graphs is not None and len(self.graphs) != len(self):
            raise DataError(
                f"{where}: {len(self.graphs)} graphs for {len(self)} steps; give one a step"
            )
        self._check_nodes()
        if self.mask is not None and (
            self.mask.dtype != torch.bool or self.mask.shape != values.shape[:2]
        ):
            raise DataError(
                f"{where}: `mask` is {self.mask.dtype} {tuple(self.mask.shape)}, expected boolean "
                f"{tuple(values.shape[:2])}"
            )
        self._check_values()
        if self.period is not None and (
            not isinstance(self.period, Integral) or int(self.period) < 1
        ):
            raise DataError(
                f"{where}: `period` is {self.period}, expected 1 step or more, or None if there is "
                "none"
            )
        if not self.split:
            object.__setattr__(self, "split", split_steps(len(self)))
        self._check_split()

    def _read_graphs(self) -> None:
        if self.graph is not None:
            object.__setattr__(self, "graph", as_graph(self.graph))
        elif not isinstance(self.graphs, PackedGraphs):
            assert self.graphs is not None
            packed = PackedGraphs.pack([as_graph(graph) for graph in self.graphs])
            object.__setattr__(self, "graphs", packed)

    def _check_nodes(self) -> None:
        if self.graph is not None:
            wrong = self.graph.num_nodes != self.num_nodes
            sizes = [self.graph.num_nodes]
        else:
            assert self.graphs is not None
            counts = self.graphs.node_offsets.diff()
            wrong = bool((counts != self.num_nodes).any())
            sizes = sorted(set(counts.tolist()))
        if wrong:
            raise DataError(
                f"{self.spec}: graphs of {sizes} nodes for values of {self.num_nodes}; a graph has "
                "all nodes at each step; mark those that are absent in `mask`"
            )
        if self.names and len(self.names) != self.num_nodes:
            raise DataError(f"{self.spec}: {len(self.names)} names for {self.num_nodes} nodes")

    def _check_values(self) -> None:
        missing = ~self.values.isfinite().all(2) & self.present()
        if bool(missing.any()):
            step, node = missing.nonzero()[0].tolist()
            raise DataError(
                f"{self.spec}: node {node} has no value at step {step}; fill the gap, or mark it "
                "as absent in `mask`"
            )

    def _check_split(self) -> None:
        if tuple(self.split) != PARTS:
            raise DataError(f"{self.spec}: `split` names {list(self.split)}, expected {PARTS}")
        ends = [end for part in PARTS for end in self.split[part]]
        joined = ends[0] == 0 and ends[-1] == len(self) and ends[1:5:2] == ends[2:6:2]
        if not joined or ends != sorted(ends):
            raise DataError(
                f"{self.spec}: `split` is {dict(self.split)}, expected three parts that follow one "
                f"another from step 0 to {len(self)}"
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def num_nodes(self) -> int:
        """Number of nodes ``n``."""
        return self.values.shape[1]

    @property
    def schema(self) -> Schema:
        """Schema of the snapshots: the values as node features, and the edges of the graphs."""
        found = self.graphs.schema if self.graphs is not None else Schema.of(self._graph())
        return Schema(
            Columns(width=self.values.shape[2]),
            found.edge,
            found.node_types,
            found.edge_types,
        )

    def present(self) -> Tensor:
        """Which nodes are present, boolean ``(T, n)``."""
        if self.mask is not None:
            return self.mask
        return torch.ones(self.values.shape[:2], dtype=torch.bool)

    def scale(self) -> Scale:
        """Mean and standard deviation of each column over the training part, whatever its unit.

        Raises:
            DataError: If no node is present in the training part.
        """
        start, end = self.split["train"]
        known = self.values[start:end][self.present()[start:end]].double()  # (rows, d)
        if not len(known):
            raise DataError(f"{self.spec}: the training part has no values; make it longer")
        mean, std = known.mean(0), known.std(0, correction=0)
        return Scale(mean, std.masked_fill(std <= _UNSEEN * mean.abs(), 1))

    def windows(
        self, history: int, horizons: int | Sequence[int], part: str, stride: int = 1
    ) -> Windows:
        """Windows whose future steps, counted from the one after the present, lie in one part.

        The first window is the same for all horizons. The past of a window may reach into the part
        before.

        Args:
            history: Steps that a forecast reads, the present one included.
            horizons: How many steps ahead to forecast; one number ``h`` means 1 to ``h``.
            part: ``"train"``, ``"valid"`` or ``"test"``.
            stride: Steps between two windows.

        Raises:
            ConfigError: If a number is no whole one or below 1, or the part is unknown.
            DataError: If the part is too short for a single window.
        """
        ahead = as_horizons(horizons)
        for name, number in (("history", history), ("stride", stride)):
            if not isinstance(number, Integral) or int(number) < 1:
                raise ConfigError(f"`{name}` is {number!r}, expected 1 step or more")
        if part not in self.split:
            raise ConfigError(f"{self.spec} has no part {part!r}; it has: {', '.join(PARTS)}")
        start, end = self.split[part]
        first, last = max(history - 1, start - 1), end - 1 - max(ahead)
        if last < first:
            raise DataError(
                f"{self.spec}: no window of {history} past steps and {max(ahead)} ahead fits the "
                f"{part} part (steps {start} to {end - 1} of {len(self)}); take a shorter history "
                "or horizon, or other fractions"
            )
        return Windows(torch.arange(first, last + 1, int(stride)), int(history), ahead)

    def snapshots(self, steps: Tensor, values: Tensor | None = None) -> Graph:
        """The graphs at some steps as one disjoint graph; absent nodes have no rows.

        Args:
            steps: int64 ``(k,)``, repeats allowed.
            values: What to use as ``x``, ``(T, n, d)``, such as scaled values; the series' own by
                default.

        Returns:
            Batch of ``k`` graphs; ``origin`` holds each row's node number.
        """
        values = self.values if values is None else values
        whole = self._structure(steps)
        x = values[steps].flatten(0, 1)
        if self.mask is None:
            return whole.replace(x=x)
        origin = torch.arange(self.num_nodes).repeat(len(steps))
        there = self.mask[steps].flatten()
        return whole.replace(x=x).subgraph(there).replace(origin=origin[there])

    def _structure(self, steps: Tensor) -> Graph:
        """Disjoint graph of some steps with all nodes."""
        k, n = len(steps), self.num_nodes
        if self.graphs is not None:
            return self.graphs.batch(steps).replace(origin=torch.arange(n).repeat(k))
        graph = self._graph()

        def copies() -> Graph:
            shift = (torch.arange(k) * n).repeat_interleave(graph.num_edges)

            def repeated(values: Tensor | None) -> Tensor | None:
                return None if values is None else values.repeat(k, *[1] * (values.dim() - 1))

            return Graph(
                graph.src.repeat(k) + shift,
                graph.dst.repeat(k) + shift,
                k * n,
                e=repeated(graph.e),
                node_type=repeated(graph.node_type),
                edge_type=repeated(graph.edge_type),
                sizes=torch.full((k,), n),
                origin=torch.arange(n).repeat(k),
            )

        return graph.remember(("copies", k), copies, (*STRUCTURE, "e", "node_type", "edge_type"))

    def _graph(self) -> Graph:
        assert self.graph is not None
        return self.graph

    def checksum(self) -> str:
        """SHA-256 over values, graphs, mask and parts, hexadecimal."""
        packed = self.graphs or PackedGraphs.pack([self._graph()])
        digest = hashlib.sha256(packed.checksum().encode())
        digest.update(self.values.masked_fill(~self.present().unsqueeze(2), 0).numpy().tobytes())
        digest.update(self.present().numpy().tobytes())
        digest.update(repr([self.split[part] for part in PARTS]).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Scale:
    """Z-scores and back, column by column.

    Attributes:
        mean: float64 ``(d,)``.
        std: float64 ``(d,)``, 1 where a column does not vary.

    Example:
        >>> scale = Scale(torch.tensor([10.0]), torch.tensor([2.0]))
        >>> scale.apply(torch.tensor([[14.0]])).item(), scale.undo(torch.tensor([[2.0]])).item()
        (2.0, 14.0)
    """

    mean: Tensor
    std: Tensor

    def to(self, device: torch.device) -> Scale:
        """The same on another device."""
        return Scale(self.mean.to(device), self.std.to(device))

    def apply(self, values: Tensor) -> Tensor:
        """Z-scores of values ``(..., d)``, in their dtype."""
        return (values - self.mean.to(values.dtype)) / self.std.to(values.dtype)

    def undo(self, scores: Tensor) -> Tensor:
        """Values of z-scores ``(..., d)``."""
        return scores * self.std.to(scores.dtype) + self.mean.to(scores.dtype)


@dataclass(frozen=True)
class Windows:
    """Windows of past and future steps, identified by their present step, the last past one.

    Attributes:
        now: Present step of each window, int64 ``(w,)``.
        history: Steps of the past, the present one included.
        horizons: Steps ahead that are forecast.
    """

    now: Tensor
    history: int
    horizons: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.now)

    def pick(self, index: Tensor) -> Windows:
        """The windows ``index``, in that order."""
        return Windows(self.now[index], self.history, self.horizons)

    def past(self) -> Tensor:
        """Past steps of each window, oldest first, int64 ``(w, history)``."""
        return self.now.unsqueeze(1) + torch.arange(1 - self.history, 1)

    def future(self) -> Tensor:
        """Future steps of each window, int64 ``(w, horizons)``."""
        return self.now.unsqueeze(1) + torch.tensor(self.horizons)


def as_horizons(horizons: int | Sequence[int]) -> tuple[int, ...]:
    """Steps ahead in ascending order; one number ``h`` means 1 to ``h``.

    Raises:
        ConfigError: If there is none, one is below 1, or one is named twice.

    Example:
        >>> as_horizons(3), as_horizons([12, 6])
        ((1, 2, 3), (6, 12))
    """
    steps: Any = range(1, int(horizons) + 1) if isinstance(horizons, Integral) else horizons
    ahead = tuple(steps) if isinstance(steps, Iterable) else (steps,)
    if not ahead or any(not isinstance(h, Integral) or h < 1 for h in ahead):
        raise ConfigError(f"`horizons` is {horizons!r}, expected whole numbers of steps from 1 on")
    if len(set(ahead)) < len(ahead):
        raise ConfigError(f"`horizons` is {horizons!r}, expected each number once")
    return tuple(sorted(map(int, ahead)))


def split_steps(
    steps: int, fractions: Sequence[float] = (0.6, 0.2, 0.2)
) -> dict[str, tuple[int, int]]:
    """Parts that follow one another in time.

    Args:
        steps: Number of steps.
        fractions: Shares of ``train``, ``valid`` and ``test``, summing to 1.

    Raises:
        ConfigError: If the fractions are not three shares of 1.

    Example:
        >>> split_steps(10)
        {'train': (0, 6), 'valid': (6, 8), 'test': (8, 10)}
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"`fractions` is {list(fractions)}, expected shares of train, valid and test that sum "
            "to 1"
        )
    first = round(steps * fractions[0])
    second = min(round(steps * (fractions[0] + fractions[1])), steps)
    return {"train": (0, first), "valid": (first, second), "test": (second, steps)}
