"""Optimizers by name, and learning rates of single parts."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from gtl.adapters import Adapted
from gtl.adapters.freezing import is_frozen_by_adapter
from gtl.catalog import ADAPTERS
from gtl.errors import ConfigError, GtlWarning
from gtl.train.step import TaskModel

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def build_optimizer(
    model: TaskModel,
    name: str,
    lr: float,
    weight_decay: float,
    rates: Mapping[str, float] | None = None,
) -> torch.optim.Optimizer:
    """An optimizer of the parameters that may move.

    Args:
        model: Encoder and tasks.
        name: A key of :data:`OPTIMIZERS`.
        lr: Learning rate.
        weight_decay: Weight decay.
        rates: Learning rates of some parts, by the names of :func:`parts_of`.

    Raises:
        ConfigError: If the name is unknown, a rate is for no part, or nothing may move.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"unknown optimizer {name!r}; known: {', '.join(OPTIMIZERS)}")
    warn_if_frozen(model.encoder)
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise ConfigError("no parameter may move; unfreeze some or attach an adapter")
    extra = {"momentum": 0.9} if name == "sgd" else {}
    groups: Any = trained if not rates else _by_rate(model, lr, rates)
    return OPTIMIZERS[name](groups, lr=lr, weight_decay=weight_decay, **extra)


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


def _by_rate(model: TaskModel, lr: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """The parameters that may move, in groups of one learning rate each."""
    parts, groups, moving = parts_of(model), defaultdict(list), set()
    for name, rate in rates.items():
        if name not in parts.values():
            raise ConfigError(
                f"`rates` names {name!r}, which is no part of this training; parts: "
                f"{', '.join(dict.fromkeys(parts.values()))}"
            )
        if not rate > 0:
            raise ConfigError(f"the rate of {name!r} is {rate}, expected a positive number")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = next(part for start, part in parts.items() if name.startswith(start))
            groups[rates.get(part, lr)].append(parameter)
            moving.add(part)
    for name in rates:
        if name not in moving:
            raise ConfigError(f"`rates` names {name!r}, of which nothing may move; leave it out")
    return [{"params": group, "lr": rate} for rate, group in groups.items()]
