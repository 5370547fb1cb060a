"""Sharing of a step among processes: parts of the batch, joined losses, reduced gradients.

The losses that a weighting sees are those of all samples of the step, in every process: its own
with a graph, those of the others as constants. What a weighting computes of them, such as means,
weights, normalizers and samples held back, is then the same in all processes and the same as in
one process with the joined batch. Parameters enter the model through a function that sums
gradients over the processes on the way back. So every gradient that a weighting asks for is that
of the joined batch, and no weighting has to know of other processes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from gtl.errors import GtlError
from gtl.train.distributed.batch_norm import joint_statistics
from gtl.train.distributed.processes import Processes
from gtl.train.seed import seeded

_SAME = 1e-6  # relative difference of weights that rounding can explain
Losses = dict[str, Tensor]


class Sharing(ABC):
    """How the processes of a data-parallel training share a step.

    Args:
        processes: The processes.

    Attributes:
        draws: Generator of views and sampled neighbors in an epoch; ``None`` for the run's own.
    """

    draws: torch.Generator | None = None

    def __init__(self, processes: Processes):
        self.processes = processes

    @abstractmethod
    def share(self, items: Tensor) -> Tensor:
        """The items of a step that this process reads."""

    @abstractmethod
    def epoch(self, model: nn.Module, seed: int, number: int) -> AbstractContextManager[None]:
        """Around the steps of an epoch.

        Args:
            model: What is trained.
            seed: Of the run.
            number: Number of the epoch.
        """

    @abstractmethod
    def joined(self, losses: Losses) -> Losses:
        """Losses of all samples of the step, of which others than this process's are constants.

        Args:
            losses: Losses ``(b_k,)`` by task, as this process has computed them.
        """

    @abstractmethod
    def permuted(self, nodes: Tensor, draws: torch.Generator) -> Tensor:
        """Node vectors ``(n, h)`` in the places of others, of all nodes of the step."""

    @abstractmethod
    def settle(self, model: nn.Module) -> None:
        """Make what the processes keep for themselves the same, after an epoch."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes."""
        return self.processes.total(values)

    def losses_of(
        self,
        model: nn.Module,
        parameters: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        arguments: tuple[Any, ...],
    ) -> tuple[Losses, Losses]:
        """Joined losses and own node vectors of ``model(*arguments)``.

        Gradients of the losses with respect to ``parameters`` are those of the joined batch.

        Args:
            model: The :class:`gtl.TaskModel`.
            parameters: Values by name; parameters that are not named stay as they are.
            buffers: Likewise.
            arguments: Of the model.
        """
        if not torch.is_grad_enabled() or not parameters:
            losses, nodes = functional_call(model, {**buffers, **parameters}, arguments)
            return self.joined(losses), nodes
        zero, *values = _Reduced.apply(self.processes, *parameters.values())
        reduced = dict(zip(parameters, values))
        losses, nodes = functional_call(model, {**buffers, **reduced}, arguments)
        # Every process must take part in every reduction and in every joint batch norm: losses
        # depend on the parameters and on the nodes, also where this process has no sample.
        for name, values in losses.items():
            link = zero
            if not len(values) or not values.requires_grad:
                link = zero + nodes[name].sum().expand(0).sum()  # 0
            losses[name] = values + link
        return self.joined(losses), nodes

    def require_same(self, model: nn.Module, epoch: int) -> None:
        """Check that the processes have the same weights.

        Raises:
            GtlError: If they have not: a task or a weighting keeps something that it should not.
        """
        found = [p.detach().double() for p in model.parameters() if p.requires_grad]
        if not found:
            return
        sums = torch.stack([torch.stack([v.sum(), v.abs().sum()]) for v in found]).sum(0)
        every = self.processes.gathered(sums)
        if float((every - every[0]).abs().max()) > _SAME * float(every.abs().max()):
            raise GtlError(
                f"after epoch {epoch} the processes have different weights: a task or a weighting "
                "of this training keeps a state that depends on the samples of one process; train "
                "it in one process"
            )


