"""Which method is right for these classes? Base classes that pretend to be novel are asked.

No method for few samples is best everywhere, and nothing can be held out of one sample. But base
classes have samples to spare: some keep as few as novel classes have, the others of theirs are the
queries, and the method that knows them best is used for the novel ones. So a graph of classes, or a
metric, that does not help is not used.
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
from gtl.roles import FewShotMethod, Scorer
from gtl.train.seed import seeded

log = logging.getLogger(__name__)
QDA = {"name": "gaussian", "kind": "qda"}
LDA = {"name": "gaussian", "kind": "lda", "task": "within"}
PLAIN = ({"name": "prototype", "similarity": "cosine"}, "prototype", "linear", "cosine", LDA, QDA)
ASKED = ("novel_in_all_top1", "novel_in_novel_top1")
_LEAST = 4  # base classes: two that pretend, two that do not


class Judged(FewShotMethod):
    """Of several methods the one that recognizes base classes best when they have few samples.

    Args:
        of: Methods, as for :func:`gtl.few_shot`; by default those without a graph and, if there is
            a graph, ``kgtn`` before them. Among equals the first is used.
        rehearsals: Draws of the base classes that pretend.
        queries: Samples of each that are asked, at most.
    """

    def __init__(self, of: Any = None, rehearsals: int = 3, queries: int = 8):
        if rehearsals < 1 or queries < 1:
            raise ConfigError(
                f"`rehearsals` is {rehearsals} and `queries` is {queries}, expected 1 or more"
            )
        self.of, self.rehearsals, self.queries = of, rehearsals, queries
        if of is not None:  # a wrong name is told at once, and a run folder can remember them
            self.arguments["of"] = {
                t: FEW_SHOT_METHODS.spec(how) for t, how in as_methods(of).items()
            }

    def fit(self, problem: Problem) -> Scorer:
        """Rehearse with all methods, then fit the best one.

        Raises:
            ConfigError: If there are fewer than four base classes, or no two with two samples.
        """
        methods = self._methods(problem)
        gains: dict[str, list[float]] = {title: [] for title in methods}
        seeds = torch.randint(2**31, (self.rehearsals,), generator=problem.rng).tolist()
        for seed in seeds:
            draw = torch.Generator().manual_seed(seed)
            stage = rehearsal(problem, self.queries, draw)
            for title, method in methods.items():
                with seeded(seed) as rng:  # no method's chances depend on who came before
                    rng.set_state(draw.get_state())
                    scorer = method.fit(replace(stage.problem, rng=rng))
                gains[title].append(_recognized(scorer, stage))
        best = max(methods, key=lambda title: sum(gains[title]))
        log.debug("judged: %s, of %s", best, {t: sum(g) / len(g) for t, g in gains.items()})
        return methods[best].fit(problem)

    def _methods(self, problem: Problem) -> Mapping[str, FewShotMethod]:
        if self.of is not None:
            return as_methods(self.of)
        with_graph: Sequence[Any] = () if problem.graph is None else ("kgtn",)
        return as_methods([*with_graph, *PLAIN])


@dataclass(frozen=True)
class Rehearsal:
    """Base classes alone, some of which pretend to be novel.

    Attributes:
        problem: What a method may know; classes are the base classes, numbered from 0 on.
        queries: Features of samples of pretenders that were kept back, ``(q, h)``.
        labels: Their classes, int64 ``(q,)``.
    """

    problem: Problem
    queries: Tensor
    labels: Tensor


def rehearsal(problem: Problem, queries: int, rng: torch.Generator) -> Rehearsal:
    """Let base classes pretend: as large a share of them as novel classes are of all.

    They keep as many samples as novel classes have or, where base classes have no more themselves,
    one less than those.

    Args:
        problem: The real one; the shots of novel classes are not looked at.
        queries: Samples of each pretender that are asked, at most.
        rng: Draws pretenders and samples.

    Raises:
        ConfigError: As :meth:`Judged.fit`.
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
            f"judging needs {_LEAST} base classes or more, two of them with two samples or more; "
            f"there are {len(base)}: use the protocol base_novel, or name one method"
        )
    share = len(base) / len(problem.novel)
    count = min(max(2, round(len(base) * (1 - share))), len(able), len(base) - 2)
    chosen = able[torch.randperm(len(able), generator=rng)[:count]].tolist()
    order = torch.randperm(len(y), generator=rng).to(y.device)
    kept, shown, asked = [order[~torch.isin(y[order], y.new_tensor(chosen))]], [], []
    for one in chosen:
        own = order[y[order] == one]
        shown.append(own[:shots])
        asked.append(own[shots:][:queries])
    known, few, some = (torch.cat(parts) for parts in (kept, shown, asked))
    novel = torch.zeros(len(base), dtype=torch.bool, device=y.device)
    novel[chosen] = True
    stage = replace(
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
    return Rehearsal(stage, x[some], y[some])


def _recognized(scorer: Scorer, stage: Rehearsal) -> float:
    """Accuracy on pretenders, among all classes and among themselves, the mean of both."""
    with torch.no_grad():
        scores = scorer(stage.queries)
    found = base_novel_measures(scores, stage.labels, stage.problem.novel, 0.5)
    return sum(found[name] for name in ASKED) / len(ASKED)
