from __future__ import annotations

import copy
import math
import statistics

import pytest
import torch
from torch import nn

from gtl import checkpoint
from gtl.errors import ConfigError, GtlError
from gtl.graph import Graph
from gtl.graph.ops import mean_neighbors
from gtl.roles import Batch
from gtl.train.step import Step, TaskModel
from gtl.weightings import AuxTS, WeightNetwork
from gtl.weightings.look_ahead.network import sample_features

TASKS = ["target", "first", "second"]


def network_step(weighting: AuxTS) -> torch.Tensor:
    """The network's parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in weighting.network.parameters()]).clone()


def ready(tasks=TASKS, **options) -> AuxTS:
    torch.manual_seed(11)
    weighting = AuxTS(**{"hidden": 3, "refresh": 1, **options}).double()
    weighting.setup(tasks, "target")
    weighting.network.double()
    return weighting


def expected_weights(weighting, step) -> dict[str, torch.Tensor]:
    """The normalized weights written out once more, with history."""
    raw = {}
    for name, losses in step.losses.items():
        onehot = [float(name == task) for task in TASKS]
        told = [*onehot, *weighting.consistency.values()]
        loss = losses.detach().sign() * torch.log(1 + losses.detach().abs())
        rows = torch.stack([torch.stack([v, *map(v.new_tensor, told)]) for v in loss])
        raw[name] = weighting.network(rows)
    factors = {"target": 1.0, **weighting.test.factors}
    if weighting.normalize == "target":
        return {name: factors[name] * v / raw["target"].mean() for name, v in raw.items()}
    raw = {name: factors[name] * v for name, v in raw.items()}
    if weighting.normalize == "auxiliary":
        total = weighting.auxiliary_weight * (factors["first"] + factors["second"])
        sums = raw["first"].mean() + raw["second"].mean()
        shared = {name: total * v / sums for name, v in raw.items()}
        return {**shared, "target": torch.ones_like(raw["target"])}
    return raw


def whole_look_ahead(weighting, step, held) -> float:
    """Meta loss after the optimizer's real step on the look-ahead's weighted loss."""
    weights = {n: v.detach() for n, v in expected_weights(weighting, step).items()}
    losses = step.replay(dict(step.parameters))
    mean = (weights["target"] * losses["target"])[~held].mean()
    total = mean + sum((weights[n] * losses[n]).mean() for n in TASKS[1:])
    before = {n: p.detach().clone() for n, p in step.parameters.items()}
    state = copy.deepcopy(step.optimizer.state_dict())
    step.optimizer.zero_grad()
    total.backward()
    step.optimizer.step()
    with torch.no_grad():
        meta = float(step.meta_loss({}, held))
        for name, value in before.items():
            step.parameters[name].copy_(value)
    step.optimizer.load_state_dict(state)
    return meta


@pytest.mark.parametrize("normalize", ["auxiliary", "target", None])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam", "adamw"])
@pytest.mark.parametrize("encoder", ["attention", "noisy"])
def test_the_network_goes_down_the_slope_of_the_whole_look_ahead(
    problem, optimizers, warm, encoder, kind, normalize
):
    setting = problem(encoder)
    optimizer = optimizers[kind](setting.model.parameters())
    warm(setting, optimizer)
    weighting = ready(normalize=normalize)
    weighting.learner.optimizer = torch.optim.SGD(weighting.network.parameters(), lr=1.0)
    untouched = copy.deepcopy(weighting)
    step = setting.step(optimizer)
    held = step.hold_back(0)
    before = network_step(weighting)
    weighting.backward(step)
    moved = before - network_step(weighting)  # the gradient at unit length

    untouched.consistency, untouched.test = weighting.consistency, weighting.test
    slopes = []
    for parameter in untouched.network.parameters():
        flat = parameter.data.view(-1)
        for i in range(len(flat)):
            values = []
            for sign in (1, -1):
                old = float(flat[i])
                flat[i] = old + sign * 1e-6
                values.append(whole_look_ahead(untouched, step, held))
                flat[i] = old
            slopes.append((values[0] - values[1]) / 2e-6)
    expected = torch.tensor(slopes, dtype=torch.float64)
    assert float(expected.norm()) > 1e-9
    torch.testing.assert_close(moved, expected / expected.norm(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("refresh_turn", [True, False])
@pytest.mark.parametrize("normalize", ["auxiliary", "target", None])
def test_the_step_follows_the_weighted_losses_of_all_samples(
    problem, optimizers, normalize, refresh_turn
):
    setting = problem("noisy")
    optimizer = optimizers["adam"](setting.model.parameters())
    weighting = ready(normalize=normalize, refresh=2)
    if not refresh_turn:
        weighting.backward(setting.step(optimizer))
    step = setting.step(optimizer)
    before = copy.deepcopy(weighting.network)
    reported = weighting.backward(step)
    got = {n: p.grad.clone() for n, p in step.parameters.items() if p.grad is not None}
    weighting.network = before
    weights = {n: v.detach() for n, v in expected_weights(weighting, step).items()}
    losses = step.replay(dict(step.parameters))
    step.optimizer.zero_grad()
    sum((weights[n] * losses[n]).mean() for n in TASKS).backward()
    for name, parameter in step.parameters.items():
        torch.testing.assert_close(got[name], parameter.grad, rtol=1e-9, atol=1e-12)
    for name in TASKS:
        assert reported[name] == pytest.approx(float(weights[name].mean()))


def test_the_mean_auxiliary_weight_is_that_of_the_option(problem, optimizers):
    setting = problem()
    weighting = ready(auxiliary_weight=0.7, permutation_test=False)
    optimizer = optimizers["adam"](setting.model.parameters())
    for _ in range(5):
        weights = weighting.backward(setting.step(optimizer))
        assert weights["target"] == 1.0
        assert (weights["first"] + weights["second"]) / 2 == pytest.approx(0.7)


def test_a_task_that_fails_the_permutation_test_counts_less_in_the_mean(problem, optimizers):
    setting = problem()
    weighting = ready(auxiliary_weight=0.7)
    weighting.test.factors.update(first=0.25, second=1.0)
    weighting.test.add = lambda losses, permuted: None
    weights = weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))
    assert weights["target"] == 1.0
    assert weights["first"] + weights["second"] == pytest.approx(0.7 * 1.25)
    untested = ready(auxiliary_weight=0.7, permutation_test=False)
    raw = untested.backward(problem().step(optimizers["adam"](setting.model.parameters())))
    assert weights["first"] / weights["second"] == pytest.approx(
        0.25 * raw["first"] / raw["second"]
    )


def test_samples_of_one_task_weigh_differently_and_move_with_their_samples(problem, optimizers):
    setting = problem()
    weighting = ready()
    step = setting.step(optimizers["adam"](setting.model.parameters()))
    weights = weighting.network(sample_features(step.losses, TASKS, [0.2, -0.1]))
    order = torch.randperm(sum(len(v) for v in step.losses.values()))
    mixed = weighting.network(sample_features(step.losses, TASKS, [0.2, -0.1])[order])
    torch.testing.assert_close(mixed, weights[order])
    for piece in weights.split([len(v) for v in step.losses.values()]):
        assert float(piece.detach().std()) > 0


def test_huge_losses_do_not_switch_the_network_off():
    network = WeightNetwork(4)
    losses = {"target": torch.tensor([1e3, 2e3]), "other": torch.tensor([1e-3, -1e3])}
    features = sample_features(losses, ["target", "other"], [0.5])
    weights = network(features)
    slope = torch.autograd.grad(weights.sum(), network.output.bias)[0]
    raw = features.clone()
    raw[:, 0] = torch.cat(list(losses.values()))
    with_raw_losses = network(raw)
    assert 0.05 < float(weights.min()) < float(weights.max()) < 0.95
    assert float(slope) > 0.5
    assert float(with_raw_losses.max()) > 0.999 or float(with_raw_losses.min()) < 0.001


@pytest.mark.parametrize("consistency", ["parameters", "representation"])
def test_a_task_equal_to_the_target_is_consistent_and_its_opposite_is_not(
    problem, optimizers, parts, consistency
):
    class Same(parts.Classify):
        sign = 1.0

        def losses(self, nodes, view):
            return self.sign * super().losses(nodes, view)

    class Opposite(Same):
        sign = -1.0

    setting = problem("sum", {"first": Same(), "second": Opposite()})
    for name in ("first", "second"):
        setting.model.tasks[name].load_state_dict(setting.model.tasks["target"].state_dict())
    weighting = ready(consistency=consistency)
    weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))
    assert weighting.consistency == pytest.approx({"first": 1.0, "second": -1.0})


def test_without_consistency_none_is_told(problem, optimizers):
    weighting = ready(consistency=None)
    setting = problem()
    weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))
    assert weighting.network.hidden.in_features == 1 + 3


def test_noise_falls_below_a_useful_task_within_200_steps(parts):
    ratios = [_noise_to_useful(parts, seed) for seed in range(7)]
    assert statistics.median(ratios) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{"refresh": 1}, {"consistency": "parameters"}, {"look_ahead": "unrolled", "refresh": 2}],
)
def test_noise_falls_below_a_useful_task_in_other_configurations_too(parts, options):
    assert statistics.median(_noise_to_useful(parts, seed, **options) for seed in (1, 3, 5)) < 0.5


def _noise_to_useful(parts, seed, **options):
    """Mean weight of a noise task over that of a useful one in the last 40 of 200 steps."""
    torch.manual_seed(seed)
    rng = torch.Generator().manual_seed(seed)
    n = 400
    x = torch.randn(n, 5, generator=rng)
    ends = [torch.randint(n, (2 * n,), generator=rng) for _ in range(2)]
    graph = Graph(*ends, n, x=x)
    around = x + mean_neighbors(graph, x)
    labels = (around[:, 0] > 0).long() + (around[:, 1] > 0).long()

    def some(values, count):
        seeds = torch.randperm(n, generator=rng)[:count]
        return graph.replace(seeds=seeds, y=values[seeds])

    tasks = {name: parts.Classify() for name in ("target", "useful", "noise")}
    model = TaskModel(parts.ENCODERS["sum"](5), tasks)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    weighting = AuxTS(**options)
    weighting.setup(list(tasks), "target")
    seen = []
    for _ in range(200):
        random = torch.randint(3, (n,), generator=rng)
        graphs = {
            "target": some(labels, 24),
            "useful": some(labels, 100),
            "noise": some(random, 24),
        }
        views = {name: task.view(Batch(graphs[name]), rng) for name, task in tasks.items()}
        weights = weighting.backward(Step(model, views, optimizer, "target", seed=seed))
        optimizer.step()
        seen.append((weights["useful"], weights["noise"]))
    useful, noise = (sum(column) for column in zip(*seen[-40:]))
    return noise / useful


def test_a_resumed_run_goes_on_bit_for_bit(problem, tmp_path):
    def build():
        setting = problem("noisy", dtype=torch.float32)
        optimizer = torch.optim.Adam(setting.model.parameters(), lr=1e-2)
        torch.manual_seed(5)
        weighting = AuxTS(hidden=7, refresh=2)
        weighting.setup(list(setting.model.tasks), "target")
        return setting, optimizer, weighting

    def go(setting, optimizer, weighting, turns):
        seen = []
        for turn in turns:
            torch.manual_seed(turn)
            setting.rng.manual_seed(turn)
            seen.append(weighting.backward(setting.step(optimizer, seed=4)))
            optimizer.step()
        return seen, weighting.consistency, network_step(weighting)

    setting, optimizer, weighting = build()
    go(setting, optimizer, weighting, range(5))
    parts = {"model": setting.model, "optimizer": optimizer, "weighting": weighting}
    checkpoint.save(tmp_path / "a.safetensors", {k: p.state_dict() for k, p in parts.items()})
    straight = go(setting, optimizer, weighting, range(5, 11))

    other, optimizer, weighting = build()
    state = checkpoint.load(tmp_path / "a.safetensors")
    other.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    weighting.load_state_dict(state["weighting"])
    resumed = go(other, optimizer, weighting, range(5, 11))
    assert resumed[:2] == straight[:2]
    assert torch.equal(resumed[2], straight[2])


def test_state_in_double_precision_survives_too(problem, optimizers):
    weighting, setting = ready(), problem()
    weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))
    other = AuxTS(hidden=3, refresh=1)
    other.setup(TASKS, "target")
    other.load_state_dict(weighting.state_dict())
    assert torch.equal(network_step(other), network_step(weighting))


def test_state_of_other_tasks_is_refused(problem, optimizers):
    weighting, other = ready(), AuxTS()
    other.setup(["target", "third"], "target")
    with pytest.raises(ConfigError, match="setup"):
        other.set_extra_state(weighting.get_extra_state())


def test_nothing_is_left_behind(problem, parts, warm):
    setting = problem("noisy", {"queue": parts.Queue(), "second": parts.Regress()})
    optimizer = torch.optim.Adam(setting.model.parameters(), lr=1e-2)
    warm(setting, optimizer)
    weighting = ready(["target", "queue", "second"])
    step = setting.step(optimizer)
    before = copy.deepcopy((setting.model.state_dict(), optimizer.state_dict()["state"]))
    random = torch.get_rng_state()
    weighting.backward(step)
    after = (setting.model.state_dict(), optimizer.state_dict()["state"])
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert torch.equal(random, torch.get_rng_state())
    assert int(setting.model.tasks["queue"].calls) == 6  # one per step taken


def test_setup_is_deterministic_and_safe_to_repeat():
    one, two = ready(), ready()
    assert torch.equal(network_step(one), network_step(two))
    with torch.no_grad():
        one.network.output.bias += 1
    before = network_step(one)
    one.setup(TASKS, "target")
    assert torch.equal(network_step(one), before)


def test_an_empty_task_weighs_nothing(problem, parts, optimizers):
    setting = problem("sum", {"first": parts.Nothing(), "second": parts.Regress()})
    weighting = ready(permutation_test=False)
    optimizer = optimizers["adam"](setting.model.parameters())
    for _ in range(3):
        weights = weighting.backward(setting.step(optimizer))
        optimizer.step()
        assert weights["first"] == 0.0
        assert weights["second"] == pytest.approx(weighting.auxiliary_weight)
        assert weighting.consistency["first"] == 0.0
    assert setting.model.tasks["first"].head.weight.grad is None


def test_a_single_target_sample_is_enough(problem, optimizers):
    setting = problem()
    setting.graph = setting.graph.replace(seeds=setting.graph.seeds[:1], y=setting.graph.y[:1])
    weighting = ready(normalize="target")
    weights = weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))
    assert all(math.isfinite(weight) for weight in weights.values())


def test_a_loss_that_is_not_finite_is_named(problem, optimizers):
    setting = problem()
    setting.model.tasks["second"].values = torch.full((setting.graph.num_nodes,), math.nan)
    with pytest.raises(GtlError, match=r"task 'second' is nan for 23 of 23 samples"):
        ready().backward(setting.step(optimizers["adam"](setting.model.parameters())))


def test_it_needs_a_target_and_says_what_to_use_instead():
    with pytest.raises(ConfigError, match="weighting='equal'"):
        AuxTS().setup(["one"], None)


def test_a_frozen_encoder_is_refused_with_the_remedy(problem, optimizers):
    setting = problem()
    setting.model.encoder.requires_grad_(False)
    parameters = [p for p in setting.model.parameters() if p.requires_grad]
    with pytest.raises(ConfigError, match="attach an adapter"):
        ready().backward(setting.step(torch.optim.Adam(parameters)))


def test_an_optimizer_without_closed_form_is_refused(problem):
    setting = problem()
    with pytest.raises(ConfigError, match="RMSprop"):
        ready().backward(setting.step(torch.optim.RMSprop(setting.model.parameters())))


def test_a_task_unknown_at_setup_is_refused(problem, optimizers):
    setting = problem()
    weighting = ready(["target", "first"])
    with pytest.raises(ConfigError, match=r"'second'.*setup"):
        weighting.backward(setting.step(optimizers["adam"](setting.model.parameters())))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalize": "both"}, "`normalize` is 'both'"),
        ({"look_ahead": "magic"}, "`look_ahead` is 'magic'"),
        ({"consistency": "loss"}, "`consistency` is 'loss'"),
        ({"refresh": 0}, "`refresh` is 0"),
        ({"unroll_steps": 2}, "look_ahead='unrolled'"),
        ({"auxiliary_weight": -1.0}, "`auxiliary_weight` is -1.0"),
        ({"lr": 0.0}, "`lr` is 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        AuxTS(**options)


def test_an_activation_that_can_be_negative_is_refused():
    with pytest.raises(ConfigError, match="softplus"):
        WeightNetwork(3, activation="elu")


@pytest.mark.parametrize(
    ("options", "more"),
    [({}, 2), ({"consistency": "parameters"}, 5), ({"consistency": None}, 2)],
)
def test_one_backward_pass_is_enough_between_look_aheads(problem, optimizers, options, more):
    calls = []

    class Counted(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, graph):
            nodes = self.inner(graph)
            if nodes.requires_grad:
                nodes.register_hook(lambda g: calls.append(1))
            return nodes.clone()  # gradients of what tasks are given do not enter the encoder

    setting = problem("sum")
    setting.model.encoder = Counted(setting.model.encoder)
    optimizer = optimizers["adam"](setting.model.parameters())
    weighting = ready(refresh=4, **options)
    counts = []
    for _ in range(5):
        calls.clear()
        weighting.backward(setting.step(optimizer))
        counts.append(len(calls))
    # Views of the target and two tasks: three encoder passes a step, and two more at a look-ahead
    # for the held-back samples and the meta loss; three more for cosines of the parameters.
    assert counts == [3 + more, 3, 3, 3, 3 + more]
