"""Settings of a federation: who takes part, what travels, and how it is combined."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gtl.checks import check_not_negative, check_positive
from gtl.errors import ConfigError, UnknownPartError
from gtl.suggest import nearest

COMPRESSIONS = ("float16", "int8")
LOW_RANK = ("freeze", "product", "factors")
BATCH_NORM = ("average", "frozen", "local")
HEADS = ("average", "statistics", "local")
# Options of Flower's strategies that are chosen here; sampling and records are set by the plan.
STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "fedavg": {},
    "fedavgm": {"server_learning_rate": 1.0, "server_momentum": 0.9},
    "fedadam": {"eta": 1e-2, "beta_1": 0.9, "beta_2": 0.99, "tau": 1e-3},
    "fedprox": {"proximal_mu": 0.01},
}
_SHARES = ("server_momentum", "beta_1", "beta_2")
STEPPING = ("fedavgm", "fedadam")  # their server takes steps of its own, not the mean
CLASSES = {"fedavg": "FedAvg", "fedavgm": "FedAvgM", "fedadam": "FedAdam", "fedprox": "FedProx"}


@dataclass(frozen=True)
class Plan:
    """Settings of a federation.

    Attributes:
        clients: Number of clients.
        rounds: Rounds.
        strategy: ``name`` and options, a key of :data:`STRATEGIES`.
        fraction: Share of the clients that take part in a round, rounded up.
        drop_out: Chance that a client which takes part is lost before it replies; in one process.
        minimum: Replies that a round needs; with fewer the global model stays as it is.
        compress: How what travels is written, one of :data:`COMPRESSIONS`, or ``None``.
        low_rank: What becomes of factors of low rank, one of :data:`LOW_RANK`.
        batch_norm: What becomes of batch norms of an encoder that is trained, one of
            :data:`BATCH_NORM`.
        share_head: What of the head travels, one of :data:`HEADS`.
        seed: Of everything random.

    Raises:
        ConfigError: If a setting is outside its range, or two do not go together.
    """

    clients: int
    rounds: int = 50
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"name": "fedavg"})
    fraction: float = 1.0
    drop_out: float = 0.0
    minimum: int = 1
    compress: str | None = None
    low_rank: str = "freeze"
    batch_norm: str = "average"
    share_head: str = "average"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clients", "rounds", "minimum"):
            check_positive(**{name: getattr(self, name)})
            if getattr(self, name) != int(getattr(self, name)):
                raise ConfigError(f"`{name}` is {getattr(self, name)}, expected a whole number")
        object.__setattr__(self, "strategy", strategy_of(self.strategy))
        for name, known in (
            ("low_rank", LOW_RANK),
            ("batch_norm", BATCH_NORM),
            ("share_head", HEADS),
            ("compress", (None, *COMPRESSIONS)),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"`{name}` is {getattr(self, name)!r}, expected one of {known}")
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"`fraction` is {self.fraction}, expected a share above 0, up to 1")
        if not 0 <= self.drop_out < 1:
            raise ConfigError(
                f"`drop_out` is {self.drop_out}, expected a chance from 0 up to, not including, 1"
            )
        if self.minimum > self.sampled:
            raise ConfigError(
                f"`minimum` is {self.minimum}, but only {self.sampled} of {self.clients} clients "
                "take part in a round; lower it, or raise `fraction`"
            )
        name = self.strategy["name"]
        if self.low_rank == "product" and name in STEPPING:
            raise ConfigError(
                f"low_rank='product' averages what pairs of factors amount to, and {name} follows "
                "each factor from round to round, which has no meaning there; use 'freeze', or "
                "strategy='fedavg'"
            )

    @property
    def sampled(self) -> int:
        """Clients that take part in a round."""
        return max(1, math.ceil(self.fraction * self.clients - 1e-9))

    def to_json(self) -> dict[str, Any]:
        """All settings by name, but for the seed."""
        settings = {**asdict(self), "strategy": dict(self.strategy)}
        del settings["seed"]
        return settings


def strategy_of(given: Any) -> dict[str, Any]:
    """Name and all options of a strategy.

    Raises:
        ConfigError: If it is neither a name nor a mapping.
        UnknownPartError: If the name or an option is unknown.

    Example:
        >>> strategy_of("fedprox")
        {'name': 'fedprox', 'proximal_mu': 0.01}
    """
    if not isinstance(given, (str, Mapping)):
        raise ConfigError(f"`strategy` is {given!r}, expected a name, or a mapping with `name`")
    options = {"name": given} if isinstance(given, str) else dict(given)
    name = options.pop("name", None)
    if name not in STRATEGIES:
        raise UnknownPartError(f"unknown strategy {name!r}; {nearest(str(name), STRATEGIES)}")
    known = STRATEGIES[name]
    for option in options:
        if option not in known:
            raise UnknownPartError(
                f"the strategy {name} has no option {option!r}; {nearest(option, known)}"
                if known
                else f"the strategy {name} has no options, {option!r} was given; leave it out"
            )
    for option, value in options.items():
        _check_option(option, value)
    return {"name": name, **known, **options}


def _check_option(name: str, value: Any) -> None:
    """Refuse an option of a strategy that is no number, or outside of its range."""
    check = check_not_negative if name in (*_SHARES, "proximal_mu") else check_positive
    check(**{name: value})
    if name in _SHARES and value >= 1:
        raise ConfigError(f"`{name}` is {value}, expected a share from 0 up to, not including, 1")
