"""Sketch of the triples of a graph, by which the graph is known again with edges more or less.

Each triple falls into one of a number of buckets by a fixed hash of its two node numbers and its
relation, and the sketch counts them (a counting Bloom filter, Fan et al. 2000). Leaving edges out
raises no count and adding edges lowers none; another graph or numbering does both, unless it has
many times the edges, or nearly none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.encoders.typed import types_of
from gtl.graph import Graph

# Odd numbers of 63 bits, as in the mixing steps of Steele et al. 2014 ("splittable" generators).
_SRC, _DST, _TYPE, _MIX = (
    0x1E3779B97F4A7C15,
    0x3F58476D1CE4E5B9,
    0x14D049BB133111EB,
    0x2545F4914F6CDD1D,
)


def sketch_of(graph: Graph, relations: int, buckets: int) -> Tensor:
    """Number of triples in each bucket, int64 ``(buckets,)``.

    Args:
        graph: A graph; ``edge_type`` has the relations.
        relations: Number of relations that are known; 0 means one, of all edges.
        buckets: Number of buckets, a power of 2.

    Example:
        >>> triples = Graph(torch.tensor([0, 0]), torch.tensor([1, 2]), 3)
        >>> fewer = triples.drop_edges(torch.tensor([True, False]))
        >>> bool((sketch_of(fewer, 0, 64) <= sketch_of(triples, 0, 64)).all())
        True
    """
    mixed = graph.src * _SRC + graph.dst * _DST + types_of(graph, "edge_type", relations) * _TYPE
    mixed = (mixed ^ (mixed >> 29)) * _MIX  # products overflow, which mixes as well
    mixed = mixed ^ (mixed >> 32)
    return torch.bincount(mixed & (buckets - 1), minlength=buckets)
