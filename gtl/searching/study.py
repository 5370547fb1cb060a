"""Study of a search in Optuna: stored in SQLite, continued after a kill, pruned by our own rule.

Optuna prunes no study with several objectives. Here a trial is stopped where, after as many epochs,
its validation value is worse than the median of the earlier trials that cost at most as much: the
median rule of Golovin et al. 2017 among those that could dominate it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.errors import CheckpointError
from gtl.metrics import direction
from gtl.optional import needs
from gtl.roles import Choice, Range, Space
from gtl.searching.spaces import SearchSpace, title_of
from gtl.train.repeated import hash_of

RIVALS = 3  # earlier trials that cost at most as much, without which none is stopped
_NAME = "search"
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


def load_optuna() -> Any:
    """The package, which reports nothing but warnings.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    with needs("search", "gtl search"):
        import optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """The trials of a search.

    Args:
        folder: Where ``search.db`` is, or will be.
        space: What is searched.
        metric: Of the validation values.
        with_footprint: Whether the footprint is a second objective.
        seed: Decides what is proposed, trial by trial: a search that was interrupted goes on as it
            would have gone.

    """

    def __init__(
        self, folder: Path, space: SearchSpace, metric: str, with_footprint: bool, seed: int
    ):
        optuna = load_optuna()
        self._optuna, self.space, self.seed = optuna, space, seed
        self.metric, self.with_footprint = metric, with_footprint
        up = "maximize" if direction(metric) == "higher" else "minimize"
        file = (folder / "search.db").resolve()
        try:
            self._study = optuna.create_study(
                study_name=_NAME,
                storage=f"sqlite:///{file}",
                directions=[up, "minimize"] if with_footprint else [up],
                load_if_exists=True,
            )
        except Exception as error:  # SQLAlchemy has an error of its own for each kind of damage
            raise CheckpointError(
                f"{file} cannot be read as the trials of a search "
                f"({str(error).strip().splitlines()[0]}); restore it, or choose another folder"
            ) from error

    def ask(self) -> Trial:
        """The next trial; first the one that was interrupted, if there is one."""
        waiting = self._study.get_trials(states=[self._optuna.trial.TrialState.RUNNING])
        if waiting:
            asked = self._optuna.trial.Trial(self._study, waiting[0]._trial_id)
        else:
            number = len(self._study.get_trials(deepcopy=False))
            seed = hash_of(self.seed, number)
            self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=8)
            asked = self._study.ask()
        titles = [title_of(encoder) for encoder in self.space.encoders]
        chosen: dict[str, Any] = {}
        if len(titles) > 1:
            chosen["encoder"] = asked.suggest_categorical("encoder", titles)
        for key in self.space.keys(chosen.get("encoder", titles[0])):
            chosen[key] = _suggested(asked, key, self.space.options[key])
        return Trial(self, asked, chosen)

    def records(self) -> list[dict[str, Any]]:
        """All trials that have ended: number, parameters, state and what was measured."""
        found = []
        for trial in self._study.get_trials(deepcopy=False):
            notes = trial.user_attrs
            if "state" in notes:
                names = ("params", "state", "valid", "footprint", "epochs", "seconds", "problem")
                found.append({"number": trial.number, **{k: notes.get(k) for k in names}})
        return found

    def rivals(self, rung: int, footprint: float | None, before: int) -> Iterator[float]:
        """Validation values at a rung of earlier trials that cost at most as much."""
        for trial in self._study.get_trials(deepcopy=False)[:before]:
            cost, rungs = trial.user_attrs.get("footprint"), trial.user_attrs.get("rungs", {})
            cheap = footprint is None or (cost is not None and cost <= footprint)
            if cheap and str(rung) in rungs:
                yield rungs[str(rung)]


class Trial:
    """One way to train.

    Args:
        study: What it is part of.
        asked: Optuna's trial.
        chosen: Values by key.
    """

    def __init__(self, study: Study, asked: Any, chosen: Mapping[str, Any]):
        self._study, self._asked, self.chosen = study, asked, dict(chosen)
        self.number: int = asked.number
        notes = asked.user_attrs  # of a trial that was interrupted
        self._rungs: dict[str, float] = dict(notes.get("rungs", {}))
        self._measured: dict[str, Any] = dict(notes.get("measured", {}))

    def measured(self, rung: int) -> dict[str, Any] | None:
        """What :meth:`is_hopeless` noted after some epochs; ``None`` if it was not asked.

        A run folder with more epochs has another value than it had then.
        """
        found: dict[str, Any] | None = self._measured.get(str(rung))
        return found

    def is_hopeless(self, measured: Mapping[str, Any]) -> bool:
        """Whether its value after some epochs is worse than the median of its rivals.

        Args:
            measured: ``epochs``, the validation value ``valid`` and the ``footprint``, ``None`` if
                that does not count; noted for a search that is interrupted.
        """
        rung, valid, footprint = (measured[name] for name in ("epochs", "valid", "footprint"))
        self._rungs[str(rung)], self._measured[str(rung)] = valid, dict(measured)
        self._note(rungs=self._rungs, measured=self._measured, footprint=footprint)
        return hopeless(
            valid, list(self._study.rivals(rung, footprint, self.number)), self._study.metric
        )

    def end(self, state: str, **measured: Any) -> None:
        """Store how it ended.

        Args:
            state: ``"complete"``, ``"pruned"`` or ``"failed"``.
            **measured: ``valid``, ``footprint``, ``epochs``, ``seconds`` and ``problem``, where
                they are known.
        """
        self._note(params=self.chosen, **measured)
        states = self._study._optuna.trial.TrialState
        ended = {COMPLETE: states.COMPLETE, PRUNED: states.PRUNED, FAILED: states.FAIL}[state]
        values = [measured["valid"]] if state == COMPLETE else None
        if values is not None and self._study.with_footprint:
            values.append(measured["footprint"])
        self._note(state=state)
        self._study._study.tell(self._asked, values, state=ended)

    def _note(self, **facts: Any) -> None:
        for name, value in facts.items():
            self._asked.set_user_attr(name, value)


def hopeless(valid: float, rivals: Sequence[float], metric: str) -> bool:
    """Whether a value is worse than the median of at least :data:`RIVALS` others.

    Example:
        >>> hopeless(0.6, [0.7, 0.8, 0.5], "acc"), hopeless(0.6, [0.7, 0.8], "acc")
        (True, False)
        >>> hopeless(0.6, [0.7, 0.8, 0.5], "rmse")
        False
    """
    if len(rivals) < RIVALS:
        return False
    median = statistics.median(rivals)
    return valid < median if direction(metric) == "higher" else valid > median


def _suggested(asked: Any, key: str, space: Space) -> Any:
    if isinstance(space, Range) and space.is_whole:
        return asked.suggest_int(key, space.low, space.high, log=space.log)
    if isinstance(space, Range):
        return asked.suggest_float(key, space.low, space.high, log=space.log)
    assert isinstance(space, Choice)
    # Optuna stores plain numbers and words; lists and mappings are written as JSON.
    return json.loads(asked.suggest_categorical(key, [json.dumps(v) for v in space.values]))
