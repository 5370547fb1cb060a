"""Reserved entities: the few nodes that have vectors of their own (EARL, Chen et al. 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.nearest_profiles import KnownNeighbors
from gtl.encoders.relation_profile import Profiles, profiles_of
from gtl.encoders.triple_sketch import sketch_of
from gtl.encoders.typed import padded
from gtl.graph import Graph, ops
from gtl.graph.graph import STRUCTURE

_BUCKETS = 1024


class Reserved(nn.Module):
    """Vectors of reserved entities, and what other nodes get from those with similar profiles.

    The entities are drawn once, uniformly, from the nodes of a graph that have edges. Their
    relational profiles are kept in a buffer: nodes of any other graph find neighbors among them.

    Args:
        relations: Number of relations, 0 if untyped.
        width: Columns of the vectors.
        size: Number of reserved entities. A smaller graph has as many as it has nodes.
        nearest: Number of neighbors; 0 for none.
        temperature: Of the softmax over their similarities.
    """

    _known: tuple[int, KnownNeighbors] | None = None
    profiles: Tensor
    nodes: Tensor
    sketch: Tensor
    graph_size: Tensor
    seed: Tensor
    mark: Tensor

    def __init__(self, relations: int, width: int, size: int, nearest: int, temperature: float):
        super().__init__()
        self.relations, self.nearest, self.temperature = relations, nearest, temperature
        self.vectors = nn.Parameter(torch.empty(size, width))
        nn.init.xavier_normal_(self.vectors, gain=nn.init.calculate_gain("relu"))
        # Node numbers of those that were drawn, -1 behind them, and the graph they are from.
        self.register_buffer("nodes", torch.full((size,), -1))
        self.register_buffer("profiles", torch.zeros(size, 2 * max(relations, 1)).int())
        self.register_buffer("sketch", torch.zeros(_BUCKETS).int())
        self.register_buffer("graph_size", torch.tensor(-1))
        # Drawn here, so that copies of an encoder reserve the same entities of a graph.
        self.register_buffer("seed", torch.randint(2**62, ()))
        self.register_buffer("mark", torch.tensor(0))

    @property
    def drawn(self) -> int:
        """Number of entities that were drawn; 0 before."""
        return int((self.nodes >= 0).sum())

    @torch.no_grad()
    def draw(self, graph: Graph, whole: bool) -> None:
        """Reserve entities of a graph; nothing is drawn from one without edges.

        Args:
            graph: The graph.
            whole: Whether it is the graph that is trained on, not a part or a variant of it. Then
                reserved entities have their own vectors wherever this graph is met again.
        """
        profiles = profiles_of(graph, self.relations)
        joined = (profiles.counts.sum(1) > 0)[profiles.row].nonzero().flatten()
        rng = torch.Generator().manual_seed(int(self.seed))
        order = torch.randperm(len(joined), generator=rng).to(graph.device)
        chosen = joined[order[: len(self.vectors)]].sort().values
        self.nodes[: len(chosen)] = chosen
        self.profiles[: len(chosen)] = profiles.counts[profiles.row[chosen]]
        if whole and graph.num_graphs == 1 and graph.origin is None:
            self.sketch.copy_(sketch_of(graph, self.relations, _BUCKETS))
            self.graph_size.fill_(graph.num_nodes)
        self.stamp()

    def stamp(self) -> None:
        """Number the entities that are reserved now: what graphs remember is for this number."""
        values = torch.cat([self.nodes, self.profiles.flatten(), self.sketch])
        rng = torch.Generator().manual_seed(0)
        numbers = torch.randint(-(2**63), 2**63 - 1, values.shape, generator=rng)
        self.mark.copy_((values * numbers.to(values.device)).sum() + self.graph_size)

    def forward(self, graph: Graph) -> Tensor:
        """Mean vector of the nearest reserved entities of each distinct profile, ``(u, width)``.

        Weights are the softmax of the cosines of profiles over the temperature. A profile without
        edges has none, and gets zeros; the published code draws a new random vector for it at each
        pass, so that its results cannot be repeated.
        """
        profiles = profiles_of(graph, self.relations)
        count = len(profiles.keys)
        if not min(self.nearest, self.drawn):
            return self.vectors[:1].expand(count, -1) * 0
        share, weight = graph.remember(
            ("nearest reserved", self.relations, *self._key()),
            lambda: self._shares(profiles),
            (*STRUCTURE, "edge_type"),
        )
        vectors = padded(self.vectors, share.num_nodes)
        return ops.weighted_sum_neighbors(share, vectors, weight.to(vectors.dtype))[:count]

    def own_rows(self, graph: Graph) -> Tensor | None:
        """Row of each node among distinct profiles and then reserved vectors, int64 ``(n,)``.

        Returns:
            ``None`` where no node of the graph is known to be a reserved entity. See
            :meth:`is_known`.
        """
        if int(self.graph_size) < 0 or not self._recognized(graph):
            return None
        profiles, drawn = profiles_of(graph, self.relations), self.drawn

        def make() -> Tensor:
            places = torch.arange(drawn, device=graph.device) + len(profiles.keys)
            return profiles.row.scatter(0, self.nodes[:drawn], places)

        key = ("reserved rows", self.relations, *self._key())
        return graph.remember(key, make, (*STRUCTURE, "edge_type"))

    def is_known(self, graph: Graph) -> bool:
        """Whether a graph is the one that the entities are from, with edges more or less.

        That is so if it has as many nodes and no edge more, or at least as many nodes and no edge
        less, by a sketch of its triples and by the profiles of the reserved entities: a graph with
        many times the edges has more in every bucket of the sketch. Nodes are then known by their
        numbers.
        """
        size = int(self.graph_size)
        if size < 0 or graph.num_graphs > 1 or graph.origin is not None:
            return False
        if graph.num_nodes < size:
            return False
        profiles, drawn = profiles_of(graph, self.relations), self.drawn
        own = profiles.counts[profiles.row[self.nodes[:drawn]]]
        pairs = [
            (sketch_of(graph, self.relations, _BUCKETS), self.sketch),
            (own, self.profiles[:drawn]),
        ]
        no_more = graph.num_nodes == size and all(bool((a <= b).all()) for a, b in pairs)
        return no_more or all(bool((a >= b).all()) for a, b in pairs)

    def _recognized(self, graph: Graph) -> bool:
        key = ("is known", self.relations, *self._key())
        fields = (*STRUCTURE, "edge_type", "sizes", "origin")
        return graph.remember(key, lambda: self.is_known(graph), fields)

    def _key(self) -> tuple[int, int, float]:
        return int(self.mark), self.nearest, self.temperature

    def _shares(self, profiles: Profiles) -> tuple[Graph, Tensor]:
        """Edges from reserved entities to profiles, and their weights ``(u k,)``."""
        k = min(self.nearest, self.drawn)
        rows, cosine = self._neighbors(k).of(profiles.counts, profiles.keys)
        weight = torch.softmax(cosine / self.temperature, 1)  # (u, k)
        weight = weight * (profiles.counts.sum(1, keepdim=True) > 0)
        count = len(rows)
        receiver = torch.arange(count, device=rows.device).repeat_interleave(k)
        return Graph(rows.flatten(), receiver, max(count, len(self.vectors))), weight.flatten()

    def _neighbors(self, k: int) -> KnownNeighbors:
        mark, device = int(self.mark), self.profiles.device
        known = self._known
        if known is None or known[0] != mark or known[1].among.device != device:
            known = mark, KnownNeighbors(self.profiles[: self.drawn].clone(), k)
            self._known = known
        return known[1]
