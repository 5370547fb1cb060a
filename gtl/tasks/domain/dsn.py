"""DSN: shared vectors beside private ones of each domain (Bousmalis et al. 2016)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gtl.checks import check_not_negative
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.graph.sample import draw_numbers
from gtl.graph.union import has_same_content
from gtl.roles import Batch, View
from gtl.tasks.checks import built, require_count
from gtl.tasks.domain.critic import Adversary, accuracy, domain_losses, reversed_gradient
from gtl.tasks.domain.task import Beside, Domains, DomainTask, constant, side_weights
from gtl.tasks.mmd import median_widths, mmd_losses
from gtl.tasks.self_supervised.features import Features

SIMILARITIES = ("dann", "mmd")
FACTORS = (0.5, 1.0, 2.0)  # of the median squared distance, a bandwidth of MMD each


class DSN(DomainTask):
    """Domain separation: what a domain has for itself goes into vectors of its own.

    Each domain has a private encoder, at first a copy of the encoder that is trained, which
    becomes the shared one. The loss of an item is the sum of

    - ``reconstruction`` times the error of its node features, which a linear map predicts from the
      sum of shared and private vectors: one minus the cosine of floating features, the
      cross-entropy of categorical ones, the mean over the nodes of a graph. At node level at most
      ``rows`` items of each domain are reconstructed in a step;
    - ``difference`` times its term of ``|H^T P|^2 / b_d^2``, with rows ``H`` of shared and ``P`` of
      private vectors of the ``b_d`` items of its domain, centered and scaled to a mean squared
      length of 1;
    - ``likeness`` times its term of ``dann`` or of the squared MMD of the shared vectors
      (``similarity``).

    The mean of the losses is the sum of these objectives, for the first and the last the mean of
    both domains, for the second their sum. Predictions read the shared vectors. A step costs
    three encoder passes in place of one.

    Here it departs from the paper: reconstructed are node features, by one linear map, and the
    difference is divided by the number of pairs of items, so that its size does not depend on the
    batch.

    Measured in each epoch: ``reconstruction``, ``difference`` and ``likeness``, the means before
    their factors, and ``critic_accuracy``, 0.5 for ``mmd``.

    Args:
        reconstruction: Factor of the reconstruction.
        difference: Factor of the difference.
        likeness: Factor of the similarity of the domains.
        similarity: ``"dann"``, by gradient reversal, or ``"mmd"``.
        rows: Nodes of each domain that are reconstructed, at the most, where items are nodes.
        strength: Largest factor of the reversed gradient.
        alpha: How fast it rises; ``None`` for ``strength`` from the start.
        hidden: Columns of the critic's hidden layers.
        layers: Number of its hidden layers.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, or nodes have no features.
    """

    quantities: ClassVar[tuple[str, ...]] = (
        "reconstruction",
        "difference",
        "likeness",
        "critic_accuracy",
    )

    def __init__(
        self,
        reconstruction: float = 0.01,
        difference: float = 0.075,
        likeness: float = 0.25,
        similarity: str = "dann",
        rows: int = 1000,
        strength: float = 1.0,
        alpha: float | None = 10.0,
        hidden: int = 64,
        layers: int = 1,
        warmup: int = 0,
    ):
        super().__init__(warmup)
        check_not_negative(reconstruction=reconstruction, difference=difference, likeness=likeness)
        if similarity not in SIMILARITIES:
            raise ConfigError(f"`similarity` is {similarity!r}, expected one of {SIMILARITIES}")
        self.parts = reconstruction, difference, likeness
        self.similarity = similarity
        self.rows = require_count("rows", rows)
        self.adversary = Adversary(strength, alpha, hidden, layers)
        self.features: Features | None = None
        self.decoder: nn.Linear | None = None
        self.private: nn.ModuleList | None = None

    def prepare(self, schema: Schema, width: int) -> None:
        """Make the decoder of the node features.

        Raises:
            ConfigError: If nodes have none.
        """
        self.features = Features.of(schema, "dsn", None)
        self.decoder = nn.Linear(width, sum(self.features.outputs))

    def make(self, beside: Beside) -> None:
        """Make the private encoders and the critic."""
        self.private = nn.ModuleList(copy.deepcopy(beside.encoder) for _ in range(2))
        if self.similarity == "dann":
            self.adversary.make(beside.width)

    def extras(self, batch: Batch, rng: torch.Generator) -> Mapping[str, Any]:
        """Both graphs for the private encoders, what is reconstructed, and the reversal."""
        assert batch.own is not None
        graphs = [graph.replace(y=None) for graph in (batch.graph, batch.own)]
        rows = [None if g.seeds is None else self._drawn(g.seeds, rng) for g in graphs]
        reversal = self.adversary.factor(self.progress)
        return {"graphs": graphs, "rows": rows, "reversal": reversal}

    def of_domains(self, domains: Domains, nodes: Tensor, view: View) -> Tensor:
        """Loss of each item, ``(b,)``."""
        graphs, shared = view.targets["graphs"], _nodes_of_each(nodes, view)
        private = [encoder(g) for encoder, g in zip(built(self, self.private), graphs)]
        rebuilt = [
            self._errors(graph, one + other, rows)
            for graph, one, other, rows in zip(graphs, shared, private, view.targets["rows"])
        ]
        differences = [
            difference_losses(vectors, self.vectors(graph, own)) * (len(domains) / len(vectors))
            for graph, vectors, own in zip(graphs, (domains.source, domains.target), private)
            if len(vectors)
        ]
        likeness, found = self._likeness(domains, view)
        if not len(domains):
            return likeness
        balance = side_weights(domains.source, domains.target)
        terms = torch.cat(rebuilt) * balance, torch.cat(differences), likeness
        self.measure(view, lambda: [*(term.mean() for term in terms), found])
        return torch.stack([factor * term for factor, term in zip(self.parts, terms)]).sum(0)

    def _likeness(self, domains: Domains, view: View) -> tuple[Tensor, Tensor]:
        """Term of the similarity of each item ``(b,)``, and the accuracy of the critic."""
        vectors = domains.vectors
        if self.similarity == "dann":
            logits = self.adversary(reversed_gradient(vectors, view))
            return domain_losses(logits, domains), accuracy(logits, domains)
        widths = constant(view, "widths", lambda: median_widths(vectors.detach(), FACTORS))
        each = mmd_losses(domains.source, domains.target, widths.to(vectors))
        return each if len(each) else 0 * vectors.sum(1), vectors.new_tensor(0.5)

    def _errors(self, graph: Graph, vectors: Tensor, rows: Tensor | None) -> Tensor:
        """Error of the features of each item, ``(b_d,)``."""
        features, decoder = built(self, self.features), built(self, self.decoder)
        x = features.read(graph)
        if rows is None or graph.seeds is None:
            errors = features.errors(decoder(vectors), x)
            return ops.segment_mean(errors.unsqueeze(1), graph.graph_sizes()).squeeze(1)
        chosen = graph.seeds[rows]
        errors = features.errors(decoder(vectors[chosen]), x[chosen])
        each = errors.new_zeros(len(graph.seeds))
        return each.index_add(0, rows, errors * (len(each) / max(len(rows), 1)))

    def _drawn(self, seeds: Tensor, rng: torch.Generator) -> Tensor:
        if len(seeds) <= self.rows:
            return torch.arange(len(seeds), device=seeds.device)
        return draw_numbers(len(seeds), self.rows, rng).to(seeds.device)


def difference_losses(shared: Tensor, private: Tensor) -> Tensor:
    """Terms of ``|H^T P|^2 / b^2``, one a row, whose sum it is.

    Rows are centered and divided by the square root of their mean squared length. The squared norm
    of ``M = H^T P`` is the sum of ``h^T M p`` over the rows.

    Args:
        shared: ``(b, h)``.
        private: ``(b, h)``.

    Returns:
        ``(b,)``; their sum lies in ``[0, 1]``.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])
        >>> other = torch.tensor([[0.0, 1.0], [0.0, -2.0], [0.0, 1.0]])
        >>> [round(float(difference_losses(rows, x).sum()), 4) for x in (rows, other)]
        [1.0, 0.0]
    """
    one, other = _scaled(shared), _scaled(private)
    product = one.T @ other  # (h, h)
    return ((one @ product) * other).sum(1) / max(len(one), 1) ** 2


def _scaled(rows: Tensor) -> Tensor:
    if not len(rows):
        return rows
    rows = rows - rows.mean(0)
    return rows / rows.square().sum(1).mean().clamp(min=1e-6).sqrt()


def _nodes_of_each(nodes: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Shared vectors of the nodes of either graph, which may be one and the same."""
    source, target = view.targets["graphs"]
    if has_same_content(view.graph, source):
        return nodes, nodes
    first, second = nodes.split([source.num_nodes, target.num_nodes])
    return first, second
