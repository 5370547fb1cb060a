"""Gradients of weighted mean losses, and the check that losses are finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gtl.errors import GtlError
from gtl.roles import Step


def sound_losses(losses: Mapping[str, Tensor], where: str = "") -> dict[str, Tensor]:
    """The tasks that have samples in this step.

    Args:
        losses: Losses ``(b_k,)`` by task.
        where: Added to the message, such as ``" one step ahead"``.

    Raises:
        GtlError: If a loss is not finite; names the task.
    """
    present = {name: values for name, values in losses.items() if len(values)}
    if present and not bool(torch.cat([v.detach() for v in present.values()]).isfinite().all()):
        for name, values in present.items():
            bad = values.detach()[~values.detach().isfinite()]
            if len(bad):
                raise GtlError(
                    f"the loss of task {name!r} is {bad[0].item()} for {len(bad)} of "
                    f"{len(values)} samples{where}; lower the learning rate (lr) or check the data"
                )
    return present


def weighted_backward(step: Step, weights: Mapping[str, float]) -> dict[str, float]:
    """Set the gradients of the weighted sum of the mean losses, in one backward pass.

    A task without samples, or of weight zero, is left out: its own parameters get no gradient.

    Args:
        step: The step to take.
        weights: Weight of each task, by name.

    Returns:
        The weights in force: those given, zero for tasks without samples.
    """
    present = sound_losses(step.losses)
    used = {name: weights[name] if name in present else 0.0 for name in step.losses}
    terms = [weight * present[name].mean() for name, weight in used.items() if weight]
    set_gradients(step, terms)
    return used


def set_gradients(step: Step, terms: list[Tensor]) -> None:
    """Make ``.grad`` of each parameter the gradient of the sum of ``terms``; frees their graph."""
    for parameter in step.parameters.values():
        parameter.grad = None
    differentiable = [term for term in terms if term.requires_grad]
    if differentiable and step.parameters:
        total = torch.stack(differentiable).sum()
        total.backward(inputs=list(step.parameters.values()))


def gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gradients by name of the parameters that ``loss`` depends on; the graph is kept."""
    if not loss.requires_grad or not parameters:
        return {}
    found = torch.autograd.grad(
        loss, list(parameters.values()), retain_graph=True, allow_unused=True
    )
    return {name: g for name, g in zip(parameters, found) if g is not None}
