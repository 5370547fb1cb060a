"""The bottleneck map that several adapters are made of: down, a non-linearity, and up again.

Its last map starts at zero, so that an untrained adapter adds nothing.
"""

from __future__ import annotations

from torch import Tensor, nn

from gtl.errors import ConfigError

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "none": nn.Identity}
NORMS = ("before", "after", None)
# Of the width: 2 w (w / 8) = w^2 / 4 weights, a quarter of those of one square matrix of the layer.
_REDUCTION = 8


class BottleneckMap(nn.Module):
    """``up(act(down(norm(h))))`` with ``up`` at zero.

    Args:
        inputs: Columns of the input.
        width: Columns of the output.
        hidden: Columns between; ``None`` means an eighth of ``width``.
        activation: ``"relu"``, ``"gelu"`` or ``"none"``.
        norm: Where a layer norm is: ``"before"``, ``"after"`` or ``None``.
        dropout: Probability of dropping a value between the maps.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        hidden: int | None,
        activation: str,
        norm: str | None,
        dropout: float = 0.0,
    ):
        super().__init__()
        hidden = default_hidden(width) if hidden is None else hidden
        self.before = nn.LayerNorm(inputs) if norm == "before" else nn.Identity()
        self.down = nn.Linear(inputs, hidden)
        self.activation = nn.Sequential(ACTIVATIONS[activation](), nn.Dropout(dropout))
        self.up = nn.Linear(hidden, width)
        self.after = nn.LayerNorm(width) if norm == "after" else nn.Identity()
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        """What is added, ``(..., width)``, of ``(..., inputs)``."""
        return self.after(self.up(self.activation(self.down(self.before(h)))))


def default_hidden(width: int) -> int:
    """Columns of a bottleneck by default: an eighth of the width, and at least one."""
    return max(width // _REDUCTION, 1)


def check_bottleneck(hidden: int | None, activation: str, dropout: float = 0.0) -> None:
    """Refuse options of a bottleneck that are outside their range.

    Raises:
        ConfigError: Naming the first.
    """
    if hidden is not None and hidden < 1:
        raise ConfigError(
            f"`hidden` is {hidden}, expected at least 1, or None for an eighth of the width"
        )
    if activation not in ACTIVATIONS:
        raise ConfigError(f"`activation` is {activation!r}, expected one of {tuple(ACTIVATIONS)}")
    if not 0 <= dropout < 1:
        raise ConfigError(f"`dropout` is {dropout}, expected at least 0 and below 1")
