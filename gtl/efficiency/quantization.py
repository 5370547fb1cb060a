"""Weights of a model as integers of 8 bits, and what that changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.int8 import Int8
from gtl.train.model import TARGET, Model

State = dict[str, Tensor | Int8]


def quantized(model: Model) -> tuple[Model, State]:
    """A copy of a model with rounded weights, and its state with the integers.

    Every parameter of two dimensions or more becomes 8-bit integers and a scale for each row; those
    that would not be smaller, one-dimensional ones and running statistics stay as they are. A
    prediction computes with the restored weights: it is not faster, the stored model is smaller.

    Args:
        model: Stays as it is.

    Returns:
        The copy, and its state by the names of a run folder.

    Raises:
        ConfigError: If a weight is not finite.
    """
    done = copy.deepcopy(model)
    state: State = {}
    shared: dict[int, Int8] = {}
    parameters = dict(named_state(done, parameters=True))
    for name, value in named_state(done):
        weight = parameters.get(name)
        if weight is None or not Int8.pays(weight):
            state[name] = value
            continue
        if id(weight) not in shared:
            shared[id(weight)] = _rounded(weight, name)
        state[name] = shared[id(weight)]
    return done, state


def named_state(model: Model, parameters: bool = False) -> list[tuple[str, Tensor]]:
    """Tensors of a model by the names that a run folder has for them.

    Args:
        model: The model.
        parameters: Parameters alone, instead of all that is stored.
    """
    parts: dict[str, nn.Module] = {"encoder.": model.encoder, f"tasks.{TARGET}.": model.target}
    found: list[tuple[str, Tensor]] = []
    for prefix, part in parts.items():
        named: Any = part.named_parameters(remove_duplicate=False)
        named = named if parameters else part.state_dict().items()
        found += [(prefix + name, value) for name, value in named]
    return found


def state_size(state: Mapping[str, Tensor | Int8]) -> int:
    """Bytes of a state."""
    return sum(value.nbytes for value in state.values())


def weight_error(model: Model, other: Model) -> dict[str, float]:
    """How far the matrices of one model are from those of another of the same shapes.

    Returns:
        ``relative``, the norm of all differences over the norm of all weights; ``largest``, the
        largest difference over the largest weight of its row.
    """
    squares = total = largest = 0.0
    theirs = dict(named_state(other, parameters=True))
    for name, weight in named_state(model, parameters=True):
        if Int8.pays(weight):
            change = (weight - theirs[name]).detach().double()
            squares += float(change.square().sum())
            total += float(weight.detach().double().square().sum())
            top = weight.detach().abs().amax(-1, keepdim=True).clamp(min=1e-30)
            largest = max(largest, float((change.abs() / top).max()))
    return {"relative": (squares / max(total, 1e-300)) ** 0.5, "largest": largest}


@torch.no_grad()
def _rounded(weight: Tensor, name: str) -> Int8:
    try:
        found = Int8.of(weight)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    weight.copy_(found.restored())
    return found
