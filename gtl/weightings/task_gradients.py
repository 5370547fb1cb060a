"""Gradients of single tasks, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gtl.errors import ConfigError
from gtl.roles import Step
from gtl.weightings.gradients import gradients


def task_gradients(step: Step, losses: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Gradient of each task's mean loss, by task and parameter name: one backward pass a task.

    Args:
        step: The step; its graph is kept.
        losses: Losses ``(b_k,)`` of the tasks that have samples.

    Raises:
        ConfigError: If the tasks have no parameter in common.
    """
    require_shared(step)
    return {name: gradients(values.mean(), step.parameters) for name, values in losses.items()}


def require_shared(step: Step) -> None:
    """Check that some parameter that tasks have in common is trained.

    Raises:
        ConfigError: If there is none.
    """
    if not step.shared:
        raise ConfigError(
            "`step.shared` is empty: no parameter that tasks have in common is trained; unfreeze "
            "the encoder, attach an adapter, or use a weighting that compares no gradients "
            "('equal', 'uncertainty', 'dwa')"
        )


def set_combination(
    step: Step,
    pulls: Mapping[str, Mapping[str, Tensor]],
    weight: Callable[[str, str], float],
) -> None:
    """Make ``.grad`` the weighted sum of the gradients of the tasks.

    Args:
        step: The step.
        pulls: Gradients by task and parameter name.
        weight: ``weight(task, parameter)`` for parameters that tasks share. A task's own
            parameters get its gradient unchanged: they do not change the losses of others.
    """
    shared = set(step.shared)
    for name, parameter in step.parameters.items():
        terms = [
            pull[name] * weight(task, name) if name in shared else pull[name]
            for task, pull in pulls.items()
            if name in pull
        ]
        parameter.grad = torch.stack(terms).sum(0) if terms else None


def mean_values(losses: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean loss of each task as a number, with one transfer from the device."""
    if not losses:
        return {}
    means = torch.stack([values.detach().mean().double() for values in losses.values()])
    return dict(zip(losses, means.tolist()))
