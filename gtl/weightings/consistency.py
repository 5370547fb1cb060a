"""Gradient consistency: the cosine between the gradients of a target and an auxiliary task.

Du et al. 2018 (arXiv 1812.02224) introduced it; in Han et al. 2021 (AUX-TS) it is an input of the
weighting network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError, ShapeError


def gradient_consistency(
    target: Tensor, auxiliary: Sequence[Tensor], shared: Sequence[Tensor]
) -> Tensor:
    """Cosine between the target's gradient and each auxiliary one (Han et al. 2021, Eq. 4).

    Costs one backward pass a task; the graph is kept.

    Args:
        target: Mean loss of the target task, shape ``()``.
        auxiliary: Mean loss of each of ``t`` auxiliary tasks, each of shape ``()``.
        shared: Parameters that all tasks have in common.

    Returns:
        Cosines in ``[-1, 1]``, shape ``(t,)``, detached. A task that leaves the shared
        parameters alone has cosine ``0``.

    Raises:
        ValueError: If ``shared`` is empty.

    Example:
        >>> w = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> gradient_consistency(w[0], [w.sum(), -w[0], w[1]], [w])
        tensor([ 0.7071, -1.0000,  0.0000])
    """
    if not shared:
        raise ConfigError(
            "`shared` is empty: no parameter that tasks have in common is trained; unfreeze the "
            "encoder or attach an adapter"
        )
    pull = _gradient(target, shared)
    cosines = [_cosine(pull, _gradient(loss, shared)) for loss in auxiliary]
    return torch.stack(cosines) if cosines else target.new_zeros(0)


def shift_consistency(
    target: Tensor,
    auxiliary: Sequence[Tensor],
    nodes: Sequence[Tensor],
    total: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Cosine of the gradients with respect to one vector that is added to all node vectors.

    Views of different tasks have different nodes, so gradients with respect to single node vectors
    cannot be compared; those with respect to a vector ``s (h,)`` that is added to every node can.
    The gradient of ``s`` is the sum over nodes of the gradient with respect to the node vectors,
    which needs a backward pass through the task and none through the encoder.

    Args:
        target: Mean loss of the target task, shape ``()``.
        auxiliary: Mean loss of each of ``t`` auxiliary tasks, each of shape ``()``.
        nodes: Node vectors that the target and then each auxiliary task was given, ``(n_k, h)``.
        total: Sum over the processes among which nodes are divided, :meth:`gtl.roles.Step.total`;
            ``None`` where all nodes are here.

    Returns:
        Cosines in ``[-1, 1]``, shape ``(t,)``, detached; ``0`` for a task that does not depend
        on its node vectors.

    Raises:
        ShapeError: If there is not one set of node vectors for each loss.
    """
    if len(nodes) != len(auxiliary) + 1:
        raise ShapeError(
            f"`nodes` has {len(nodes)} entries, expected {len(auxiliary) + 1}: the target's, then "
            "one for each auxiliary loss"
        )
    pulls = [_shift(loss, given) for loss, given in zip([target, *auxiliary], nodes)]
    if total is not None:
        pulls = list(total(torch.stack(pulls)))
    cosines = [_cosine(pulls[:1], [pull]) for pull in pulls[1:]]
    return torch.stack(cosines) if cosines else target.new_zeros(0)


def cosine_of(a: Mapping[str, Tensor], b: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Cosine ``()`` between two gradients by name over ``names``; a missing one counts as zero."""
    return _cosine([a.get(name) for name in names], [b.get(name) for name in names])


def _gradient(loss: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not loss.requires_grad:
        return [None] * len(tensors)
    return torch.autograd.grad(loss, list(tensors), retain_graph=True, allow_unused=True)


def _shift(loss: Tensor, nodes: Tensor) -> Tensor:
    (gradient,) = _gradient(loss, [nodes]) if nodes.requires_grad else (None,)
    return (torch.zeros_like(nodes) if gradient is None else gradient).sum(0)  # (h,)


def _cosine(a: Sequence[Tensor | None], b: Sequence[Tensor | None]) -> Tensor:
    both = [(x.flatten(), y.flatten()) for x, y in zip(a, b) if x is not None and y is not None]
    lengths = _length(a), _length(b)
    if not both or not lengths[0] or not lengths[1]:
        some = next((x for x in [*a, *b] if x is not None), torch.zeros(()))
        return some.new_zeros(())
    dot = torch.stack([torch.dot(x, y) for x, y in both]).sum()
    # Divided one after the other: the product of two small lengths may underflow.
    return (dot / lengths[0] / lengths[1]).clamp(-1, 1)


def _length(a: Sequence[Tensor | None]) -> Tensor | float:
    lengths = [torch.linalg.vector_norm(x) for x in a if x is not None]
    return torch.linalg.vector_norm(torch.stack(lengths)) if lengths else 0.0
