"""Relational message passing that updates relations too: the multi-hop part of EARL.

The layer follows Chen et al. 2023 (Eq. 8 to 10), which follow CompGCN (Vashishth et al. 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.dropout import Dropout
from gtl.encoders.relation_profile import profiles_of
from gtl.graph import Graph, ops


class RelationVectors(nn.Module):
    """Vectors of relations before and after each layer.

    Args:
        relations: Number of relations ``r``, 0 if untyped.
        width: Columns of the vectors.
        depth: Number of layers.
    """

    def __init__(self, relations: int, width: int, depth: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(max(relations, 1), width))
        nn.init.xavier_uniform_(self.vectors, gain=nn.init.calculate_gain("relu"))
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, layer: int) -> Tensor:
        """Vectors ``(r, width)`` that layer number ``layer`` reads; those after the last one."""
        vectors: Tensor = self.vectors
        for i in range(layer):
            vectors = self.maps[i](vectors)
            if i < len(self.maps) - 1:
                vectors = vectors.relu()
        return vectors


class RelationalHop(nn.Module):
    """One layer: a mean of messages along all edges, in both directions, plus the node itself.

    Along an edge of relation ``r`` from ``h`` to ``t``, the tail gets ``W_in h_h + U_in rho_r`` and
    the head ``W_out h_t + U_out rho_r``, each with a bias. All messages of a node have one mean, to
    which ``W_self h`` is added. A node without edges has this term alone.

    Messages are summed before they are mapped, so that none is stored edge by edge; the part of the
    relations depends on the profile of a node alone and is computed once for each distinct one.

    Args:
        relations: Number of relations, 0 if untyped.
        vectors: Vectors of relations, which all layers share.
        layer: Number of this layer.
        width: Columns of input and output.
        dropout: Probability of dropping a value of the output.

    Attributes:
        both_ways: Messages go against edges as well: no order in time is kept.
    """

    both_ways = True

    def __init__(
        self, relations: int, vectors: RelationVectors, layer: int, width: int, dropout: float
    ):
        super().__init__()
        self.relations, self.layer = relations, layer
        self._vectors = (vectors,)  # a tuple: the parameters are the encoder's, not this layer's
        inputs = vectors.vectors.shape[1]
        self.out_relation, self.out_node = nn.Linear(inputs, width), nn.Linear(width, width)
        self.in_relation, self.in_node = nn.Linear(inputs, width), nn.Linear(width, width)
        self.own = nn.Linear(width, width)
        self.dropout = Dropout(dropout)

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """Node vectors ``(n, width)`` of ``(n, width)``.

        Raises:
            DataError: If the graph's edge types are not those that the encoder was built for.
        """
        profiles = profiles_of(graph, self.relations)
        degrees = profiles.degrees(h.dtype)[profiles.row]  # (n, 1)
        heads = ops.sum_neighbors(graph, h) / degrees
        tails = ops.sum_neighbors(_reverse(graph), h) / degrees
        total = profiles.means(self._relation_messages()).index_select(0, profiles.row)
        total = total + F.linear(heads, self.in_node.weight) + F.linear(tails, self.out_node.weight)
        total = self.dropout(total + self.own(h))
        last = self.layer == len(self._vectors[0].maps) - 1
        return total if last else total.relu()

    def _relation_messages(self) -> Tensor:
        """What an edge adds to its head, by relation, and then to its tail, ``(2 r, width)``."""
        rho = self._vectors[0](self.layer)
        to_head = self.out_relation(rho) + self.out_node.bias
        to_tail = self.in_relation(rho) + self.in_node.bias
        return torch.cat([to_head, to_tail])


def _reverse(graph: Graph) -> Graph:
    return graph.remember("reverse", lambda: Graph(graph.dst, graph.src, graph.num_nodes))
