"""Trainings side by side: what no single step can judge is left to the validation data.

A look-ahead weighs an auxiliary gradient g by -eta <g, grad L_meta>, the fall of the target's loss
one step later. But the target trains on: near the path, later steps of size eta shrink a
displacement along a direction of curvature a by (1 - eta a) each. What g did where the target's own
loss bends is soon overwritten; what lasts lies where it is flat, and there grad L_meta, which comes
from data like the training data, is small as well. So one step ranks tasks, whose gradients it
sees alike, but undervalues all of them against the target's own (the short-horizon bias of Wu et
al. 2018), and no number of such steps says how much of them a whole training needs, or whether it
needs any.

Whole trainings say it: several masses, and a twin that trains on the target alone, start from the
same weights, and half way the worse half is given up (successive halving, Jamieson & Talwalkar
2016). Branches that validation data compare, the target alone among them, are the idea of Jiang et
al. 2023 (ForkMerge); theirs are merged and forked anew.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gtl import checkpoint
from gtl.adapters import Adapted
from gtl.catalog import WEIGHTINGS
from gtl.metrics import is_better
from gtl.roles import Weighting
from gtl.train.loop import Training, progress
from gtl.train.step import TaskModel

ALONE = "target only"
HALF_WAY = 0.5


@dataclass(frozen=True)
class Chance:
    """Where all random numbers stand, so that another training can start from the same place.

    Attributes:
        everywhere: State of torch's global generators.
        own: State of the run's generator.
    """

    everywhere: Mapping[str, Tensor]
    own: Tensor

    @staticmethod
    def now(rng: torch.Generator) -> Chance:
        """The present state."""
        return Chance(checkpoint.random_state(), rng.get_state())

    def again(self) -> torch.Generator:
        """Set torch's global generators back; returns a generator like the run's."""
        checkpoint.set_random_state(self.everywhere)
        rng = torch.Generator()
        rng.set_state(self.own)
        return rng


@dataclass
class Entrant:
    """One way to train the same model.

    Attributes:
        name: What sets it apart.
        training: Its training.
    """

    name: str
    training: Training

    def best_of(self, epochs: int) -> float | None:
        """Best validation value of the first ``epochs`` epochs; ``None`` without validation."""
        best = None
        for line in self.training.history.epochs[:epochs]:
            if is_better(line["valid"], best, self.training.job.data.metric):
                best = line["valid"]
        return best


def race(entrants: Sequence[Entrant], epochs: int, title: str) -> list[Entrant]:
    """Train all, give up the worse half after half the epochs, and name the best.

    The twin on the target alone (:data:`ALONE`) always goes to the end: it costs least, and the
    question whether auxiliary tasks help at all deserves the whole answer. Whatever was trained
    before is not trained again, so an interrupted race goes on where it stopped.

    Args:
        entrants: Ways to train; among equals an earlier one is preferred.
        epochs: Epochs of a whole training.
        title: For the progress bar.

    Returns:
        All entrants, the one with the best validation value first; those given up come last.
    """
    rung = max(1, int(HALF_WAY * epochs))
    helped = [entrant for entrant in entrants if entrant.name != ALONE]
    alone = [entrant for entrant in entrants if entrant.name == ALONE]
    kept = len(helped) - len(helped) // 2
    length = rung * (len(helped) - kept) + epochs * (kept + len(alone))
    done = sum(entrant.training.epoch for entrant in entrants)
    with progress(title, length, min(done, length)) as bar:
        if kept < len(helped):
            for entrant in helped:
                entrant.training.advance(rung, bar)
            helped = ranked(helped, rung)
        finalists = [*helped[:kept], *alone]
        for entrant in finalists:
            entrant.training.advance(epochs, bar)
    return [*ranked(finalists, epochs), *helped[kept:]]


def ways_of(weightings: Sequence[Weighting], choose: bool, alone: bool) -> dict[str, Weighting]:
    """Weightings to train side by side, by title.

    Args:
        weightings: What was asked for; each stands for its choices, if it has any.
        choose: Whether there are validation data to choose by; if not, only the first is trained.
        alone: Whether the target alone is trained too.
    """
    every = [choice for how in weightings for choice in (how.choices or [how])]
    ways: dict[str, Weighting] = {}
    for how in every if choose else every[:1]:
        ways[_title(how, ways)] = how
    if choose and alone:
        ways[ALONE] = WEIGHTINGS.build("equal")
    return ways


def _title(how: Weighting, taken: Container[str]) -> str:
    options = WEIGHTINGS.spec(how)
    name = options.pop("name")
    inside = ", ".join(f"{key}={value}" for key, value in options.items())
    title = base = f"{name} ({inside})" if inside else name
    count = 1
    while title in taken:
        count += 1
        title = f"{base} {count}"
    return title


def same_again(model: TaskModel, tasks: Iterable[str]) -> TaskModel:
    """A copy of the encoder and of some tasks; data sets and frozen encoders are shared."""
    shared: dict[int, Any] = {id(task.data): task.data for _, task in model.named_tasks()}
    for module in model.modules():
        if isinstance(module, Adapted):
            shared |= {id(part): part for part in module.shareable()}
    part = TaskModel(model.encoder, {name: model.tasks[name] for name in tasks})  # type: ignore[misc]
    return copy.deepcopy(part, shared)


def ranked(entrants: Sequence[Entrant], epochs: int) -> list[Entrant]:
    """The entrants by their best validation value in the first ``epochs`` epochs, best first."""
    order: list[Entrant] = []
    for entrant in entrants:
        value, metric = entrant.best_of(epochs), entrant.training.job.data.metric
        place = len(order)
        while (
            place
            and value is not None
            and is_better(value, order[place - 1].best_of(epochs), metric)
        ):
            place -= 1
        order.insert(place, entrant)
    return order


def standings(entrants: Sequence[Entrant]) -> dict[str, dict[str, Any]]:
    """What each entrant reached and how far it went, for ``results.json``."""
    return {
        entrant.name: {
            "valid": entrant.training.history.best["valid"],
            "epoch": entrant.training.history.best["epoch"],
            "epochs": entrant.training.epoch,
        }
        for entrant in entrants
    }
