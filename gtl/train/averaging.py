"""Average of the weights over the last epochs (Polyak & Juditsky 1992; Izmailov et al. 2018).

With few labels the weights of single steps scatter around better ones; their average is validated
and saved. An exponential average needs no epoch to begin at, so it goes with early stopping.
``torch.optim.swa_utils`` would copy the whole model with the data of its tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.adapted import frozen_names
from gtl.checks import check_positive
from gtl.train.encoder_mode import batch_norms


class WeightAverage:
    """Exponential moving average of what a model trains, and of its batch-norm statistics.

    The newest weights have the share ``1 - exp(-1 / steps)``, where ``steps`` are those of
    ``epochs`` epochs, but at least ``1 / k`` in step ``k``: the average is a plain mean at first,
    and forgets where the training began.

    Args:
        model: Its parameters that require a gradient are averaged.
        epochs: Time constant in epochs, above 0.
        steps_per_epoch: Steps of an epoch.
    """

    def __init__(self, model: nn.Module, epochs: float, steps_per_epoch: int):
        check_positive(average=epochs)
        self.share = -math.expm1(-1 / (epochs * steps_per_epoch))
        self.steps = 0
        self._live = _averaged(model)
        self._values = {name: value.detach().clone() for name, value in self._live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average; called after each step."""
        self.steps += 1
        share = max(self.share, 1 / self.steps)
        for name, value in self._values.items():
            value.lerp_(self._live[name].to(value.device), share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        trained = {name: value.detach().clone() for name, value in self._live.items()}
        self._load(self._values)
        try:
            yield
        finally:
            self._load(trained)

    def state_dict(self) -> dict[str, Any]:
        """The average, for a checkpoint."""
        return {"steps": self.steps, "values": self._values}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self.steps = state["steps"]
        self._values = {
            name: state["values"][name].to(value.device) for name, value in self._values.items()
        }

    @torch.no_grad()
    def _load(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self._live.items():
            value.copy_(values[name])


def _averaged(model: nn.Module) -> dict[str, Tensor]:
    """Parameters that may move, and the running statistics that go with them, by name.

    Statistics of a frozen encoder do not move, and writing them would void its cached vectors.
    """
    found: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    frozen = frozen_names(model)
    fixed = {id(buffer) for name, buffer in model.named_buffers() if name in frozen}
    for i, norm in enumerate(batch_norms(model)):
        for name, buffer in norm.named_buffers():
            if buffer.is_floating_point() and id(buffer) not in fixed:
                found[f"norm {i} {name}"] = buffer
    return found
