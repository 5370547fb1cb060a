"""Adaptive representation consistency (Abuduweili et al. 2021, ARC)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.roles import Batch, View
from gtl.tasks.checks import require_count
from gtl.tasks.consistency.on_unlabeled import Gate, OnUnlabeled


class RepresentationConsistency(OnUnlabeled):
    """Brings the vectors of labeled and of unlabeled items to one distribution.

    The loss is the squared maximum mean discrepancy (Gretton et al. 2012) of two queues, of labeled
    and of unlabeled items, to which each step appends the vectors of items of which the model is
    certain; the gradient goes through those of the step. It is one loss a step, ``(1,)``, since a
    discrepancy belongs to no single item, and 0 until both queues hold ``least`` vectors.

    By default the estimate is unbiased and the kernel is the mean of Gaussians whose squared
    widths are multiples of the median squared distance. The published code has the biased
    estimate, which is above 0 for equal distributions, and one kernel of fixed width,
    ``exp(-mean over columns of (x - y)^2)``, which vanishes for normalized vectors:
    ``bandwidths=None, unbiased=False``.

    Args:
        threshold: Largest entropy of the prediction of an item that passes, as a share of the
            largest possible.
        capacity: Vectors that each queue holds.
        least: Vectors that each queue must hold before there is a loss.
        bandwidths: Multiples of the median squared distance; ``None`` for the published kernel.
        unbiased: Whether a vector is not compared with itself.
        warmup: Share of the training over which the loss rises to its full size.

    Raises:
        ConfigError: If an option is out of range.
    """

    labeled_queue: Tensor
    unlabeled_queue: Tensor
    filled: Tensor

    def __init__(
        self,
        threshold: float = 0.7,
        capacity: int = 128,
        least: int = 20,
        bandwidths: Sequence[float] | None = (0.25, 1.0, 4.0),
        unbiased: bool = True,
        warmup: float = 0.0,
    ):
        super().__init__(warmup)
        self.labeled_gate, self.unlabeled_gate = Gate(threshold), Gate(threshold)
        self.capacity = require_count("capacity", capacity, 2)
        self.least = require_count("least", least, 2)
        if self.least > self.capacity:
            raise ConfigError(
                f"`least` is {least} and `capacity` {capacity}: the queues would never be full "
                "enough; give a larger `capacity`"
            )
        if bandwidths is not None and (not bandwidths or min(bandwidths) <= 0):
            raise ConfigError(f"`bandwidths` is {list(bandwidths)}, expected numbers above 0")
        self.bandwidths = None if bandwidths is None else tuple(bandwidths)
        self.unbiased = unbiased

    def build(self, schema: Schema, width: int) -> None:
        """Make both queues."""
        super().build(schema, width)
        self.register_buffer("labeled_queue", torch.zeros(self.capacity, width))
        self.register_buffer("unlabeled_queue", torch.zeros(self.capacity, width))
        self.register_buffer("filled", torch.zeros(2, dtype=torch.int64))

    def after_step(self, model: nn.Module, progress: float) -> None:
        """Remember the model; at the end, warn of a gate that never opened."""
        super().after_step(model, progress)
        if progress >= 1:
            for gate, what in ((self.labeled_gate, "labeled"), (self.unlabeled_gate, "unlabeled")):
                gate.warn_if_never_open(f"the gate of representation_consistency for {what} items")

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """Labeled and unlabeled items as one graph, and which are which."""
        other, graph = self.unlabeled(batch), batch.graph.replace(y=None)
        if batch.own is None:
            assert graph.seeds is not None and other.seeds is not None
            both = graph.replace(seeds=torch.cat([graph.seeds, other.seeds]))
        else:
            both = Graph.batch([graph, other])
        labeled = torch.arange(_items(both), device=both.device) < _items(graph)
        return View(both, {"labeled": labeled})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """The discrepancy, ``(1,)``; appends to the queues."""
        graph, labeled = view.graph, view.targets["labeled"]
        with torch.no_grad():
            found = self.probabilities(graph, nodes)
        seeds = graph.seeds
        if seeds is None:
            vectors = ops.segment_mean(nodes, graph.graph_sizes())
        else:
            vectors = nodes.index_select(0, seeds)
        binary = self.target.kind == "binary"
        samples = []
        for part, gate, chosen in (
            (0, self.labeled_gate, labeled),
            (1, self.unlabeled_gate, ~labeled),
        ):
            rows = chosen.nonzero().flatten()
            passed = rows[gate(found[rows], binary)]
            samples.append(self._appended(part, vectors.index_select(0, passed)))
        one, two = samples
        if min(len(one), len(two)) < self.least:
            return vectors.sum().reshape(1) * 0
        value = discrepancy(one, two, self.bandwidths, self.unbiased)
        return self.level * value.reshape(1)

    def measures(self) -> dict[str, float]:
        """Share of the labeled and of the unlabeled items that passed."""
        return {
            "labeled items that pass": self.labeled_gate.share(),
            "unlabeled items that pass": self.unlabeled_gate.share(),
        }

    def _appended(self, part: int, rows: Tensor) -> Tensor:
        """The queue with rows at its end, at most ``capacity``; stored without history."""
        queue = (self.labeled_queue, self.unlabeled_queue)[part]
        held = queue[: int(self.filled[part])].clone().to(rows)
        now = torch.cat([held, rows])[-self.capacity :]
        with torch.no_grad():
            queue[: len(now)] = now.detach().to(queue)
            self.filled[part] = len(now)
        return now


def discrepancy(
    x: Tensor, y: Tensor, bandwidths: Sequence[float] | None, unbiased: bool = True
) -> Tensor:
    """Squared maximum mean discrepancy of two samples, ``()``.

    Args:
        x: ``(n, h)``, two rows or more.
        y: ``(m, h)``, likewise.
        bandwidths: Multiples of the median squared distance, which are the squared widths of
            Gaussian kernels that are averaged; ``None`` for ``exp(-mean (x - y)^2)``.
        unbiased: Whether pairs of a row with itself are left out.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> round(discrepancy(x, x, None, unbiased=False).item(), 6)
        0.0
    """
    both = torch.cat([x, y])
    squares = both.square().sum(1)
    distance = (squares.unsqueeze(1) + squares - 2 * both @ both.T).clamp(min=0)
    if bandwidths is None:
        kernel = torch.exp(-distance / both.shape[1])
    else:
        apart = distance[~torch.eye(len(both), dtype=torch.bool, device=both.device)]
        middle = apart.median().clamp(min=torch.finfo(both.dtype).tiny)
        kernel = torch.stack([torch.exp(-distance / (2 * b * middle)) for b in bandwidths]).mean(0)
    n = len(x)
    return (
        _mean(kernel[:n, :n], unbiased)
        + _mean(kernel[n:, n:], unbiased)
        - 2 * (kernel[:n, n:].mean())
    )


def _items(graph: Graph) -> int:
    """Number of items: of seeds, or of graphs."""
    return len(graph.graph_sizes()) if graph.seeds is None else len(graph.seeds)


def _mean(kernel: Tensor, unbiased: bool) -> Tensor:
    if not unbiased:
        return kernel.mean()
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
