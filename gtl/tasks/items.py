"""Labeled and unlabeled items of a step as one graph to encode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, ops
from gtl.graph.augment import perturbed
from gtl.graph.union import union
from gtl.roles import Batch

Rates = tuple[float, float]


@dataclass(frozen=True)
class Inputs:
    """Items of a step.

    Attributes:
        graph: The graph to encode; that of the loop itself where possible.
        items: The same nodes with all items as graphs or seeds: what a predictor reads.
        labeled: How many of the items are labeled; they come first.
    """

    graph: Graph
    items: Graph
    labeled: int

    def vectors(self, nodes: Tensor) -> Tensor:
        """Vectors of the items ``(b, h)``, see :func:`item_vectors`."""
        return item_vectors(self.items, nodes)

    def __len__(self) -> int:
        return count(self.items)


def labeled_inputs(batch: Batch) -> Inputs:
    """The labeled items alone, on the loop's own graph."""
    _require_no_pairs(batch.graph)
    return Inputs(batch.graph, batch.graph.replace(y=None), count(batch.graph))


def unlabeled_inputs(
    batch: Batch, rates: Rates, rng: torch.Generator, how: Columns | None
) -> Inputs:
    """The unlabeled items alone, on a perturbed graph.

    Args:
        batch: What the loop drew.
        rates: Shares of edges and of features that are taken away.
        rng: Generator for the draws.
        how: Columns of the node features.

    Raises:
        ConfigError: If there are none, or items are pairs.
    """
    own = _own(batch)
    if same_graph(batch) and not any(rates):
        return Inputs(batch.graph, batch.graph.replace(y=None, seeds=own.seeds), 0)
    graph = _perturbed(own, rates, rng, how)
    return Inputs(graph, graph, 0)


def all_inputs(batch: Batch, rates: Rates, rng: torch.Generator, how: Columns | None) -> Inputs:
    """Labeled items and perturbed unlabeled ones, as for :func:`unlabeled_inputs`.

    Where both lie in one graph, the labeled ones are perturbed with it.
    """
    own, labeled = _own(batch), count(batch.graph)
    if same_graph(batch):
        assert batch.graph.seeds is not None and own.seeds is not None
        seeds = torch.cat([batch.graph.seeds, own.seeds])
        graph = _perturbed(batch.graph, rates, rng, how) if any(rates) else batch.graph
        return Inputs(graph, graph.replace(y=None, seeds=seeds), labeled)
    graph = Graph.batch([batch.graph.replace(y=None), _perturbed(own, rates, rng, how)])
    return Inputs(graph, graph, labeled)


def joined_inputs(batch: Batch) -> Inputs:
    """Labeled and unlabeled items as they are, in one disjoint graph that is built once.

    The labeled ones come first. A target whose graph is that of the loop shares the encoder pass,
    see :func:`gtl.graph.union.union`.

    Raises:
        ConfigError: If there are no unlabeled items, or items are pairs.
    """
    own, labeled = _own(batch), count(batch.graph)
    if same_graph(batch):
        whole, start = batch.graph, 0
    else:
        whole, start = union(batch.graph, own), batch.graph.num_nodes
    if batch.graph.seeds is None or own.seeds is None:
        return Inputs(whole, whole, labeled)
    seeds = torch.cat([batch.graph.seeds, own.seeds + start])
    return Inputs(whole, whole.replace(y=None, seeds=seeds), labeled)


def same_graph(batch: Batch) -> bool:
    """Whether labeled and unlabeled items are nodes of one graph, seen whole."""
    graph, own = batch.graph, batch.own
    if own is None or graph.seeds is None or own.seeds is None:
        return False
    return own.src is graph.src and own.dst is graph.dst and own.x is graph.x


def item_vectors(items: Graph, nodes: Tensor) -> Tensor:
    """Vectors of seeds, or mean vectors of graphs, ``(b, h)``."""
    if items.seeds is not None:
        return nodes.index_select(0, items.seeds)
    return ops.segment_mean(nodes, items.graph_sizes())


def count(graph: Graph) -> int:
    """Items of a batch: its seeds, or its graphs."""
    return len(graph.graph_sizes() if graph.seeds is None else graph.seeds)


def require_rates(name: str, rates: Sequence[float]) -> Rates:
    """Check shares of edges and features that are taken away.

    Raises:
        ConfigError: If they are not two numbers from 0 up to, not including, 1.
    """
    if len(rates) != 2 or not all(0 <= rate < 1 for rate in rates):
        raise ConfigError(
            f"`{name}` is {list(rates)}, expected two shares, of edges and of features, from 0 up "
            "to, not including, 1"
        )
    return rates[0], rates[1]


def _perturbed(graph: Graph, rates: Rates, rng: torch.Generator, how: Columns | None) -> Graph:
    graph = graph.replace(y=None)
    return perturbed(graph, *rates, rng, how) if any(rates) else graph


def _own(batch: Batch) -> Graph:
    _require_no_pairs(batch.graph)
    if batch.own is None:
        raise ConfigError(
            "there are no unlabeled items for this task; give `unlabeled` to gtl.finetune, or "
            "data of its own with `task.on(dataset)`"
        )
    _require_no_pairs(batch.own)
    if (batch.own.seeds is None) != (batch.graph.seeds is None):
        raise ConfigError(
            "labeled items are nodes and unlabeled ones graphs, or the reverse; give unlabeled "
            "data of the level of the target"
        )
    return batch.own


def _require_no_pairs(graph: Graph) -> None:
    if graph.pairs is not None:
        raise ConfigError(
            "this task is for graphs and nodes, and items are pairs of nodes; use "
            "l2_sp or a self-supervised task"
        )
