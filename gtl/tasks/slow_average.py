"""Slow averages of the parameters of a module, and what it gives with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class SlowAverage(nn.Module):
    """Slow average of the trained parameters of a module, in buffers named after them.

    A state that is loaded makes the buffers that it has, so that a trained task can be loaded
    before it has met an encoder.
    """

    def follow(self, module: nn.Module, decay: float) -> None:
        """Keep ``decay`` of each average and take the rest from the module; 0 starts anew."""
        trained = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
        if not decay:
            self._buffers.clear()
            for name, value in trained.items():
                self.register_buffer(_key(name), value.clone())
            return
        for name, value in trained.items():
            self.get_buffer(_key(name)).lerp_(value, 1 - decay)

    def values(self) -> dict[str, Tensor]:
        """Averages by the name of the parameter."""
        return {_name(key): value for key, value in self.named_buffers()}

    def outputs(self, module: nn.Module, *args: Any) -> Tensor:
        """What the module gives with averaged parameters, without dropout and gradient."""
        names = {n for n, p in module.named_parameters() if p.requires_grad}
        return constant_outputs(module, {n: self.get_buffer(_key(n)) for n in names}, *args)

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name not in self._buffers:
                self.register_buffer(name, value.clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _key(name: str) -> str:
    return name.replace(".", "/")  # names of buffers have no dots


def _name(key: str) -> str:
    return key.replace("/", ".")


@torch.no_grad()
def constant_outputs(module: nn.Module, parameters: Mapping[str, Tensor], *args: Any) -> Tensor:
    """What a module gives at other parameters, without dropout and gradient.

    A batch norm that follows its batches normalizes by this one; its statistics stay.

    Args:
        module: The module; it does not change.
        parameters: Values by name; those that are not named stay as they are.
        *args: Its arguments.
    """
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with _without_dropout(module):
        outputs: Tensor = functional_call(module, {**buffers, **parameters}, args)
    return outputs


@contextmanager
def _without_dropout(encoder: nn.Module) -> Iterator[None]:
    """Put everything but batch norms in eval mode for a while."""
    modes = {module: module.training for module in encoder.modules()}
    for module in modes:
        if not isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.training = False
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
