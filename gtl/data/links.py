"""A link-level data set of any graph: some of its links are hidden, to be found again."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from gtl.data.dataset import Dataset
from gtl.data.splits import FRACTIONS, random_split
from gtl.graph import Graph
from gtl.graph.pairs import draw_unjoined, without_pairs
from gtl.graph.sample import node_pairs


def link_dataset(
    graph: Graph,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    metric: str = "rocauc",
    spec: str = "memory",
) -> Dataset:
    """Is there a link between two nodes? Asked of a graph in which some links were hidden.

    A link is a pair of different nodes that an edge joins, in whichever direction. Links of valid
    and test are taken out of the graph and come with as many unjoined pairs; for training those
    are drawn in each step.

    Args:
        graph: One graph; its labels are left aside.
        fractions: Share of links to train, validate and test on; see
            :func:`gtl.data.splits.random_split`.
        seed: Of the split and the unjoined pairs.
        metric: What judges; see :class:`gtl.data.Dataset`.
        spec: A name for messages and run folders.

    Raises:
        DataError: If there are fewer links than parts.

    Example:
        >>> ring = torch.arange(20)
        >>> data = link_dataset(Graph(ring, (ring + 1) % 20, 20))
        >>> {part: len(items) for part, items in data.split.items()}, data.graph.num_edges
        ({'train': 16, 'valid': 4, 'test': 4}, 16)
    """
    graph = rest = graph.unlabeled()
    keys = node_pairs(graph)[0]
    links = torch.stack([keys // graph.num_nodes, keys % graph.num_nodes], 1)
    rng = torch.Generator().manual_seed(seed)
    pairs, labels, split, first = [], [], {}, 0
    for part, index in random_split(len(links), fractions, seed).items():
        chosen = links[index]
        count = 0 if part == "train" else len(chosen)
        others = draw_unjoined(graph, count, rng)
        pairs += [chosen, others]
        labels += [torch.ones(len(chosen), 1), torch.zeros(len(others), 1)]
        split[part] = torch.arange(first, first + len(chosen) + len(others))
        first += len(split[part])
        if part != "train":
            rest = without_pairs(rest, chosen)
    return Dataset(
        spec,
        graph=rest,
        labels=torch.cat(labels),
        split=split,
        level="edge",
        kind="binary",
        metric=metric,
        pairs=torch.cat(pairs),
    )
