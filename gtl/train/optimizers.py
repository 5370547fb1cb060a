"""Optimizers by name, with learning rates and weight decays of single parts."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from gtl.adapters import Adapted
from gtl.adapters.freezing import is_frozen_by_adapter
from gtl.catalog import ADAPTERS
from gtl.errors import ConfigError, GtlWarning
from gtl.train.step import TaskModel

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
_FUSED = ("cpu", "cuda", "mps")  # devices on which torch has such optimizers
FIRST = "first"  # the layer of the encoder that reads the features


def build_optimizer(
    model: TaskModel,
    name: str,
    lr: float,
    weight_decay: float | Mapping[str, float],
    rates: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that may move.

    Args:
        model: Encoder and tasks.
        name: A key of :data:`OPTIMIZERS`.
        lr: Learning rate.
        weight_decay: Weight decay of everything, or of some parts, by the names of
            :func:`parts_of` or :data:`FIRST`, the encoder's first layer; other parts have none.
        rates: Learning rates of some parts, by the names of :func:`parts_of`.

    Raises:
        ConfigError: If the name is unknown, a rate or a weight decay is for no part or outside its
            range, or nothing may move.
    """
    check_optimizer(name)
    warn_if_frozen(model.encoder)
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConfigError("no parameter may move; unfreeze some or attach an adapter")
    extra: dict[str, Any] = {"momentum": 0.9} if name == "sgd" else {}
    # One pass over the memory of each parameter, in place of a dozen: a tenth of a step.
    extra["fused"] = all(parameter.device.type in _FUSED for parameter in trained)
    decay = 0.0 if isinstance(weight_decay, Mapping) else weight_decay
    if not decay >= 0:
        raise ConfigError(f"`weight_decay` is {decay}, expected 0 or more")
    groups: Any = trained
    if rates or isinstance(weight_decay, Mapping):
        groups = _groups(model, lr, rates or {}, weight_decay)
    built: torch.optim.Optimizer = OPTIMIZERS[name](groups, lr=lr, weight_decay=decay, **extra)
    return built


def check_optimizer(name: str) -> None:
    """Refuse what is no key of :data:`OPTIMIZERS`.

    Raises:
        ConfigError: If it is something else.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"unknown optimizer {name!r}; known: {', '.join(OPTIMIZERS)}")


def warn_if_frozen(encoder: nn.Module) -> None:
    """Warn of an encoder that is frozen for an adapter which is no part of this training."""
    if is_frozen_by_adapter(encoder):
        warnings.warn(
            "the encoder was frozen when an adapter was attached to it, and stays so here; call "
            "gtl.adapters.detach on the adapted one before, or give a copy made before",
            GtlWarning,
            stacklevel=3,
        )


def parts_of(model: TaskModel) -> dict[str, str]:
    """Parts by the beginning of their parameters' names; one inside another comes first.

    Parts are the adapters in use and the auxiliary tasks by name, ``head`` (with its readout) and
    ``encoder``.
    """
    parts = {}
    if isinstance(model.encoder, Adapted):
        for i, part in enumerate(model.encoder.parts()):
            parts[f"encoder.adapters.{model.encoder.active_adapter}.{i}."] = ADAPTERS.name_of(part)
    parts["encoder."] = "encoder"
    for name, _ in model.named_tasks():
        parts[f"tasks.{name}."] = "head" if name == "supervised" else name
    return parts


def first_layer(encoder: nn.Module) -> str:
    """Beginning of the names of the parameters of the layer that reads the features.

    That is the input embedding or, if it has no parameters, the first block.
    """
    embed = getattr(encoder, "embed", None)
    learned = embed is not None and any(True for _ in embed.parameters())
    return "embed." if learned else "blocks.0."


def _groups(
    model: TaskModel,
    lr: float,
    rates: Mapping[str, float],
    weight_decay: float | Mapping[str, float],
) -> list[dict[str, Any]]:
    """The parameters that may move, in groups of one learning rate and weight decay each."""
    parts = parts_of(model)
    decays = weight_decay if isinstance(weight_decay, Mapping) else {}
    rest = 0.0 if isinstance(weight_decay, Mapping) else weight_decay
    _check_parts("rates", rates, parts.values())
    _check_parts("weight_decay", decays, [*parts.values(), FIRST])
    for name, rate in rates.items():
        if not rate > 0:
            raise ConfigError(f"the rate of {name!r} is {rate}, expected a positive number")
    for name, decay in decays.items():
        if not decay >= 0:
            raise ConfigError(f"the weight decay of {name!r} is {decay}, expected 0 or more")
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    first = f"encoder.{first_layer(model.encoder)}"
    moving = {FIRST}  # a frozen first layer has nothing to decay, which is no mistake
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next(part for start, part in parts.items() if name.startswith(start))
            decay = decays.get(part, rest)
            if name.startswith(first):
                decay = decays.get(FIRST, decay)
            groups[rates.get(part, lr), decay].append(parameter)
            moving.add(part)
    for option, given in (("rates", rates), ("weight_decay", decays)):
        for name in given:
            if name not in moving:
                raise ConfigError(
                    f"`{option}` names {name!r}, of which nothing may move; leave it out"
                )
    return [
        {"params": group, "lr": rate, "weight_decay": decay}
        for (rate, decay), group in groups.items()
    ]


def _check_parts(option: str, given: Mapping[str, float], parts: Iterable[str]) -> None:
    known = list(dict.fromkeys(parts))
    for name in given:
        if name not in known:
            raise ConfigError(
                f"`{option}` names {name!r}, which is no part of this training; parts: "
                f"{', '.join(known)}"
            )
