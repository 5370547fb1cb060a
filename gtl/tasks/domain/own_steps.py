"""Module that takes steps of its own with Adam; weights and moments are buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gtl.tasks.checks import require_positive

BETAS, TINY = (0.9, 0.999), 1e-8


class OwnSteps(nn.Module):
    """A module that is no part of the loop's optimizer and is trained by :meth:`step`.

    For the loop its weights are constants. They, the moments of Adam (Kingma and Ba 2015) and the
    number of steps are buffers: a checkpoint has them, ``.to(device)`` moves them, and a replay of
    a step of the loop leaves them as they are.

    Args:
        module: What is trained; without buffers of its own.
        lr: Learning rate.

    Raises:
        ConfigError: If ``lr`` is not above 0.
    """

    count: Tensor

    def __init__(self, module: nn.Module, lr: float):
        super().__init__()
        self.lr = require_positive("lr", lr)
        # In a tuple, so that its parameters are no parameters of this module.
        self._form = (module,)
        self.names = [name for name, _ in module.named_parameters()]
        for name, parameter in module.named_parameters():
            value = parameter.detach().clone()
            self.register_buffer(_key(name), value)
            for moment in ("first", "second"):
                self.register_buffer(f"{moment}:{_key(name)}", torch.zeros_like(value))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, *inputs: Any) -> Any:
        """What the module gives."""
        return self.at(self.weights())(*inputs)

    def weights(self) -> dict[str, Tensor]:
        """Present weights by name."""
        return {name: self.get_buffer(_key(name)) for name in self.names}

    def at(self, weights: dict[str, Tensor]) -> Callable[..., Any]:
        """The module at other weights, by name."""
        return lambda *inputs: functional_call(self._form[0], weights, inputs)

    def step(self, loss: Callable[[Callable[..., Any]], Tensor]) -> Tensor:
        """Take a step and give the loss before it, ``()``.

        Args:
            loss: From the module, as a function of its inputs, to what is minimized, ``()``.
        """
        with torch.enable_grad():
            leaves = {name: w.detach().requires_grad_() for name, w in self.weights().items()}
            value = loss(self.at(leaves))
            found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
        pairs = zip(leaves.values(), found)
        self._move([torch.zeros_like(w) if g is None else g for w, g in pairs])
        return value.detach()

    @torch.no_grad()
    def _move(self, gradients: list[Tensor]) -> None:
        self.count += 1
        done = int(self.count)
        scale = [1 - beta**done for beta in BETAS]
        for (weight, first, second), gradient in zip(self._state(), gradients):
            first.lerp_(gradient, 1 - BETAS[0])
            second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
            spread = (second / scale[1]).sqrt_().add_(TINY)
            weight.addcdiv_(first, spread, value=-self.lr / scale[0])

    def _state(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for key in map(_key, self.names):
            first, second = (self.get_buffer(f"{name}:{key}") for name in ("first", "second"))
            yield self.get_buffer(key), first, second


def _key(name: str) -> str:
    return name.replace(".", "/")  # names of buffers have no dots
