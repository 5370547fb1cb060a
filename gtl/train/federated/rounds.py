"""What a round of a federation came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Round:
    """What a round came to.

    Attributes:
        number: From 1 on.
        used: Clients whose replies were used.
        failures: Why others were not, by client.
        loss: Mean loss of the last local epoch, weighted by items.
        values: Validation metric and number of items, by client.
        up: Bytes from the clients, for training and statistics.
        down: Bytes to them.
        evaluation: Bytes both ways for validation.
        compression: Relative error of what was sent by the server, and the mean of the clients'.
        low_rank: Share of the averaged products that their factors lost.
    """

    number: int
    used: list[int] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    loss: float | None = None
    values: dict[int, tuple[float, int]] = field(default_factory=dict)
    up: int = 0
    down: int = 0
    evaluation: int = 0
    compression: dict[str, float] = field(default_factory=dict)
    low_rank: float | None = None

    @property
    def valid(self) -> float | None:
        """Mean of the validation metric, weighted by items; ``None`` without any."""
        total = sum(count for _, count in self.values.values())
        return sum(v * n for v, n in self.values.values()) / total if total else None
