from __future__ import annotations

import sys

import pytest
import torch

from gtl import checkpoint
from gtl.catalog import WEIGHTINGS, Registry
from gtl.errors import ConfigError, MissingDependencyError, UnknownPartError
from gtl.weightings import torchjd as bridge
from gtl.weightings.torchjd import named

FAMILIES = {"torchjd": "gtl.weightings.torchjd"}


@pytest.fixture
def library():
    return pytest.importorskip("torchjd.aggregation", reason="TorchJD is an optional extra")


@pytest.fixture
def without_library(monkeypatch):
    for name in ("torchjd", "torchjd.aggregation"):
        monkeypatch.setitem(sys.modules, name, None)
    for function in (bridge._aggregators, bridge.named):
        function.cache_clear()
    yield
    for function in (bridge._aggregators, bridge.named):
        function.cache_clear()


def needs_solver(name):
    """Skip where the solver that an aggregator needs beside TorchJD is missing."""
    for package in ("qpsolvers", "quadprog") if name in ("upgrad", "dualproj") else ():
        pytest.importorskip(package, reason=f"TorchJD's {name} needs {package}")


CONFLICT = {"target": [1.0, 0.0], "other": [-1.0, 1.0]}


@pytest.mark.parametrize(
    ("name", "pulls", "weights"),
    [
        ("sum", CONFLICT, [1.0, 1.0]),
        ("mean", CONFLICT, [0.5, 0.5]),
        # Each loses what opposes the other: (1, 0) + (-1, 1) / 2 and (-1, 1) + (1, 0).
        ("pcgrad", CONFLICT, [2.0, 1.5]),
        # The shortest point between two that are orthogonal, of lengths 3 and 1.
        ("mgda", {"target": [3.0, 0.0], "other": [0.0, 1.0]}, [0.1, 0.9]),
        ("upgrad", {"target": [3.0, 0.0], "other": [0.0, 1.0]}, [0.5, 0.5]),
        # Not a weighted sum by construction; the direction (1, 1) of length 3 + 1.
        ("config", {"target": [3.0, 0.0], "other": [0.0, 1.0]}, [2 / 3, 2.0]),
    ],
)
def test_aggregation_by_hand(library, by_hand, name, pulls, weights):
    needs_solver(name)
    step = by_hand(pulls)
    found = named(name)().backward(step)
    assert list(found.values()) == pytest.approx(weights, abs=2e-3)
    one, two = pulls.values()
    both = [weights[0] * a + weights[1] * b for a, b in zip(one, two)]
    assert step.pull() == pytest.approx(both, abs=2e-3)
    assert step.pull("target") == step.pull("other") == [2.0]  # own: as they are


@pytest.mark.parametrize("name", ["pcgrad", "upgrad", "dualproj", "mgda"])
def test_neither_task_loses_where_gradients_conflict(library, by_hand, name):
    needs_solver(name)
    step = by_hand(CONFLICT)
    named(name)().backward(step)
    across, along = step.pull()
    assert across >= -1e-3 and along - across >= -1e-3


def test_a_shared_parameter_that_a_task_does_not_reach_has_a_zero_in_its_row(library, by_hand):
    step = by_hand({"target": [2.0, 0.0], "other": [0.0, 1.0]})
    step.parameters["extra"] = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    step.parameters["idle"] = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    step.shared = ("extra", "idle", "encoder.last")
    step.losses["other"] = step.losses["other"] + 2 * step.parameters["extra"]
    named("mean")().backward(step)
    assert step.pull("extra") == pytest.approx([1 / 3] * 3)
    assert step.pull() == [1.0, 0.5]
    assert step.pull("idle") is None


def test_random_draws_come_from_the_seed_and_the_number_of_the_step(library, by_hand):
    def run(seed):
        weighting = named("random")(seed)
        return [weighting.backward(by_hand(CONFLICT))["target"] for _ in range(4)]

    torch.manual_seed(1)
    first = run(3)
    torch.manual_seed(2)
    assert run(3) == first != run(4)
    assert len(set(first)) == 4


