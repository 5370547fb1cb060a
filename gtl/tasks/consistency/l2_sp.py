"""Distance of the encoder's parameters from where the training started (Li et al. 2018, L2-SP)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Batch, Task, View
from gtl.tasks.slow_average import SlowAverage


class L2SP(Task):
    """Half the squared distance of the encoder's trained parameters from their initial values.

    It is one loss a step, ``(1,)``, and needs no data; its weight is the strength of the
    regularizer, 0.01 to 0.1 in the paper. Parameters of adapters count, those that are frozen not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.start = SlowAverage()
        self._encoder: tuple[nn.Module, ...] = ()

    def after_step(self, model: nn.Module, progress: float) -> None:
        """With progress 0 the encoder's parameters become those of the start."""
        encoder = model.encoder
        assert isinstance(encoder, nn.Module)
        self._encoder = (encoder,)
        if not progress:
            self.start.follow(encoder, 0.0)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph of the loop itself, which costs no encoder pass of its own.

        Raises:
            ConfigError: If the task does not know the encoder yet.
        """
        if not self._encoder:
            raise ConfigError(
                "the task `l2_sp` has no start yet; call `task.after_step(model, 0.0)` before the "
                "first step"
            )
        return View(batch.graph, {})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """The distance, ``(1,)``."""
        start = self.start.values()
        total = nodes.new_zeros(())
        for name, value in self._encoder[0].named_parameters():
            if name in start:
                total = total + (value - start[name]).square().sum()
        return 0.5 * total.reshape(1)
