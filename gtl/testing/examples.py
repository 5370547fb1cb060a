"""Small graphs of several kinds and a small encoder, for the laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gtl.graph import Columns, Graph, Schema, ops
from gtl.testing.laws import generator

MOLECULES = Schema(node=Columns((5, 3)), edge=Columns((4, 2)))
POINTS = Schema(node=Columns(width=5))
TYPED = Schema(node=Columns(width=3), node_types=3, edge_types=4)


@dataclass(frozen=True)
class Example:
    """A kind of data that a part may be tried on.

    Attributes:
        schema: Features of nodes and edges.
        level: ``"graph"``, ``"node"`` for one graph with seeds, or ``"edge"`` for one with pairs,
            every other edge of it a link.
        kind: Of the labels: ``"binary"`` (with missing ones), ``"multiclass"``, ``"regression"``.
        outputs: Classes, or columns of labels.
        properties: Columns of each property that the graphs carry, by name; random counts, some
            missing.
    """

    schema: Schema = MOLECULES
    level: str = "graph"
    kind: str = "binary"
    outputs: int = 2
    properties: Mapping[str, int] = field(default_factory=dict)

    def graph(self, sizes: Sequence[int], edges: bool = True, seed: int = 0) -> Graph:
        """Random branching paths with labels.

        Args:
            sizes: Nodes of each graph of the batch. At node and link level they are the components
                of one graph, and every other node is a seed or every other edge a pair.
            edges: Whether nodes are joined at all.
            seed: Decides features, edges and labels.
        """
        rng = generator(seed)
        graphs = [_path(self.schema, n if edges else 0, n, rng) for n in sizes]
        graph = Graph.batch(graphs)
        if self.level == "graph":
            y = self._labels(len(sizes), rng)
            return graph.replace(y=y, properties=self._properties(len(sizes), rng))
        if self.level == "edge":
            pairs = torch.stack([graph.src, graph.dst], 1)[::2]
            return graph.replace(sizes=None, pairs=pairs, y=torch.ones(len(pairs), 1))
        seeds = torch.arange(0, graph.num_nodes, 2)
        return graph.replace(sizes=None, seeds=seeds, y=self._labels(len(seeds), rng))

    def corners(self) -> dict[str, Graph]:
        """Corner cases by name: empty graphs, single nodes, graphs without edges."""
        return {
            "a batch with an empty, a one-node and an ordinary graph": self.graph([0, 1, 5, 0]),
            "a graph without nodes": self.graph([0]),
            "a graph of one node": self.graph([1]),
            "a graph without edges": self.graph([3], edges=False),
            "one ordinary graph alone": self.graph([11]),
        }

    def _properties(self, rows: int, rng: torch.Generator) -> dict[str, Tensor] | None:
        found = {}
        for name, columns in self.properties.items():
            counts = torch.randint(3, (rows, columns), generator=rng).to(torch.get_default_dtype())
            missing = torch.rand(rows, columns, generator=rng) < 0.1
            found[name] = counts.masked_fill(missing, torch.nan)
        return found or None

    def _labels(self, rows: int, rng: torch.Generator) -> Tensor:
        if self.kind == "multiclass":
            return torch.randint(self.outputs, (rows,), generator=rng)
        values = torch.randn(rows, self.outputs, generator=rng)
        if self.kind == "regression":
            return values
        missing = torch.rand(rows, self.outputs, generator=rng) < 0.2
        return (values > 0).float().masked_fill(missing, torch.nan)


def _path(schema: Schema, joined: int, nodes: int, rng: torch.Generator) -> Graph:
    """Each node but the first is joined, both ways, to one of the two before it."""
    child = torch.arange(1, max(joined, 1))
    parent = (child - 1 - torch.randint(2, child.shape, generator=rng)).clamp(min=0)
    both = torch.randperm(2 * len(child), generator=rng)
    e = _features(schema.edge, len(child), rng)
    return Graph(
        src=torch.cat([parent, child])[both],
        dst=torch.cat([child, parent])[both],
        num_nodes=nodes,
        x=_features(schema.node, nodes, rng),
        e=None if e is None else torch.cat([e, e])[both],
        node_type=_types(schema.node_types, nodes, rng),
        edge_type=_types(schema.edge_types, 2 * len(child), rng),
    )


def _features(columns: Columns | None, rows: int, rng: torch.Generator) -> Tensor | None:
    if columns is None:
        return None
    if columns.categories is None:
        return torch.randn(rows, columns.width, generator=rng)
    values = [torch.randint(count, (rows,), generator=rng) for count in columns.categories]
    return torch.stack(values, 1)


def _types(count: int, rows: int, rng: torch.Generator) -> Tensor | None:
    return torch.randint(count, (rows,), generator=rng) if count else None


class SmallEncoder(nn.Module):
    """Embedding and one smooth round of message passing.

    Args:
        schema: What the graphs look like.
        width: Columns of the node vectors.
    """

    def __init__(self, schema: Schema, width: int):
        super().__init__()
        self.schema, self.width = schema, width
        columns = schema.node or Columns(width=0)
        # One more row for each column: the category of a masked value.
        sizes = [count + 1 for count in columns.categories or ()]
        self.tables = nn.ModuleList(nn.Embedding(size, width) for size in sizes)
        self.lift = None if sizes else nn.Linear(max(columns.width, 1), width)
        self.own, self.sent = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""
        h = self._embed(graph)  # (n, width)
        return torch.tanh(self.own(h) + self.sent(ops.mean_neighbors(graph, h)))

    def _embed(self, graph: Graph) -> Tensor:
        if self.lift is None:
            assert graph.x is not None
            parts = [table(graph.x[:, i]) for i, table in enumerate(self.tables)]
            return torch.stack(parts).sum(0)
        weight = self.lift.weight
        x = weight.new_ones(graph.num_nodes, 1) if graph.x is None else graph.x
        return self.lift(x.to(weight.dtype))
