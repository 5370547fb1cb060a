"""Ranking of the triples of a graph above other triples, with self-adversarial negatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gtl.catalog import TRIPLE_SCORES
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph, Schema
from gtl.graph.node_groups import node_groups
from gtl.graph.pairs import without_pairs
from gtl.graph.sample import contains, draw_numbers
from gtl.graph.triples import Completions, triple_index, triples_of, without_triples
from gtl.roles import Batch, Task, TripleScore, View
from gtl.tasks.checks import built, require_count

RELATIONS = ("own", "encoder")
REMOVE = ("triples", "pairs", "none")


class LinkRanking(Task):
    """Scores triples of the graph above those with another head or tail (Sun et al. 2019).

    One sample is a triple: one of those that the batch names, or an edge of a graph that names
    none. Its loss is half of the cross-entropy of the triple plus half the mean, over both sides,
    of that of its negatives, weighted by how plausible the model finds them::

        (softplus(-s) + (sum_j p_j softplus(s_j) + sum_k p_k softplus(s_k)) / 2) / 2

    ``p`` is the softmax of the scores of the negatives of one side, times ``temperature``; no
    gradient flows through it. A negative is a triple whose tail (head) was replaced by an entity
    drawn uniformly from all that complete no known triple of that head (tail) and relation. Where
    nodes have types, or there are several graphs, it is drawn from those of the same type and
    graph, and known ones are left out. Known are the edges of the graph, that is the training
    triples.

    The message graph lacks the triples of the step. The published code of EARL leaves them in: an
    encoder then reads the edge that it is trained to predict, and has no such edge in use.

    Args:
        score: Score of a triple: a name in :data:`gtl.catalog.TRIPLE_SCORES`, a mapping with
            options, or an instance.
        negatives: Negatives of a triple, for each side.
        temperature: How much implausible negatives count less; 0 weighs all alike.
        remove: What is taken out of the graph that is encoded: the ``"triples"`` of the step, all
            edges between their ``"pairs"`` of entities, or ``"none"``.
        drawn: Edges that a step draws from a graph that names no triples; half of them at most
            where they are taken out of it.
        relations: Whether vectors of relations are the score's ``"own"``, or the ``"encoder"``
            makes them (:meth:`gtl.roles.Encoder.relations`); loops choose by the encoder.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        score: Any = "rotate",
        negatives: int = 256,
        temperature: float = 1.0,
        remove: str = "triples",
        drawn: int = 1024,
        relations: str = "own",
    ):
        super().__init__()
        self.negatives = require_count("negatives", negatives)
        self.drawn = require_count("drawn", drawn)
        if not temperature >= 0:
            raise ConfigError(f"`temperature` is {temperature}, expected 0 or more")
        for name, given, known in (("remove", remove, REMOVE), ("relations", relations, RELATIONS)):
            if given not in known:
                raise ConfigError(f"`{name}` is {given!r}, expected one of {', '.join(known)}")
        self.temperature, self.remove, self.relations = temperature, remove, relations
        self.score_spec = score
        self.score: TripleScore | None = None
        self.kinds = 1

    def build(self, schema: Schema, width: int) -> None:
        """Make the score, with vectors of the relations unless the encoder makes them.

        Raises:
            ConfigError: If the score cannot have vectors of that width.
        """
        self.kinds = max(schema.edge_types, 1)
        own = self.kinds if self.relations == "own" else 0
        self.score = TRIPLE_SCORES.build(self.score_spec, width, own)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph without the triples of the step, these triples, and negatives of each.

        Raises:
            DataError: If a relation is none of those that the task was set up for.
        """
        graph = batch.source
        triples = self._triples(graph, rng)  # (b, 3)
        head, relation, tail = triples.unbind(1)
        if len(triples) and int(relation.max()) >= self.kinds:
            raise DataError(
                f"the graph has relation {int(relation.max())}, the task was set up for "
                f"{self.kinds}; use data with the same relations"
            )
        known = triple_index(graph, self.kinds)
        tails, no_tail = self._negatives(graph, known.tails, head, relation, tail, rng)
        heads, no_head = self._negatives(graph, known.heads, tail, relation, head, rng)
        targets = {"triples": triples, "tails": tails, "heads": heads}
        targets |= {"no_tail": no_tail, "no_head": no_head}
        return View(self._message_graph(graph, triples), targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each triple, ``(b,)``."""
        score, targets = built(self, self.score), view.targets
        head, relation, tail = targets["triples"].unbind(1)
        r = self.relation_vectors(targets).index_select(0, relation)  # (b, k)
        # Both sides together: each gradient at the vectors of all entities is a large tensor.
        h, t = nodes.index_select(0, torch.cat([head, tail])).chunk(2)  # (b, width)
        by_tail = score.tail_queries(h, r)
        queries = torch.cat([by_tail, score.head_queries(t, r)])
        candidates = torch.cat([targets["tails"], targets["heads"]])
        scores = score.against_each(queries, nodes, candidates)  # (2 b, negatives)
        none = torch.cat([targets["no_tail"], targets["no_head"]])
        own = torch.arange(len(t), device=t.device).unsqueeze(1)
        right = F.softplus(-score.against_each(by_tail, t, own)).squeeze(1)
        return right / 2 + torch.stack(self._of_negatives(scores, none).chunk(2)).sum(0) / 4

    def relation_vectors(self, targets: Mapping[str, Any]) -> Tensor:
        """Vectors of the relations ``(r, k)``: the score's own, or those of the encoder.

        Args:
            targets: What :class:`gtl.TaskModel` adds the encoder's to, as ``relations``.

        Raises:
            ConfigError: If the encoder makes none, or has others than the score needs.
        """
        score = built(self, self.score)
        if score.relation_vectors is not None:
            return score.relation_vectors
        made: Tensor | None = targets.get("relations")
        if made is None:
            raise ConfigError(
                "the encoder makes no vectors of relations; use relations='own', or an encoder "
                "such as earl"
            )
        if made.shape[1] != score.relation_width:
            raise ConfigError(
                f"the encoder makes vectors of relations of {made.shape[1]} columns, the score "
                f"needs {score.relation_width}; choose the encoder's `relation_width` or another "
                "score"
            )
        return made

    def _triples(self, graph: Graph, rng: torch.Generator) -> Tensor:
        if graph.pairs is None:
            count = self.drawn
            if self.remove != "none":  # the graph that is encoded needs edges
                count = min(count, max(1, graph.num_edges // 2))
            chosen = draw_numbers(graph.num_edges, count, rng).to(graph.device)
            return triples_of(graph)[chosen]
        relation = graph.pair_type
        relation = torch.zeros_like(graph.pairs[:, 0]) if relation is None else relation
        return torch.stack([graph.pairs[:, 0], relation, graph.pairs[:, 1]], 1)

    def _negatives(
        self,
        graph: Graph,
        known: Completions,
        given: Tensor,
        relation: Tensor,
        found: Tensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Entities ``(b, negatives)`` in place of those found, and which of them are none."""
        queries = known.queries(given, relation)
        if graph.node_type is None and graph.num_graphs == 1:
            drawn, some = known.draw_others(queries, self.negatives, rng)
            return drawn, (drawn == found.unsqueeze(1)) | ~some.unsqueeze(1)
        like = found.repeat_interleave(self.negatives)
        drawn = node_groups(graph).draw(like, rng).unflatten(0, (-1, self.negatives))
        keys = (queries * known.entities).unsqueeze(1) + drawn
        return drawn, contains(known.keys, keys) | (drawn == found.unsqueeze(1))

    def _message_graph(self, graph: Graph, triples: Tensor) -> Graph:
        if self.remove == "triples":
            return without_triples(graph, triples)
        return without_pairs(graph, triples[:, ::2]) if self.remove == "pairs" else graph

    def _of_negatives(self, scores: Tensor, none: Tensor) -> Tensor:
        """Weighted cross-entropy ``(b,)`` of the negatives ``(b, k)`` of one side."""
        least = torch.finfo(scores.dtype).min
        share = (self.temperature * scores.detach()).masked_fill(none, least).softmax(1)
        share = share.masked_fill(none, 0)
        return (share * F.softplus(scores)).sum(1)
