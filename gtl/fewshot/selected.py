"""Selection of a few-shot method by its accuracy on pseudo-novel base classes.

No method for few samples is best on all features, and nothing can be held out of one sample. Base
classes have more samples: some of them keep as few as novel classes have (pseudo-novel classes),
their other samples are the queries, and the method with the best accuracy on those queries is used
for the novel classes. So a graph of classes, or a metric, that does not help is not used.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gtl.catalog import FEW_SHOT_METHODS
from gtl.errors import ConfigError
from gtl.fewshot.measures import base_novel_measures
from gtl.fewshot.methods import as_methods
from gtl.fewshot.problem import Problem
from gtl.renamed import renamed
from gtl.roles import FewShotMethod, Scorer
from gtl.train.seed import seeded

log = logging.getLogger(__name__)
QDA = {"name": "gaussian", "kind": "qda"}
LDA = {"name": "gaussian", "kind": "lda", "task": "within"}
PLAIN = ({"name": "prototype", "similarity": "cosine"}, "prototype", "linear", "cosine", LDA, QDA)
MEASURES = ("novel_in_all_top1", "novel_in_novel_top1")
_LEAST = 4  # base classes: two pseudo-novel ones and two others


class Selected(FewShotMethod):
    """Of several methods the one with the best accuracy on pseudo-novel base classes.

    Args:
        of: Methods, as for :func:`gtl.few_shot`; by default those without a graph and, if there is
            a graph, ``kgtn`` before them. Among equals the first is used.
        draws: Number of draws of pseudo-novel classes.
        queries: Query samples of each pseudo-novel class, at most.
    """

    @renamed(rehearsals="draws")
    def __init__(self, of: Any = None, draws: int = 3, queries: int = 8):
        if draws < 1 or queries < 1:
            raise ConfigError(f"`draws` is {draws} and `queries` is {queries}, expected 1 or more")
        self.of, self.draws, self.queries = of, draws, queries
        if of is not None:  # a wrong name is an error here, and a run folder records them
            self.arguments["of"] = {
                t: FEW_SHOT_METHODS.spec(how) for t, how in as_methods(of).items()
            }

    def fit(self, problem: Problem) -> Scorer:
        """Compare all methods on pseudo-novel classes, then fit the best one.

        Raises:
            ConfigError: If there are fewer than four base classes, or no two with two samples.
        """
        methods = self._methods(problem)
        gains: dict[str, list[float]] = {title: [] for title in methods}
        seeds = torch.randint(2**31, (self.draws,), generator=problem.rng).tolist()
        for seed in seeds:
            draw = torch.Generator().manual_seed(seed)
            inner = pseudo_novel_problem(problem, self.queries, draw)
            for title, method in methods.items():
                with seeded(
                    seed
                ) as rng:  # no method's random numbers depend on the methods before it
                    rng.set_state(draw.get_state())
                    scorer = method.fit(replace(inner.problem, rng=rng))
                gains[title].append(_accuracy(scorer, inner))
        best = max(methods, key=lambda title: sum(gains[title]))
        log.debug("selected: %s, of %s", best, {t: sum(g) / len(g) for t, g in gains.items()})
        return methods[best].fit(problem)

    def _methods(self, problem: Problem) -> Mapping[str, FewShotMethod]:
        if self.of is not None:
            return as_methods(self.of)
        with_graph: Sequence[Any] = () if problem.graph is None else ("kgtn",)
        return as_methods([*with_graph, *PLAIN])


@dataclass(frozen=True)
class PseudoNovelProblem:
    """A few-shot problem of base classes alone, some of which are pseudo-novel.

    Attributes:
        problem: The problem that methods are fitted to, whose classes are the base classes.
        queries: Features of the held-out samples of pseudo-novel classes, ``(q, h)``.
        labels: Their classes, int64 ``(q,)``.
    """

    problem: Problem
    queries: Tensor
    labels: Tensor


def pseudo_novel_problem(
    problem: Problem, queries: int, rng: torch.Generator
) -> PseudoNovelProblem:
    """Draw pseudo-novel classes: the same share of the base classes as novel ones are of all.

    They keep as many samples as novel classes have or, where base classes have no more themselves,
    one less than those.

    Args:
        problem: The problem to solve; the shots of novel classes are not used.
        queries: Query samples of each pseudo-novel class, at most.
        rng: Draws classes and samples.

    Raises:
        ConfigError: As :meth:`Selected.fit`.
    """
    base = (~problem.novel).nonzero().flatten()
    number = (~problem.novel).long().cumsum(0) - 1
    x, y = problem.base_features, number[problem.base_labels]
    counts = torch.bincount(y, minlength=len(base)).cpu()
    second = int(counts.sort().values[-2:][0]) if len(base) > 1 else 0
    shots = min(problem.shots, second - 1)
    able = (counts > shots).nonzero().flatten()
    if len(base) < _LEAST or shots < 1:
        raise ConfigError(
            f"the method `selected` needs {_LEAST} base classes or more, two of them with two "
            f"samples or more; there are {len(base)}: use protocol base_novel, or another method"
        )
    share = len(base) / len(problem.novel)
    count = min(max(2, round(len(base) * (1 - share))), len(able), len(base) - 2)
    chosen = able[torch.randperm(len(able), generator=rng)[:count]].tolist()
    order = torch.randperm(len(y), generator=rng).to(y.device)
    kept, support, queried = [order[~torch.isin(y[order], y.new_tensor(chosen))]], [], []
    for one in chosen:
        own = order[y[order] == one]
        support.append(own[:shots])
        queried.append(own[shots:][:queries])
    known, few, some = (torch.cat(parts) for parts in (kept, support, queried))
    novel = torch.zeros(len(base), dtype=torch.bool, device=y.device)
    novel[chosen] = True
    inner = replace(
        problem,
        base_features=x[known],
        base_labels=y[known],
        features=x[few],
        labels=y[few],
        novel=novel,
        shots=shots,
        graph=None if problem.graph is None else problem.graph.of(base.cpu()),
        rng=rng,
        source=None,
    )
    return PseudoNovelProblem(inner, x[some], y[some])


def _accuracy(scorer: Scorer, inner: PseudoNovelProblem) -> float:
    """Mean of the accuracies on pseudo-novel queries among all classes and among pseudo-novel."""
    with torch.no_grad():
        scores = scorer(inner.queries)
    found = base_novel_measures(scores, inner.labels, inner.problem.novel, 0.5)
    return sum(found[name] for name in MEASURES) / len(MEASURES)
