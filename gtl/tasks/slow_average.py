"""Slow average of a module's weights, and passes through a module that leave no trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


class SlowAverage(nn.Module):
    """Slow average of the trained parameters of a module, in buffers named after them.

    It is the module itself, with other weights, that computes; frozen weights are shared. With
    a decay of 1 in every step it is a copy of the module as it was.

    A state that is loaded makes the buffers that it has, so that a trained task can be loaded
    before it has met the module.

    Args:
        statistics: Whether running statistics and other buffers of the module are kept as they
            were at the start, and used in eval mode. Otherwise a batch norm that follows its
            batches normalizes by the present one.
    """

    def __init__(self, statistics: bool = False):
        super().__init__()
        self.statistics = statistics

    def follow(self, module: nn.Module, decay: float) -> None:
        """Keep ``decay`` of each average and take the rest from the module; 0 starts afresh."""
        trained = {n: p.detach() for n, p in module.named_parameters() if p.requires_grad}
        if not decay:
            self._buffers.clear()
            kept = {n: b.detach() for n, b in module.named_buffers()} if self.statistics else {}
            for name, value in {**trained, **kept}.items():
                self.register_buffer(_key(name), value.clone())
            return
        for name, value in trained.items():
            self.get_buffer(_key(name)).lerp_(value, 1 - decay)

    @torch.no_grad()
    def restart(self, module: nn.Module) -> None:
        """Make every average, and what else is kept, equal to the module as it is."""
        present = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for key, kept in self.named_buffers():
            kept.copy_(present[key.replace("/", ".")])

    @torch.no_grad()
    def of(self, module: nn.Module, *inputs: Any) -> Tensor:
        """What the module gives with averaged parameters, without dropout; changes no state."""
        names = [n for n, p in module.named_parameters() if p.requires_grad]
        names += [n for n, _ in module.named_buffers()] if self.statistics else []
        return without_trace(module, *inputs, values=self.values(names), frozen=self.statistics)

    def values(self, names: list[str]) -> dict[str, Tensor]:
        """Averages of some parameters by name."""
        return {name: self.get_buffer(_key(name)) for name in names}

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for key, value in state_dict.items():
            name = key.removeprefix(prefix)
            if key.startswith(prefix) and name not in self._buffers:
                self.register_buffer(name, value.clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@torch.no_grad()
def without_trace(
    module: nn.Module,
    *inputs: Any,
    values: Mapping[str, Tensor] | None = None,
    frozen: bool = False,
) -> Tensor:
    """What a module gives, a constant; without dropout, and its state stays as it was.

    Args:
        module: The module.
        *inputs: Of its ``forward``.
        values: Parameters and buffers to use in place of its own, by name.
        frozen: Whether batch norms, too, are in eval mode.
    """
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with without_dropout(module, frozen):
        found: Tensor = functional_call(module, {**buffers, **(values or {})}, inputs)
    return found


@contextmanager
def without_dropout(module: nn.Module, frozen: bool) -> Iterator[None]:
    """Put everything (``frozen``), or everything but batch norms, in eval mode for a while."""
    modes = {part: part.training for part in module.modules()}
    for part in modes:
        if frozen or not isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.training = False
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _key(name: str) -> str:
    return name.replace(".", "/")  # names of buffers have no dots
