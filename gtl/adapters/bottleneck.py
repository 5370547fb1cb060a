"""The E-adapter: a small trained map after each layer of a frozen encoder.

Otake et al. 2023, "Parameter efficient transfer learning for various speech processing tasks"; the
adapter itself is that of Houlsby et al. 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor, nn

from gtl.adapters.bottleneck_map import NORMS, BottleneckMap, check_bottleneck
from gtl.errors import ConfigError
from gtl.roles import Adapter, Choice, Sites


class Bottleneck(Adapter):
    """A bottleneck after each block, ``h + up(act(down(norm(h))))``, with ``up`` zero at first.

    The published adapter has its layer norm at the end and starts ``up`` near zero. But a layer
    norm scales every input to unit variance: a branch that is nearly zero stays small only because
    of the ``eps`` of the norm, and the first steps change the output as much as those of a large
    branch. So here the norm comes first; ``norm="after"`` is the published place.

    Args:
        hidden: Columns of the bottleneck; ``None`` means an eighth of those of the block.
        activation: ``"relu"``, ``"gelu"`` or ``"none"``.
        norm: ``"before"``, ``"after"`` or ``None``.
        dropout: Probability of dropping a value inside the bottleneck.

    Raises:
        ConfigError: If an option is outside its range.
    """

    search_space = {"hidden": Choice((4, 8, 16, 32, 64))}

    def __init__(
        self,
        hidden: int | None = None,
        activation: str = "relu",
        norm: str | None = "before",
        dropout: float = 0.0,
    ):
        super().__init__()
        check_bottleneck(hidden, activation, dropout)
        if norm not in NORMS:
            raise ConfigError(f"`norm` is {norm!r}, expected one of {NORMS}")
        self.options = (hidden, activation, norm, dropout)

    def setup(self, sites: Sites) -> None:
        """Make a bottleneck for each block."""
        self.paths = [block.path for block in sites.blocks]
        self.maps = nn.ModuleList(
            BottleneckMap(block.width, block.width, *self.options) for block in sites.blocks
        )

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Add to the output of each block."""
        return {path: partial(self._add, i) for i, path in enumerate(self.paths)}

    def _add(self, i: int, call: Callable[..., Tensor], *inputs: object) -> Tensor:
        h = call(*inputs)
        return h + self.maps[i](h)
