"""Partitions of a graph into parts of nearly equal size with few edges between them."""

from __future__ import annotations

import contextlib
import io
import os

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import ops
from gtl.graph.graph import Graph

METHODS = ("propagation", "metis")
_ROUNDS = 30
_SLACK = 0.1


def partition(graph: Graph, parts: int, method: str = "propagation") -> Tensor:
    """Part of each node.

    Args:
        graph: A graph; the direction of its edges does not matter.
        parts: Number of parts.
        method: ``"propagation"``: nodes in a breadth-first order (Cuthill and McKee 1969) are cut
            into equal pieces, then move to where most of their neighbors are, as long as a part has
            at most a tenth more than its share. It gives the same parts whenever it is called.
            ``"metis"`` (Karypis and Kumar 1998, through DGL) cuts fewer edges, on citation graphs
            about half as many, but two calls may differ, and it logs to the error stream.

    Returns:
        Numbers in ``0..parts - 1``, int64 ``(n,)``; not all are used if there are fewer nodes.

    Raises:
        ConfigError: If ``parts`` is below 1, or ``method`` is unknown or cannot be used here.
    """
    if parts < 1:
        raise ConfigError(f"`parts` is {parts}, expected 1 or more")
    if method not in METHODS:
        raise ConfigError(f"`method` is {method!r}, expected one of {METHODS}")
    n, proper = graph.num_nodes, graph.src != graph.dst
    src, dst = graph.src[proper].cpu(), graph.dst[proper].cpu()
    both = Graph(torch.cat([src, dst]), torch.cat([dst, src]), n)
    if method == "metis" and 1 < parts < n and len(src):
        return _metis(both, parts).to(graph.device)
    return _propagated(both, _pieces(both, parts), parts).to(graph.device)


def _metis(graph: Graph, parts: int) -> Tensor:
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl
    except ImportError as error:
        raise ConfigError(
            f"partition by METIS needs DGL ({error}); use method='propagation' or install "
            "dgl==1.1.3"
        ) from error
    whole = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    with contextlib.redirect_stdout(io.StringIO()):  # METIS prints how long its steps took
        part: Tensor = dgl.metis_partition_assignment(whole, parts)
    return part.long()


def _pieces(graph: Graph, parts: int) -> Tensor:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    n = graph.num_nodes
    if not n:
        return torch.empty(0, dtype=torch.int64)
    ends = graph.src.numpy(), graph.dst.numpy()
    whole = coo_array((np.ones(graph.num_edges, dtype=np.int8), ends), (n, n)).tocsr()
    order = torch.as_tensor(reverse_cuthill_mckee(whole, symmetric_mode=True).astype(np.int64))
    place = torch.empty(n, dtype=torch.int64)
    place[order] = torch.arange(n)
    return place * parts // n


def _propagated(graph: Graph, part: Tensor, parts: int) -> Tensor:
    """Let nodes move where more of their neighbors are, half of the nodes in each round.

    Nodes that gain most move first; a full part takes no more nodes.
    """
    room = max(int((1 + _SLACK) * graph.num_nodes / parts), -(-graph.num_nodes // parts))
    numbers = torch.arange(graph.num_nodes)
    for turn in range(_ROUNDS):
        neighbors = ops.sum_neighbors(graph, F.one_hot(part, parts).float())  # (n, parts)
        left = room - torch.bincount(part, minlength=parts)
        gains = neighbors - neighbors.gather(1, part.unsqueeze(1))
        gain, target = gains.masked_fill(left <= 0, -1).max(1)
        movers = ((gain > 0) & ((numbers + turn) % 2 == 0)).nonzero().flatten()
        movers = movers[torch.argsort(gain[movers], descending=True, stable=True)]
        movers = movers[torch.argsort(target[movers], stable=True)]
        arriving = torch.bincount(target[movers], minlength=parts)
        rank = numbers[: len(movers)] - (arriving.cumsum(0) - arriving)[target[movers]]
        movers = movers[rank < left[target[movers]]]
        part = part.index_copy(0, movers, target[movers])
    return part
