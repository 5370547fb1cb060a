"""Adapter: a few trainable parameters in and around a frozen encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph.schema import Schema
from gtl.roles.recorded import Recorded


@dataclass(frozen=True)
class Site:
    """A module inside an encoder, around which an adapter can act.

    Attributes:
        path: Its name, as in ``named_modules``.
        module: The module itself. An adapter may store the path, never the module: modules of a
            frozen encoder are no parts of an adapter.
        inputs: Columns of the node vectors that it reads; 0 if it reads none.
        width: Columns of those that it returns.
    """

    path: str
    module: nn.Module
    inputs: int
    width: int


@dataclass(frozen=True)
class Sites:
    """Where adapters can act in an encoder.

    Attributes:
        embed: The input embedding; ``None`` for a module that is no :class:`Encoder`, where it is
            not known.
        blocks: Its layers, in order.
        norms: The normalizations inside each block, in order; a block may have none.
        width: Columns of the encoder's output.
        schema: What its graphs look like; ``None`` for a module that is no :class:`Encoder`.
    """

    embed: Site | None
    blocks: Sequence[Site]
    norms: Sequence[Sequence[Site]]
    width: int
    schema: Schema | None = None


class Adapter(Recorded, ABC, nn.Module):
    """A few trainable parameters in and around a frozen encoder.

    Options go to the constructor; parameters, whose sizes depend on the encoder, are made in
    :meth:`setup`, and so that an untrained adapter changes no output. Everything that it has as a
    parameter is trained.

    Attributes:
        width: Columns of the output, where :meth:`output` changes them; ``None`` where not.
        mergeable: Whether :meth:`merge` can write the adapter into the weights of the encoder;
            known after :meth:`setup`.
    """

    width: int | None = None
    mergeable: bool = False

    @abstractmethod
    def setup(self, sites: Sites) -> None:
        """Make the parameters for an encoder; called once, before anything else.

        Raises:
            ConfigError: If the encoder has no sites that this adapter could act at.
        """

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Functions to call in the place of modules of the encoder, by path.

        In the place of ``module(*inputs)`` stands ``wrap(call, *inputs)``. There ``call(*inputs)``
        is the module with the adapters that act before this one, and ``call.module`` the module
        (see :class:`gtl.adapters.module_views.Call`). A block of an :class:`Encoder` has the inputs
        ``graph, h``, its embedding ``graph``. The default wraps nothing.
        """
        return {}

    def output(self, layers: list[Tensor], out: Tensor) -> Tensor:
        """The encoder's output ``(n, width)``, given every layer and the output so far.

        The default returns ``out``.

        Args:
            layers: Outputs of the embedding (if it is known) and of each block.
            out: What the encoder returns.
        """
        return out

    def merge(self, sites: Sites) -> None:
        """Change the weights of the encoder so that it computes without the adapter the same.

        Raises:
            ConfigError: If the adapter is not linear.
        """
        raise ConfigError(
            f"a {type(self).__name__} adapter is not linear in the weights of this encoder and "
            "cannot be merged; keep it attached"
        )

    def findings(self) -> dict[str, Any]:
        """What a trained adapter reveals about the task, plain values by name; none by default."""
        return {}
