"""The laws of few-shot methods: scores of every class, from training samples left as they were."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from gtl.data.category_graph import CategoryGraph
from gtl.fewshot.problem import Problem
from gtl.roles import FewShotMethod
from gtl.testing.laws import (
    copied,
    generator,
    obey,
    require,
    require_close,
    require_finite,
    same,
)

_CLASSES, _WIDTH, _QUERIES = 7, 5, 3  # prime, so that no two axes are confused; queries a class
_BASE_SAMPLES, _SHOTS = 6, 2
_APART = 8.0  # of class means, beside a noise of 1: nearly all queries lie nearest their own mean
_RECOGNIZED = 0.7  # of the queries, where guessing gives 1/7


def check_few_shot_method(
    method: Callable[[], FewShotMethod],
    protocols: Sequence[str] = ("base_novel", "novel"),
    skip: Collection[str] = (),
) -> None:
    """Check that a few-shot method obeys the laws of its role.

    Methods that encode anew (:attr:`gtl.fewshot.problem.Problem.source`) cannot be checked so: the
    problems here have features alone.

    Args:
        method: The class, or a function that makes a method.
        protocols: Problems to try it on: ``"base_novel"``, in which four of seven classes have
            more samples than the others, and ``"novel"``, in which all have equally few.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    for protocol in protocols:
        obey(method, FewShotTrial(method, protocol), FEW_SHOT_METHOD_LAWS, skip)


@dataclass(frozen=True)
class FewShotTrial:
    """A way to make methods, and problems with a graph of the classes."""

    build: Callable[[], FewShotMethod] = field(repr=False)
    protocol: str

    def __str__(self) -> str:
        return f"the protocol {self.protocol}"

    def problem(self, shots: int = _SHOTS) -> Problem:
        """Samples around well separated class means, float64; the same in each call."""
        novel = torch.ones(_CLASSES, dtype=torch.bool)
        if self.protocol == "base_novel":
            novel[[0, 1, 3, 5]] = False
        rng = generator(1)
        base, few = (~novel).nonzero().flatten(), novel.nonzero().flatten()
        base_labels, labels = base.repeat_interleave(_BASE_SAMPLES), few.repeat_interleave(shots)
        names = [f"/{'ab'[i % 2]}/{i}" for i in range(_CLASSES)]
        return Problem(
            base_features=_around(base_labels, rng),
            base_labels=base_labels,
            features=_around(labels, rng),
            labels=labels,
            novel=novel,
            shots=shots,
            graph=CategoryGraph.from_paths(names),
            rng=generator(2),
        )

    def queries(self) -> tuple[Tensor, Tensor]:
        """Queries of every class ``(q, h)`` and their classes ``(q,)``."""
        labels = torch.arange(_CLASSES).repeat(_QUERIES)
        return _around(labels, generator(3)), labels

    def scores(self, problem: Problem) -> Tensor:
        """Scores by a new method that is fitted to a problem, the random state always the same."""
        torch.manual_seed(4)
        scorer = self.build().fit(replace(problem, rng=generator(5)))
        with torch.no_grad():
            return scorer(self.queries()[0])


# -- laws ----------------------------------------------------------------------------------------


def one_score_per_query_and_class(trial: FewShotTrial) -> None:
    """Queries ``(q, h)`` get finite scores ``(q, c)``, also no queries and a single one."""
    queries, _ = trial.queries()
    scorer = trial.build().fit(trial.problem())
    for some in (queries, queries[:1], queries[:0]):
        scores = scorer(some).detach()
        expected = (len(some), _CLASSES)
        require(scores.shape == expected, f"shape {tuple(scores.shape)}", f"{expected}")
        require_finite("the scores", scores)


def separated_classes_are_recognized(trial: FewShotTrial) -> None:
    """Of classes far apart, most queries have their highest score at their own class."""
    labels = trial.queries()[1]
    found = (trial.scores(trial.problem()).argmax(1) == labels).double().mean()
    share = f"at least {_RECOGNIZED:.0%} of the queries"
    require(float(found) >= _RECOGNIZED, f"{float(found):.0%} recognized", share)


