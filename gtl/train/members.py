"""Training of an ensemble's members: the same run with other seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.roles import Task
from gtl.train.ensemble import Ensemble, member_folder
from gtl.train.evaluate import value_on
from gtl.train.footprint import footprint
from gtl.train.inference_cost import prediction_of
from gtl.train.model import Model

_SHOWN = ("seed", "valid", "test", "epoch", "selection")


class Members:
    """The members of an ensemble after the first, which is the run itself.

    Args:
        members: Members in all; 1 for no ensemble.
        train: Trains a member, a function of ``arguments``.
        arguments: Arguments of the run. Modules among them are copied now, before the first member
            trains them in place.

    Raises:
        ConfigError: If there is not a whole number of members from 1 on.
    """

    def __init__(self, members: int, train: Callable[..., Model], arguments: Mapping[str, Any]):
        if not isinstance(members, int) or isinstance(members, bool) or members < 1:
            raise ConfigError(f"`members` is {members!r}, expected a whole number from 1 on")
        self.count, self.train = members, train
        self.arguments = {**arguments, "members": 1}
        if members > 1:
            self.arguments = _copied(self.arguments)

    def ensemble(self, first: Model) -> Ensemble:
        """Train the others, and put all together."""
        seeds = member_seeds(self.arguments["seed"], self.count)[1:]
        return Ensemble([first, *(self._trained(i, seed) for i, seed in enumerate(seeds, 1))])

    def _trained(self, number: int, seed: int) -> Model:
        out = self.arguments["out"]
        own = {"seed": seed, "out": None if out is None else member_folder(out, number)}
        return self.train(**{**_copied(self.arguments), **own})


def member_seeds(seed: int, members: int) -> list[int]:
    """Seeds of members: the first has that of the run, more members keep those of fewer.

    Example:
        >>> member_seeds(7, 3)[:2] == member_seeds(7, 2), member_seeds(7, 1)
        (True, [7])
    """
    rng = torch.Generator().manual_seed(seed)
    drawn = [int(torch.randint(2**31, (), generator=rng)) for _ in range(members - 1)]
    return [seed, *drawn]


def ensemble_results(
    ensemble: Ensemble, dataset: Dataset, first: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``results.json`` holds of an ensemble.

    Args:
        ensemble: All members, trained.
        dataset: Their target.
        first: Results of the first member.
    """
    every = [first, *(member.results for member in ensemble.models[1:])]
    seconds = sum(results["footprint"]["seconds"] for results in every)
    return {
        "metric": first["metric"],
        "valid": value_on(ensemble, dataset, "valid"),
        "test": value_on(ensemble, dataset, "test"),
        "epoch": None,  # each member has its own
        "footprint": footprint(ensemble, seconds, predict=prediction_of(ensemble, dataset)),
        "members": [{k: found[k] for k in _SHOWN if k in found} for found in every],
    }


def _copied(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with copies of all modules; data sets are shared."""
    data = [arguments["dataset"]]
    parts = [part for value in arguments.values() for part in _parts(value)]
    data += [part.data for part in parts if isinstance(part, Task) and part.data is not None]
    shared = {id(source): source for source in data}
    return {
        name: copy.deepcopy(value, dict(shared)) if _parts(value) else value
        for name, value in arguments.items()
    }


def _parts(value: Any) -> list[nn.Module]:
    """Modules that an argument is or lists."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    return [part for part in listed if isinstance(part, nn.Module)]
