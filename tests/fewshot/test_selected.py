"""Selection of a few-shot method on pseudo-novel base classes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

import gtl
from gtl.catalog import FEW_SHOT_METHODS
from gtl.data import CategoryGraph
from gtl.errors import ConfigError, UnknownPartError
from gtl.fewshot.problem import Problem
from gtl.fewshot.selected import Selected, pseudo_novel_problem
from gtl.roles import FewShotMethod

C, EACH, SHOTS = 7, 6, 2
NOVEL = torch.tensor([True, False, False, True, False, False, False])


class Blind(FewShotMethod):
    """Gives every class the same score."""

    def fit(self, problem):
        return lambda features: torch.zeros(len(features), problem.num_classes)


class Nosy(FewShotMethod):
    """Remembers the problems it was given."""

    def __init__(self):
        self.problems: list[Problem] = []

    def fit(self, problem):
        self.problems.append(problem)
        return Blind().fit(problem)


@pytest.fixture
def problem() -> Problem:
    """Seven classes far apart, two of them novel; each feature row is there once."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(C * EACH) % C
    x = 9 * torch.eye(C)[labels] + torch.randn(C * EACH, C, generator=draw)
    base = ~NOVEL[labels]
    shown = torch.cat([((labels == c).nonzero().flatten())[:SHOTS] for c in (0, 3)])
    ends = torch.arange(C - 1)
    graph = CategoryGraph(ends, ends + 1, torch.ones(C - 1).double(), C)
    rng = torch.Generator().manual_seed(1)
    rows = x[base], labels[base], x[shown], labels[shown]
    return Problem(*rows, NOVEL, SHOTS, graph, rng)


def test_a_pseudo_novel_problem_has_base_classes_alone_and_its_queries_are_held_out(
    problem,
) -> None:
    stage = pseudo_novel_problem(problem, 3, torch.Generator().manual_seed(0))
    inside = stage.problem
    assert inside.num_classes == 5 and int(inside.novel.sum()) == 2
    assert inside.graph is not None and inside.graph.num_classes == 5
    assert torch.bincount(inside.labels, minlength=5)[inside.novel].tolist() == [SHOTS, SHOTS]
    assert torch.bincount(inside.base_labels, minlength=5)[~inside.novel].tolist() == [EACH] * 3
    assert torch.bincount(stage.labels, minlength=5)[inside.novel].tolist() == [3, 3]
    shown = {tuple(row) for row in inside.samples[0].tolist()}
    assert not shown & {tuple(row) for row in stage.queries.tolist()}
    assert shown <= {tuple(row) for row in problem.base_features.tolist()}
    base = (~NOVEL).nonzero().flatten()
    near = {
        tuple(row): int(c) for row, c in zip(problem.base_features.tolist(), problem.base_labels)
    }
    told = [near[tuple(row)] for row in stage.queries.tolist()]
    assert told == base[stage.labels].tolist()


def test_where_base_classes_have_no_more_samples_pseudo_novel_ones_keep_one_less(problem) -> None:
    few = torch.cat([(problem.base_labels == c).nonzero().flatten()[:SHOTS] for c in range(C)])
    rows = {"base_features": problem.base_features[few], "base_labels": problem.base_labels[few]}
    poor = Problem(**{**vars(problem), **rows})
    stage = pseudo_novel_problem(poor, 3, torch.Generator().manual_seed(0))
    assert stage.problem.shots == 1 and len(stage.queries) == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_method_with_the_best_accuracy_on_pseudo_novel_classes_is_used(problem, order) -> None:
    methods = [("blind", Blind()), ("prototype", "prototype")]
    scorer = Selected({methods[i][0]: methods[i][1] for i in order}).fit(problem)
    assert type(scorer).__name__ == "Prototype"


def test_among_equals_the_first_is_used_and_novel_classes_do_not_decide(problem) -> None:
    first, second = Nosy(), Nosy()
    Selected({"first": first, "second": second}, draws=3).fit(problem)
    assert [len(first.problems), len(second.problems)] == [4, 3]
    assert first.problems[-1] is problem
    for mine, other in zip(first.problems, second.problems):
        assert torch.equal(mine.features, other.features)
        assert mine.num_classes == 5


def test_by_default_the_graph_is_one_choice_and_the_first(problem) -> None:
    with_graph = list(Selected()._methods(problem))
    without = list(Selected()._methods(replace(problem, graph=None)))
    assert with_graph == ["kgtn", *without]
    assert "linear" in without and "prototype" in without


def test_it_beats_a_metric_that_is_wrong_for_the_features(tmp_path) -> None:
    """Classes differ in length alone, which cosines do not see."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.arange(160) % 8
    x = (1.0 + 4 * labels).unsqueeze(1) * torch.ones(2) + 0.1 * torch.randn(160, 2, generator=draw)
    cosine = {"name": "prototype", "similarity": "cosine"}
    methods = {"selected": Selected({"blind": Blind(), "cosine": cosine, "near": "prototype"})}
    how = {"protocol": "base_novel", "shots": [1], "splits": 2, "scaling": "none"}
    found = gtl.few_shot((x, labels), {**methods, "cosine": cosine}, out=tmp_path / "run", **how)
    chosen, alone = (found.mean(m, 1, "novel_in_all_top1").mean for m in ("selected", "cosine"))
    assert chosen > 0.95 > alone
    told = json.loads((tmp_path / "run" / "config.json").read_text())["methods"]["selected"]
    assert told["of"]["near"] == {"name": "prototype"} and next(iter(told["of"])) == "blind"


def test_too_few_base_classes_are_refused(problem) -> None:
    data = torch.randn(30, 5), torch.arange(30) % 3
    with pytest.raises(ConfigError, match="the method `selected` needs 4 base classes"):
        gtl.few_shot(data, ["selected"], shots=[1], splits=1)
    with pytest.raises(UnknownPartError, match="did you mean 'prototype'"):
        Selected(["prototyp"])
    with pytest.raises(ConfigError, match="expected 1 or more"):
        Selected(draws=0)


def test_the_former_name_and_the_former_option_are_accepted_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="'judged' is now called 'selected'"):
        assert FEW_SHOT_METHODS.get("judged") is Selected
    assert "judged" not in FEW_SHOT_METHODS.names()
    with pytest.warns(DeprecationWarning, match="`rehearsals` .* is now called `draws`"):
        assert FEW_SHOT_METHODS.build({"name": "selected", "rehearsals": 2}).draws == 2