def one_seed_gives_one_result(trial: FewShotTrial) -> None:
    """The same problem and random state give the same scores, bit for bit."""
    one, two = trial.scores(trial.problem()), trial.scores(trial.problem())
    require(same(one, two), "two results from one seed", "one")


def one_sample_a_class_is_enough(trial: FewShotTrial) -> None:
    """Classes with a single sample give finite scores."""
    scores = trial.scores(trial.problem(shots=1))
    require(scores.shape[1:] == (_CLASSES,), f"shape {tuple(scores.shape)}", f"(q, {_CLASSES})")
    require_finite("the scores", scores)


def fitting_leaves_the_problem_as_it_was(trial: FewShotTrial) -> None:
    """No sample, label or edge of the problem is changed by fitting."""
    problem = trial.problem()
    before = copied(_tensors(problem))
    trial.build().fit(problem)
    _require_same(before, _tensors(problem), "fitting")


def scoring_leaves_everything_as_it_was(trial: FewShotTrial) -> None:
    """Scoring changes neither queries nor training samples, and gives the same a second time."""
    problem, (queries, _) = trial.problem(), trial.queries()
    scorer = trial.build().fit(problem)
    before = copied({**_tensors(problem), "queries": queries})
    with torch.no_grad():
        first = scorer(queries)
        _require_same(before, {**_tensors(problem), "queries": queries}, "scoring")
        require(same(first, scorer(queries)), "other scores in a second call", "the same")


def a_query_is_scored_by_itself(trial: FewShotTrial) -> None:
    """The scores of a query are the same whatever other queries come with it."""
    queries, _ = trial.queries()
    scorer = trial.build().fit(trial.problem())
    with torch.no_grad():
        alone = torch.cat([scorer(query.unsqueeze(0)) for query in queries])
        require_close("a score", scorer(queries), alone)


def renumbering_classes_renumbers_columns(trial: FewShotTrial) -> None:
    """Classes under other numbers have the same scores there.

    A method that draws classes at random does not obey it: the draws go by number.
    """
    problem = trial.problem()
    number = torch.randperm(_CLASSES, generator=generator(6))  # the new number of each class
    renumbered = trial.scores(_renumbered(problem, number))
    # Trained heads stop within a tolerance: order of summation decides about the last digits.
    require_close("a score", renumbered[:, number], trial.scores(problem), tolerance=1e-5)


FEW_SHOT_METHOD_LAWS = (
    one_score_per_query_and_class,
    separated_classes_are_recognized,
    one_seed_gives_one_result,
    one_sample_a_class_is_enough,
    fitting_leaves_the_problem_as_it_was,
    scoring_leaves_everything_as_it_was,
    a_query_is_scored_by_itself,
    renumbering_classes_renumbers_columns,
)


def _around(labels: Tensor, rng: torch.Generator) -> Tensor:
    """Samples ``(b, h)`` about the means of their classes."""
    means = torch.randn(_CLASSES, _WIDTH, generator=generator(0), dtype=torch.float64)
    means = _APART * torch.nn.functional.normalize(means)
    noise = torch.randn(len(labels), _WIDTH, generator=rng, dtype=torch.float64)
    return means[labels] + noise


def _renumbered(problem: Problem, number: Tensor) -> Problem:
    """The problem with class ``i`` called ``number[i]``."""
    novel = torch.empty_like(problem.novel)
    novel[number] = problem.novel
    assert problem.graph is not None
    edges = replace(
        problem.graph, src=number[problem.graph.src], dst=number[problem.graph.dst], names=()
    )
    return replace(
        problem,
        base_labels=number[problem.base_labels],
        labels=number[problem.labels],
        novel=novel,
        graph=edges,
    )


def _tensors(problem: Problem) -> dict[str, Any]:
    values: dict[str, Any] = {one.name: getattr(problem, one.name) for one in fields(problem)}
    graph = problem.graph
    if graph is not None:
        values |= {"src": graph.src, "dst": graph.dst, "weight": graph.weight}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _require_same(before: dict[str, Any], after: dict[str, Any], what: str) -> None:
    for name, value in before.items():
        require(same(value, after[name]), f"`{name}` changed by {what}", "no change")