@pytest.mark.parametrize("name", ["gradvac", "excessmtl", "pcd"])
def test_what_an_aggregator_remembers_survives_a_checkpoint(library, by_hand, tmp_path, name):
    def step(turn):
        return by_hand({"target": [1.0, 0.1 * turn], "other": [-1.0 - 0.2 * turn, 1.0]})

    def go(weighting, turns):
        return [weighting.backward(step(turn))["other"] for turn in turns]

    weighting = named(name)()
    go(weighting, range(3))
    checkpoint.save(tmp_path / "a.safetensors", weighting.state_dict())
    resumed, fresh = named(name)(), named(name)()
    for other in (resumed, fresh):
        other.setup(["target", "other"], "target")
    resumed.load_state_dict(checkpoint.load(tmp_path / "a.safetensors"))
    assert resumed.get_extra_state()["steps"] == 3  # also before the first step
    ahead = go(weighting, range(3, 7))
    assert go(resumed, range(3, 7)) == ahead
    assert go(fresh, range(3, 7)) != ahead


def test_a_task_without_samples_has_no_row(library, by_hand):
    step = by_hand(CONFLICT)
    step.losses["other"] = step.losses["other"][:0]
    assert named("mgda")().backward(step) == {"target": 1.0, "other": 0.0}
    assert step.pull() == [1.0, 0.0]
    assert step.pull("other") is None


def test_it_needs_no_target_but_something_shared(library, by_hand):
    assert named("sum")().backward(by_hand(CONFLICT, target=None)) == {"target": 1.0, "other": 1.0}
    step = by_hand(CONFLICT)
    step.shared = ()
    with pytest.raises(ConfigError, match="attach an adapter"):
        named("sum")().backward(step)


def test_a_run_remembers_it_by_name_and_options(library):
    needs_solver("upgrad")
    part = WEIGHTINGS.build({"name": "torchjd:upgrad", "seed": 3})
    assert WEIGHTINGS.spec(part) == {"name": "torchjd:upgrad", "seed": 3}
    assert WEIGHTINGS.name_of(named("pcgrad")()) == "torchjd:pcgrad"
    with pytest.raises(ConfigError, match="'torchjd:upgrad' has no option 'mass'; it has: seed"):
        WEIGHTINGS.build({"name": "torchjd:upgrad", "mass": 3})


def test_aggregators_that_need_no_arguments_are_listed(library):
    names = Registry("weighting", {}, families=FAMILIES).names()
    assert {"torchjd:upgrad", "torchjd:pcgrad", "torchjd:mgda", "torchjd:imtlg"} <= set(names)
    assert not {"torchjd:constant", "torchjd:aggregator", "torchjd:meanweighting"} & set(names)


@pytest.mark.parametrize(
    ("name", "hint"), [("upgrat", "did you mean 'torchjd:upgrad'"), ("constant", "torchjd:mgda")]
)
def test_an_unknown_aggregator_answers_with_the_nearest_and_the_list(library, name, hint):
    with pytest.raises(UnknownPartError, match=f"'torchjd:{name}'; .*{hint}.*torchjd:sum"):
        WEIGHTINGS.get(f"torchjd:{name}")
    with pytest.raises(UnknownPartError, match=f"{name}.*upgrad"):
        named(name)


def test_without_the_package_none_is_listed_and_the_extra_is_named(without_library):
    parts = Registry("weighting", {"equal": "gtl.weightings.equal:Equal"}, families=FAMILIES)
    assert parts.names() == ["equal"]
    with pytest.raises(MissingDependencyError, match=r"torchjd:upgrad.*\[baselines\]"):
        parts.get("torchjd:upgrad")


def test_an_aggregator_that_needs_more_than_torchjd_says_what(monkeypatch):
    def lacks():
        raise ImportError("UPGrad requires ['quadprog']")

    monkeypatch.setattr(bridge, "_aggregators", lambda: {"upgrad": lacks})
    kind = type("Upgrad", (bridge.TorchJD,), {"aggregator": "upgrad"})
    with pytest.raises(MissingDependencyError, match=r"quadprog.*\[baselines\]"):
        kind()