class DividedBatch(Sharing):
    """Each process has a part of the batch: graphs, or sampled neighborhoods.

    Parts are consecutive, so that the joined losses have the order of one process. Views and
    dropout are drawn by each process for itself, from numbers that depend on seed, epoch and rank.
    """

    def share(self, items: Tensor) -> Tensor:
        """A consecutive part of two items or more, or of none.

        Some tasks take a batch of one graph for node-level data. Parts differ by one item at most,
        but the last processes have none where items are fewer than twice the processes.
        """
        parts = max(1, min(self.processes.count, len(items) // 2))
        rank = self.processes.rank
        return items.tensor_split(parts)[rank] if rank < parts else items[:0]

    @contextmanager
    def epoch(self, model: nn.Module, seed: int, number: int) -> Iterator[None]:
        """Random numbers of this process alone, and batch norms of the joined batch."""
        own = ((seed * 1_000_003 + number) * 1_000_003 + self.processes.rank) % (1 << 62)
        with seeded(own) as self.draws, joint_statistics(model, self.processes):
            yield
        self.draws = None

    def joined(self, losses: Losses) -> Losses:
        """See :class:`Sharing`; also carries forward-mode derivatives."""
        pairs = [forward_ad.unpack_dual(values) for values in losses.values()]
        own = torch.cat([pair.primal for pair in pairs])
        moving = any(pair.tangent is not None for pair in pairs)
        counts = self.processes.numbers([*(len(values) for values in losses.values()), moving])
        every = self._rows(own, [sum(numbers[:-1]) for numbers in counts])
        every[self.processes.rank] = own
        if any(numbers[-1] for numbers in counts):
            slopes = [
                torch.zeros_like(pair.primal) if pair.tangent is None else pair.tangent
                for pair in pairs
            ]
            tangents = self._rows(torch.cat(slopes), [len(row) for row in every])
            every = [forward_ad.make_dual(row, slope) for row, slope in zip(every, tangents)]
        parts = [row.split(numbers[:-1]) for row, numbers in zip(every, counts)]
        return {name: torch.cat(pieces) for name, pieces in zip(losses, zip(*parts))}

    def permuted(self, nodes: Tensor, draws: torch.Generator) -> Tensor:
        """See :class:`Sharing`: the vectors of all processes are exchanged."""
        counts = [count for (count,) in self.processes.numbers([len(nodes)])]
        order = torch.randperm(sum(counts), generator=draws)
        own = order.split(counts)[self.processes.rank].to(nodes.device)
        return torch.cat(self._rows(nodes, counts))[own]

    def settle(self, model: nn.Module) -> None:
        """Take over the buffers of the first process: queues, and counts of what was drawn."""
        self.processes.copy_from_first(list(model.buffers()))

    def _rows(self, own: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Rows of every process, of which there are ``counts``; constants."""
        room = own.new_zeros(max(counts), *own.shape[1:])
        room[: len(own)] = own.detach()
        return [part[:count] for part, count in zip(self.processes.gathered(room), counts)]


class WholeGraph(Sharing):
    """Each process has the whole graph and the same views, and takes the gradient of its samples.

    Everything is as in one process, and no faster: all of them encode the whole graph.
    """

    def share(self, items: Tensor) -> Tensor:
        """All items."""
        return items

    def epoch(self, model: nn.Module, seed: int, number: int) -> AbstractContextManager[None]:
        """Nothing special: random numbers are those that all have in common."""
        return nullcontext()

    def joined(self, losses: Losses) -> Losses:
        """See :class:`Sharing`; nothing has to be exchanged."""
        if not torch.is_grad_enabled():
            return losses
        rank, count = self.processes.rank, self.processes.count
        found = {}
        for name, values in losses.items():
            parts = list(values.tensor_split(count))
            found[name] = torch.cat(
                [part if i == rank else part.detach() for i, part in enumerate(parts)]
            )
        return found

    def permuted(self, nodes: Tensor, draws: torch.Generator) -> Tensor:
        """See :class:`Sharing`."""
        return nodes[torch.randperm(len(nodes), generator=draws).to(nodes.device)]

    def settle(self, model: nn.Module) -> None:
        """Nothing to do: all have seen the same."""


class _Reduced(torch.autograd.Function):
    """A zero, and parameters as they are, whose gradients are summed over the processes.

    What depends on the zero takes part in the reduction.
    """

    @staticmethod
    def forward(ctx: Any, processes: Processes, *parameters: Tensor) -> tuple[Tensor, ...]:
        ctx.processes = processes
        ctx.forms = [parameter.detach() for parameter in parameters]
        ctx.set_materialize_grads(False)
        return (
            parameters[0].new_zeros(()),
            *(parameter.view_as(parameter) for parameter in parameters),
        )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor | None, *gradients: Tensor | None) -> tuple[Any, ...]:
        return (None, *_total(ctx.processes, ctx.forms, gradients))


def _total(
    processes: Processes, forms: Sequence[Tensor], gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Sums of gradients, of each dtype in one exchange; ``None`` for those that nobody has."""
    found: list[Tensor | None] = [None] * len(forms)
    for dtype in dict.fromkeys(form.dtype for form in forms):
        places = [i for i, form in enumerate(forms) if form.dtype == dtype]
        chosen = [gradients[i] for i in places]
        values = [
            torch.zeros_like(forms[i]).flatten() if g is None else g.flatten()
            for i, g in zip(places, chosen)
        ]
        has = values[0].new_tensor([float(gradient is not None) for gradient in chosen])
        sums = processes.total(torch.cat([*values, has]))
        *totals, had = sums.split([*(len(value) for value in values), len(places)])
        for i, total, known in zip(places, totals, had.tolist()):
            found[i] = total.view_as(forms[i]) if known else None
    return found
