"""Selection among trainings of one model by validation data, with successive halving.

A look-ahead weighs an auxiliary gradient g by -eta <g, grad L_meta>, the fall of the target's loss
one step later. But the target trains on: near the path, later steps of size eta shrink a
displacement along a direction of curvature a by (1 - eta a) each. What g did where the target's own
loss is curved is soon overwritten; what lasts lies where it is flat, and there grad L_meta, which
comes from data like the training data, is small as well. So one step ranks tasks, whose gradients
it treats alike, but undervalues all of them against the target's own gradient (the short-horizon
bias of Wu et al. 2018), and no number of such steps gives the total weight that auxiliary tasks
should have in a whole training, or whether they should have any.

Whole trainings do: several total weights, and a training on the target only, start from the same
parameters, and after half of the epochs the worse half is dropped (successive halving, Jamieson &
Talwalkar 2016). Branches that validation data compare, the target only among them, are the idea of
Jiang et al. 2023 (ForkMerge); theirs are merged and branched again.
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
from gtl.progress import Progress
from gtl.roles import Weighting
from gtl.train.loop import Training
from gtl.train.step import TaskModel

TARGET_ONLY = "target only"
FIRST_PART = 0.5  # share of the epochs after which the worse half of the candidates is dropped


@dataclass(frozen=True)
class RandomState:
    """State of all random generators, from which several trainings can start.

    Attributes:
        everywhere: State of torch's global generators.
        own: State of the run's generator.
    """

    everywhere: Mapping[str, Tensor]
    own: Tensor

    @staticmethod
    def of(rng: torch.Generator) -> RandomState:
        """The present state."""
        return RandomState(checkpoint.random_state(), rng.get_state())

    def restored(self) -> torch.Generator:
        """Set torch's global generators back; returns a generator in the state of the run's."""
        checkpoint.set_random_state(self.everywhere)
        rng = torch.Generator()
        rng.set_state(self.own)
        return rng


@dataclass
class Candidate:
    """One way to train the model.

    Attributes:
        name: Weighting and options, or :data:`TARGET_ONLY`.
        training: Its training.
    """

    name: str
    training: Training

    @property
    def model(self) -> TaskModel:
        """Encoder and tasks."""
        return self.training.job.model

    def best_value(self, epochs: int) -> float | None:
        """Best validation value of the first ``epochs`` epochs; ``None`` without validation."""
        best = None
        for line in self.training.history.epochs[:epochs]:
            if is_better(line["valid"], best, self.training.job.data.metric):
                best = line["valid"]
        return best


def select(candidates: Sequence[Candidate], epochs: int, title: str) -> list[Candidate]:
    """Train all candidates, drop the worse half after half of the epochs, and rank them.

    The training on the target only (:data:`TARGET_ONLY`) is never dropped: it costs least, and
    whether auxiliary tasks help at all is decided by whole trainings. Epochs that were trained
    before are not trained again, so an interrupted selection continues where it stopped.

    Args:
        candidates: Ways to train; of equal ones an earlier one is preferred.
        epochs: Epochs of a whole training.
        title: For the progress bar.

    Returns:
        All candidates, the one with the best validation value first; those dropped come last.
    """
    first_part = max(1, int(FIRST_PART * epochs))
    helped = [candidate for candidate in candidates if candidate.name != TARGET_ONLY]
    target_only = [candidate for candidate in candidates if candidate.name == TARGET_ONLY]
    count = len(helped) - len(helped) // 2
    length = first_part * (len(helped) - count) + epochs * (count + len(target_only))
    per_epoch, shown = candidates[0].training.steps_per_epoch, candidates[0].training.job.writes
    done = sum(candidate.training.epoch for candidate in candidates)
    begun = min(done, length) * per_epoch
    with Progress(title, length * per_epoch, begun, shown=shown) as progress:
        if count < len(helped):
            for candidate in helped:
                candidate.training.advance(first_part, progress)
            helped = ranked(helped, first_part)
        finalists = [*helped[:count], *target_only]
        for candidate in finalists:
            candidate.training.advance(epochs, progress)
    return [*ranked(finalists, epochs), *helped[count:]]


def weightings_by_name(
    weightings: Sequence[Weighting], choose: bool, target_only: bool
) -> dict[str, Weighting]:
    """Weightings to train with, by the name of their candidate.

    Args:
        weightings: The given ones; each is replaced by its choices, if it has any.
        choose: Whether there are validation data to choose by; if not, only the first is trained.
        target_only: Whether the target is trained without auxiliary tasks, too.
    """
    every = [choice for how in weightings for choice in (how.choices or [how])]
    named: dict[str, Weighting] = {}
    for how in every if choose else every[:1]:
        named[_name(how, named)] = how
    if choose and target_only:
        named[TARGET_ONLY] = WEIGHTINGS.build("equal")
    return named


def _name(how: Weighting, taken: Container[str]) -> str:
    options = WEIGHTINGS.spec(how)
    name = options.pop("name")
    inside = ", ".join(f"{key}={value}" for key, value in options.items())
    title = base = f"{name} ({inside})" if inside else name
    count = 1
    while title in taken:
        count += 1
        title = f"{base} {count}"
    return title


def copy_of(model: TaskModel, tasks: Iterable[str]) -> TaskModel:
    """A copy of the encoder and of some tasks; data sets and frozen encoders are shared."""
    shared: dict[int, Any] = {id(task.data): task.data for _, task in model.named_tasks()}
    for module in model.modules():
        if isinstance(module, Adapted):
            shared |= {id(part): part for part in module.shareable()}
    part = TaskModel(model.encoder, {name: model.tasks[name] for name in tasks})  # type: ignore[misc]
    return copy.deepcopy(part, shared)


def ranked(candidates: Sequence[Candidate], epochs: int) -> list[Candidate]:
    """The candidates by their best validation value in the first ``epochs`` epochs, best first."""
    order: list[Candidate] = []
    for candidate in candidates:
        value, metric = candidate.best_value(epochs), candidate.training.job.data.metric
        place = len(order)
        while (
            place
            and value is not None
            and is_better(value, order[place - 1].best_value(epochs), metric)
        ):
            place -= 1
        order.insert(place, candidate)
    return order


def selected(best: Candidate, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The candidate that was selected, and the values of all, for ``results.json``."""
    values = {
        candidate.name: {
            "valid": candidate.training.history.best["valid"],
            "epoch": candidate.training.history.best["epoch"],
            "epochs": candidate.training.epoch,
        }
        for candidate in candidates
    }
    return {"selected": best.name, "candidates": values}
