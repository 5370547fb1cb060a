from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gtl.catalog import TASKS
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch, Task, View
from gtl.tasks import L2SP, RepresentationConsistency
from gtl.tasks.domain.task import DomainTask
from gtl.train.step import Step, TaskModel
from gtl.weightings import AuxTS
from gtl.weightings.permutation_test import (
    FLOOR,
    LARGEST,
    PermutationTest,
    factor,
    statistic,
)

NODES = 60


class Line(nn.Module):
    """Features times a matrix."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 4)

    def forward(self, graph: Graph) -> torch.Tensor:
        return self.map(graph.x)


class Regress(Task):
    """Predicts the first feature, or random numbers; keeps the mean prediction in a buffer."""

    def __init__(self, noise: bool = False, dropout: float = 0.0):
        super().__init__()
        self.noise, self.dropout = noise, nn.Dropout(dropout)
        self.head = nn.Linear(4, 1)
        self.register_buffer("average", torch.zeros(()))

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        values = torch.randn(graph.num_nodes, generator=rng) if self.noise else graph.x[:, 0]
        return View(graph, {"values": values})

    def losses(self, nodes, view):
        found = self.head(self.dropout(nodes)).squeeze(1)
        self.average.copy_(found.detach().mean())
        return (found - view.targets["values"]).square()


def start(**tasks: Task):
    torch.manual_seed(0)
    model = TaskModel(Line(), {"target": Regress(), **tasks})
    return model, torch.optim.Adam(model.parameters(), lr=0.05)


def step_of(model, optimizer, seed: int) -> Step:
    rng = torch.Generator().manual_seed(seed)
    empty = torch.zeros(0, dtype=torch.long)
    graph = Graph(empty, empty, NODES, x=torch.randn(NODES, 3, generator=rng))
    views = {name: task.view(Batch(graph), rng) for name, task in model.named_tasks()}
    return Step(model, views, optimizer, "target", seed=seed)


def test_the_statistic_is_the_mean_change_over_its_standard_error():
    losses, permuted = torch.tensor([1.0, 2.0, 0.5, 1.0]), torch.tensor([1.5, 1.0, 2.5, 1.0])
    change = [0.5, -1.0, 2.0, 0.0]
    mean = sum(change) / 4
    error = (sum((c - mean) ** 2 for c in change) / 3 / 4) ** 0.5
    assert float(statistic(losses, permuted)) == pytest.approx(mean / error)


@pytest.mark.parametrize("change, expected", [(0.0, 0.0), (1.0, LARGEST), (-1.0, -LARGEST)])
def test_the_statistic_is_finite_where_all_samples_change_alike(change, expected):
    losses = torch.arange(4.0)
    assert float(statistic(losses, losses + change)) == expected


@given(st.floats(-100, 100), st.floats(0, 50))
def test_more_evidence_never_lowers_the_factor(z, more):
    assert FLOOR <= factor(z) <= factor(z + more)


def test_a_task_that_passes_every_test_keeps_its_whole_weight():
    test = PermutationTest(["one"])
    assert test.factors == {"one": pytest.approx(1.0)}
    losses = torch.rand(50, generator=torch.Generator().manual_seed(0))
    for _ in range(30):
        test.add({"one": losses}, {"one": losses + 1})
    assert test.factors == {"one": pytest.approx(1.0)}


def test_a_task_without_dependence_falls_and_comes_back():
    test = PermutationTest(["one", "two"])
    losses = torch.rand(50, generator=torch.Generator().manual_seed(0))
    seen = []
    for turn in range(30):
        change = 0.0 if turn < 15 else 1.0
        test.add({"one": losses, "two": losses}, {"one": losses + change, "two": losses + 1})
        seen.append(test.factors["one"])
    assert seen[14] == FLOOR
    assert seen[-1] > 0.9
    assert test.factors["two"] == pytest.approx(1.0)


def test_by_chance_alone_a_task_seldom_keeps_half_of_its_weight():
    draws = torch.Generator().manual_seed(0)
    test = PermutationTest([str(i) for i in range(400)])
    losses = {name: torch.randn(200, generator=draws) for name in test.factors}
    for _ in range(25):
        test.add(losses, {n: v + torch.randn(200, generator=draws) for n, v in losses.items()})
    kept = sum(value > 0.5 for value in test.factors.values())
    assert kept <= 8  # z above 2.8: 0.3 % of normal numbers


@pytest.mark.parametrize("samples", [0, 1])
def test_a_task_with_less_than_two_samples_is_not_tested(samples):
    test = PermutationTest(["one"])
    before = test.state()
    test.add({"one": torch.ones(samples)}, {"one": torch.zeros(samples)})
    assert test.state() == before


def test_permuted_losses_are_those_of_a_permutation_of_the_node_vectors():
    model, optimizer = start(other=Regress())
    step = step_of(model, optimizer, 1)
    before = copy.deepcopy(model.state_dict())
    found = step.permuted_losses(5)
    assert found.keys() == {"other"} and not found["other"].requires_grad
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(found["other"], step.permuted_losses(5)["other"])
    assert not torch.equal(found["other"], step.permuted_losses(6)["other"])
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(5))
    nodes = step.representations["other"][order]
    expected = model.tasks["other"].losses(nodes, step.views["other"])
    torch.testing.assert_close(found["other"], expected.detach())


def test_permuted_losses_draw_nothing_from_the_generator_of_the_training():
    model, optimizer = start(other=Regress(dropout=0.5))
    step = step_of(model, optimizer, 1)
    state = torch.get_rng_state()
    step.permuted_losses(0)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("options", [{}, {"normalize": None}])
def test_aux_ts_weighs_random_numbers_down_within_forty_look_aheads(options):
    seen = []
    for seed in range(8):
        model, optimizer = start(useful=Regress(), noise=Regress(noise=True))
        torch.manual_seed(seed)
        weighting = AuxTS(refresh=1, auxiliary_weight=0.3, **options)
        for turn in range(40):
            optimizer.zero_grad()
            weights = weighting.backward(step_of(model, optimizer, 100 * seed + turn))
            optimizer.step()
        assert weighting.test.factors["useful"] > 0.9
        seen.append(weights["noise"] / weights["useful"])
    assert sum(ratio < 0.5 for ratio in seen) >= 7
    assert sorted(seen)[4] < 0.15


def test_random_numbers_alone_lose_their_weight_too():
    model, optimizer = start(noise=Regress(noise=True))
    weighting = AuxTS(refresh=1, auxiliary_weight=0.3)
    for turn in range(30):
        optimizer.zero_grad()
        weights = weighting.backward(step_of(model, optimizer, turn))
        optimizer.step()
    assert weights["noise"] < 0.15


def test_the_evidence_is_saved_with_the_weighting():
    model, optimizer = start(useful=Regress(), noise=Regress(noise=True))
    weighting = AuxTS(refresh=1)
    for turn in range(12):
        weighting.backward(step_of(model, optimizer, turn))
    other = AuxTS(refresh=1)
    other.setup(list(weighting.tasks), "target")
    other.load_state_dict(weighting.state_dict())
    assert other.test.factors == weighting.test.factors
    assert other.test.factors["noise"] < 1


def test_without_the_test_no_losses_are_permuted(monkeypatch):
    monkeypatch.setattr(Step, "permuted_losses", None)
    model, optimizer = start(noise=Regress(noise=True))
    weighting = AuxTS(refresh=1, permutation_test=False, auxiliary_weight=0.3)
    for _ in range(2):
        assert weighting.backward(step_of(model, optimizer, 0))["noise"] == pytest.approx(0.3)
    assert weighting.test.factors == {}


def test_the_test_refuses_a_state_of_other_tasks():
    weighting = AuxTS()
    weighting.setup(["target", "one"], "target")
    state = weighting.get_extra_state()
    other = AuxTS()
    other.setup(["target", "two"], "target")
    with pytest.raises(ConfigError):
        other.set_extra_state(state)


class Apart(Regress):
    """Distance of the means of two halves, which falls when vectors change places."""

    compares_distributions = True

    def losses(self, nodes, view):
        half = NODES // 2
        gap = self.head(nodes[:half]).mean() - self.head(nodes[half:]).mean() + 5
        return gap.square().expand(NODES) + 0 * self.head(nodes).squeeze(1)


def test_losses_that_compare_distributions_are_not_permuted():
    model, optimizer = start(other=Regress(), apart=Apart())
    assert step_of(model, optimizer, 1).permuted_losses(0).keys() == {"other"}
    weighting = AuxTS(refresh=1)
    for turn in range(20):
        weighting.backward(step_of(model, optimizer, turn))
    assert weighting.test.factors["apart"] == 1.0


def test_the_tasks_that_compare_distributions_or_weights_say_so():
    found = {cls for cls in map(TASKS.get, TASKS.names()) if cls.compares_distributions}
    domains = {cls for cls in map(TASKS.get, TASKS.names()) if issubclass(cls, DomainTask)}
    assert len(domains) == 12
    assert found == {RepresentationConsistency, L2SP, *domains}


def test_a_state_from_before_the_test_can_be_continued():
    weighting = AuxTS()
    weighting.setup(["target", "one"], "target")
    state = {k: v for k, v in weighting.get_extra_state().items() if k != "permutation_test"}
    other = AuxTS()
    other.setup(["target", "one"], "target")
    other.set_extra_state(state)
    assert other.test.factors == {"one": 1.0}
