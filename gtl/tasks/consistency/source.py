"""The source encoder: frozen, the encoder as it was before training or another one."""

from __future__ import annotations

from torch import Tensor, nn

from gtl.errors import ConfigError, DataError
from gtl.graph import Graph, Schema
from gtl.roles import Encoder
from gtl.tasks.slow_average import SlowAverage, without_trace


class Source(nn.Module):
    """A frozen encoder in eval mode.

    By default it is the encoder of the training as it was at the start, of which only what is
    trained is kept twice.

    Args:
        given: Another encoder; it is saved with the task.
    """

    def __init__(self, given: Encoder | None = None):
        super().__init__()
        self.given = given
        if given is not None:
            for parameter in given.parameters():
                parameter.requires_grad_(False)
        self.start = SlowAverage(statistics=True)

    def require_fit(self, schema: Schema, width: int) -> None:
        """Refuse a source encoder that cannot be compared.

        Raises:
            ConfigError: If it was made for other features, or its vectors have another width.
        """
        if self.given is None:
            return
        try:
            self.given.schema.require(schema, "the source encoder")
        except DataError as error:
            raise ConfigError(f"{error}, or give a source encoder for this data") from error
        if self.given.width != width:
            raise ConfigError(
                f"the source encoder has node vectors of `width` {self.given.width}, the encoder "
                f"that is trained of {width}; features of one width can be compared: give a source "
                f"of width {width}, or let the training start from the source"
            )

    def begin(self, encoder: nn.Module) -> None:
        """Keep the encoder as it is now, unless another was given."""
        if self.given is None:
            self.start.follow(encoder, 0.0)

    def nodes(self, encoder: nn.Module, graph: Graph) -> Tensor:
        """Node vectors of the source, constant ``(n, h)``."""
        if self.given is None:
            return self.start.of(encoder, graph)
        return without_trace(self.given, graph, frozen=True)
