"""Representation consistency: labeled and unlabeled vectors alike (Abuduweili et al. 2021, ARC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Schema
from gtl.roles import Batch, Gate, View
from gtl.tasks.certainty import entropies, largest_entropy, require_classes
from gtl.tasks.checks import require_count, require_positive, require_share
from gtl.tasks.items import Inputs, all_inputs, item_vectors, require_rates
from gtl.tasks.mmd import median_widths, mmd_losses
from gtl.tasks.model_task import ModelTask

CAPACITY = 128
LEAST = 20
SIDES = ("labeled", "unlabeled")


class RepresentationConsistency(ModelTask):
    """Brings the distributions of labeled and unlabeled vectors together.

    Items that the model is certain of - the entropy of its prediction is at most ``threshold``
    times the largest possible one - are put into two buffers, first in, first out: one of labeled
    vectors, one of unlabeled ones. The losses are the terms of the squared maximum mean discrepancy
    (MMD) of both buffers, one a row (:func:`gtl.tasks.mmd.mmd_losses`); their mean is the MMD.
    Rows of earlier steps are constants. There are no samples before both buffers have ``least``
    rows.

    The vector of a node is its own, that of a graph the mean of its nodes. The gates, the rows that
    enter a buffer and the bandwidths are computed in :meth:`view`.

    Here it departs from the published code: buffers belong to the task and are saved with it; the
    estimate is unbiased, so that equal distributions have a mean of zero; bandwidths are the median
    squared distance times ``factors``, since a fixed one says nothing of vectors of another length.
    ``biased=True`` and ``width`` equal to the columns of the vectors give the published loss,
    whose weight of 50 in that code is ``strength``.

    Args:
        threshold: Share of the largest entropy up to which an item is used, in ``(0, 1]``; ``None``
            uses all items.
        capacity: Rows of each buffer. By default 128, or the number of items if there are fewer.
        least: Rows that both buffers must have; at most ``capacity``. By default 20, or
            ``capacity`` if that is smaller.
        factors: What the median squared distance is multiplied by, a bandwidth each.
        width: One bandwidth, in the unit of squared distances, in their place.
        biased: Whether rows are compared with themselves, too.
        weak: Shares of edges and of features that the graph of the unlabeled items lacks.
        strength: Factor of the loss; with 1 its gradient is a twentieth of the target's.
        warmup: Steps over which the losses rise linearly to their full size.

    Raises:
        ConfigError: If an option is out of range, the target is a regression, or a buffer is larger
            than the data.
    """

    compares_distributions: ClassVar[bool] = True
    labeled: Tensor
    unlabeled: Tensor
    counts: Tensor
    sizes: Tensor

    def __init__(
        self,
        threshold: float | None = 0.7,
        capacity: int | None = None,
        least: int | None = None,
        factors: Sequence[float] = (0.5, 1.0, 2.0),
        width: float | None = None,
        biased: bool = False,
        weak: Sequence[float] = (0.0, 0.0),
        strength: float = 50.0,
        warmup: int = 20,
    ):
        super().__init__(warmup)
        self.threshold = None if threshold is None else require_share("threshold", threshold)
        self.capacity = None if capacity is None else require_count("capacity", capacity, least=2)
        rows = self.capacity or CAPACITY
        self.least = require_count("least", min(LEAST, rows) if least is None else least, least=2)
        if self.least > rows:
            raise ConfigError(
                f"`least` is {self.least}, and a buffer has {rows} rows; give at most {rows}, or a "
                "larger `capacity`"
            )
        self.factors = tuple(require_positive("factors", factor) for factor in factors)
        if not self.factors:
            raise ConfigError("`factors` is empty; give at least one")
        self.width = None if width is None else require_positive("width", width)
        self.biased = biased
        self.strength = require_positive("strength", strength)
        self.weak = require_rates("weak", weak)

    def prepare(self, schema: Schema, width: int) -> None:
        """Make room for the buffers."""
        rows = self.capacity or CAPACITY
        for side in SIDES:
            self.register_buffer(side, torch.zeros(rows, width))
        self.register_buffer("counts", torch.zeros(2, dtype=torch.int64))
        self.register_buffer("sizes", torch.full((2,), rows))

    def expect(self, labeled: int, unlabeled: int) -> None:
        """Fit the buffers to the data.

        Raises:
            ConfigError: If a given ``capacity`` is larger than the number of items.
        """
        for place, (side, items) in enumerate(zip(SIDES, (labeled, unlabeled))):
            if self.capacity is not None and self.capacity > items:
                raise ConfigError(
                    f"`capacity` is {self.capacity}, and there are {items} {side} items: the "
                    f"buffer would hold some of them twice; give at most {items}, or leave it out"
                )
            self.sizes[place] = min(len(getattr(self, side)), items)

    def begin(self, encoder: nn.Module) -> None:
        """Empty the buffers.

        Raises:
            ConfigError: If the target is a regression and there is a gate.
        """
        if self.threshold is not None:
            require_classes(self.target.kind)
        self.counts.zero_()

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """All items, their entropies, earlier rows and bandwidths; fills the buffers."""
        inputs = all_inputs(batch, self.weak, rng, self.columns)
        nodes = self.nodes_now(inputs.graph)
        vectors = inputs.vectors(nodes)
        parts = vectors.split([inputs.labeled, len(vectors) - inputs.labeled])
        entropy, limit = self._entropy(inputs, nodes)
        is_open = (entropy <= limit).split([inputs.labeled, len(vectors) - inputs.labeled])
        rows, earlier, whole = [], [], []
        for place in range(len(SIDES)):
            size = int(self.sizes[place])
            chosen = is_open[place].nonzero().flatten()[-size:]
            kept = self._rows(place)[max(0, int(self.counts[place]) + len(chosen) - size) :].clone()
            rows.append(chosen + place * inputs.labeled)
            earlier.append(kept)
            whole.append(torch.cat([kept, parts[place][chosen].to(kept)]))
            self._fill(place, whole[-1])
        found = {"items": inputs.items, "rows": rows, "earlier": earlier, "entropy": entropy}
        found |= {"limit": limit, "labeled": inputs.labeled, "factor": self.factor}
        return View(inputs.graph, {**found, "widths": self._widths(whole)})

    def gates(self, view: View) -> Mapping[str, Gate]:
        """The gate of each side."""
        if self.threshold is None:
            return {}
        values, labeled = view.targets["entropy"], view.targets["labeled"]
        parts = values.split([labeled, len(values) - labeled])
        limit = view.targets["limit"]
        return {side: Gate(part, limit, "entropy") for side, part in zip(SIDES, parts)}

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each row of both buffers, ``(b,)``."""
        found = view.targets
        vectors = item_vectors(found["items"], nodes)
        x, y = (
            torch.cat([kept.to(nodes), vectors[rows]])
            for kept, rows in zip(found["earlier"], found["rows"])
        )
        least = [min(self.least, int(size)) for size in self.sizes]
        moved = len(found["rows"][0]) + len(found["rows"][1])
        if len(x) < least[0] or len(y) < least[1] or not moved:
            return vectors.sum(1)[:0]
        each = mmd_losses(x, y, found["widths"].to(nodes), self.biased)
        return self.strength * each * found["factor"].to(nodes)

    def _entropy(self, inputs: Inputs, nodes: Tensor) -> tuple[Tensor, float]:
        """Entropy of each item's prediction, zero without a gate, and the largest that passes."""
        if self.threshold is None:
            return nodes.new_zeros(len(inputs)), 0.0
        scores, kind = self.scores_now(inputs.items, nodes), self.target.kind
        return entropies(scores, kind), self.threshold * largest_entropy(kind, scores.shape[1])

    def _rows(self, place: int) -> Tensor:
        rows: Tensor = getattr(self, SIDES[place])
        return rows[: int(self.counts[place])]

    def _fill(self, place: int, rows: Tensor) -> None:
        buffer: Tensor = getattr(self, SIDES[place])
        buffer[: len(rows)] = rows
        self.counts[place] = len(rows)

    def _widths(self, whole: Sequence[Tensor]) -> Tensor:
        if self.width is not None:
            return whole[0].new_tensor([self.width])
        return median_widths(torch.cat(list(whole)), self.factors)
