"""Whether inputs of test items are among items that are learned from without labels."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.graph import Graph, PackedGraphs
from gtl.graph.union import has_same_content

PER_NODE, PER_EDGE = ("x", "node_type"), ("src", "dst", "e", "edge_type", "time")


def has_test_inputs(target: Dataset, data: Dataset, items: Tensor) -> bool:
    """Whether some items are test items of the target; graphs are compared by their content.

    Args:
        target: The data with the split ``test``, if it has one.
        data: Of the same level, or nodes of the graph in which links or triples are predicted:
            then it is whether they lie in that graph.
        items: Numbers of items of ``data``, int64 ``(k,)``.
    """
    test = target.split.get("test", items[:0])
    if not len(test) or not len(items):
        return False
    if target.graphs is not None and data.graphs is not None:
        if target.graphs is data.graphs:
            return bool(torch.isin(items, test).any())
        return _share_a_graph(target.graphs, test, data.graphs, items)
    if target.graph is None or data.graph is None:
        return False
    if not _are_equal(target.graph, data.graph):
        return False
    return target.level != "node" or bool(torch.isin(items, test).any())


def _are_equal(one: Graph, other: Graph) -> bool:
    sizes = [(graph.num_nodes, graph.num_edges) for graph in (one, other)]
    if sizes[0] != sizes[1] or has_same_content(one, other):
        return sizes[0] == sizes[1]
    digests = [PackedGraphs.pack([graph]).checksum() for graph in (one, other)]
    return digests[0] == digests[1]


def _share_a_graph(one: PackedGraphs, test: Tensor, other: PackedGraphs, items: Tensor) -> bool:
    """Whether one of some graphs is one of some others."""
    sizes, known = _sizes(other)[items.numpy()], _sizes(one)[test.numpy()]
    alike = items.numpy()[np.isin(sizes, known)]
    if not len(alike):
        return False
    digests = set(map(_Digests(one), test.tolist()))
    return any(digest in digests for digest in map(_Digests(other), alike.tolist()))


def _sizes(graphs: PackedGraphs) -> np.ndarray:
    """Numbers of nodes and edges of each graph, as one number."""
    nodes, edges = (
        offsets.diff().numpy() for offsets in (graphs.node_offsets, graphs.edge_offsets)
    )
    sizes: np.ndarray = nodes + 1j * edges
    return sizes


class _Digests:
    """Digest of a graph by its number; dtypes play no part."""

    def __init__(self, graphs: PackedGraphs):
        self.offsets = [o.tolist() for o in (graphs.node_offsets, graphs.edge_offsets)]
        self.fields = [
            (name.encode(), kind, values)
            for kind, names in enumerate((PER_NODE, PER_EDGE))
            for name, values in graphs.tensors(names).items()
        ]

    def __call__(self, number: int) -> bytes:
        digest = hashlib.sha256()
        for name, kind, values in self.fields:
            start, end = self.offsets[kind][number : number + 2]
            digest.update(name)
            digest.update(values[start:end].double().contiguous().numpy().tobytes())
        return digest.digest()
