"""Mode of the encoder in fine-tuning: the head first, and batch norms that keep their statistics.

A new head gives random gradients, which distort what an encoder has learned; a head that was
trained on the frozen encoder before does not (linear probing, then fine-tuning, Kumar et al. 2022).
Statistics of batch norms that are estimated anew on few graphs are noisy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from gtl.errors import ConfigError
from gtl.suggest import nearest
from gtl.train.step import TaskModel

BATCH_NORM = ("train", "frozen")


@dataclass(frozen=True)
class EncoderMode:
    """What of the encoder is as it was, epoch by epoch.

    Attributes:
        head_first: Epochs at the beginning in which the encoder, adapters included, is frozen and
            in evaluation mode, and the heads of all tasks are trained.
        batch_norm: ``"train"``: batch norms of the encoder normalize by the batch, and their
            running statistics follow it; ``"frozen"``: they normalize by the running statistics,
            which stay as they are. Scale and shift are trained with both.

    Raises:
        ConfigError: If a setting is unknown or outside its range.
    """

    head_first: int = 0
    batch_norm: str = "train"

    def __post_init__(self) -> None:
        if not isinstance(self.head_first, int) or self.head_first < 0:
            raise ConfigError(
                f"`head_first` is {self.head_first!r}, expected a whole number of epochs, 0 or more"
            )
        if self.batch_norm not in BATCH_NORM:
            hint = nearest(str(self.batch_norm), BATCH_NORM)
            raise ConfigError(f"unknown `batch_norm` {self.batch_norm!r}; {hint}")

    @contextmanager
    def epoch(self, model: TaskModel, number: int) -> Iterator[None]:
        """Training mode for an epoch; what is frozen in it may move again afterwards.

        Args:
            model: Encoder and tasks.
            number: Number of the epoch, from 0 on.
        """
        model.train()
        encoder = model.encoder
        if number >= self.head_first:
            if self.batch_norm == "frozen":
                for norm in batch_norms(encoder):
                    norm.eval()
            yield
            return
        moving = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        encoder.eval()
        for parameter in moving:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in moving:
                parameter.requires_grad_(True)


def batch_norms(module: nn.Module) -> list[_BatchNorm]:
    """All batch norms in a module."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]
