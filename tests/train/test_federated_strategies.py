"""Flower's strategies behind the guard, against reference numbers; replies that cannot be used."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from gtl.train.federated.plan import Plan
from gtl.train.federated.proximal import Proximal
from gtl.train.federated.travel import SCALES, VECTOR, Codec, Layout
from gtl.weightings import Equal

pytest.importorskip(
    "flwr", reason="Flower is not installed: pip install 'graph-transfer[federated]'"
)

from gtl.train.federated.flower import arrays_of, flower, identity, record_of
from gtl.train.federated.guard import Guard

EXACT = {"rtol": 1e-12, "atol": 1e-13}


class Grid:
    """Clients that answer each training message with what a function gives."""

    def __init__(self, answer, clients=3):
        self.answer, self.clients = answer, clients

    def get_node_ids(self):
        return list(range(1, self.clients + 1))

    def send_and_receive(self, messages, *, timeout=None):
        replies = [self.answer(message, message.metadata.dst_node_id - 1) for message in messages]
        return [reply for reply in replies if reply is not None]


def guard_of(start: np.ndarray, plan: Plan, shapes=None) -> Guard:
    model = nn.Module()
    model.encoder = nn.Identity()
    layout = Layout(shapes or {"x": start.shape}, torch.from_numpy(start).dtype)
    parts = SimpleNamespace(datasets=[SimpleNamespace(split={})] * plan.clients)
    return Guard(
        SimpleNamespace(
            plan=plan, layout=layout, codec=Codec(plan.compress, layout), start=start,
            parts=parts, model=model,
        )
    )  # fmt: skip


def reply(message, client, arrays, examples=1, **metrics):
    kit = flower()
    found = kit.MetricRecord({"num-examples": examples, "client": client, "loss": 0.5, **metrics})
    records = {} if arrays is None else {"arrays": record_of(arrays)}
    return kit.Message(kit.RecordDict({**records, "metrics": found}), reply_to=message)


def run(guard: Guard, grid: Grid) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    with identity():
        guard.start(grid, guard.federation.start, found.append)
    return found


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ({"name": "fedavg"}, "fedavg"),
        (("fedavgm", "server_learning_rate", "eta", "server_momentum", "beta"), "fedavgm_global"),
        (
            ("fedavgm_b", "server_learning_rate", "eta", "server_momentum", "beta"),
            "fedavgm_b_global",
        ),
        (
            ("fedadam", "eta", "eta", "beta_1", "beta1", "beta_2", "beta2", "tau", "tau"),
            "fedadam_flower_global",
        ),
        (
            ("fedadam_b", "eta", "eta", "beta_1", "beta1", "beta_2", "beta2", "tau", "tau"),
            "fedadam_b_flower_global",
        ),
    ],
)
def test_three_rounds_are_those_of_the_reference(golden, strategy, expected):
    """Of FedAdam the reference has Flower's correction of the step, which the paper has not."""
    with np.load(golden / "fed_aggregation.npz") as file:
        values = dict(file)
    if isinstance(strategy, tuple):
        name, *pairs = strategy
        options = {o: float(values[f"{name}_{v}"]) for o, v in zip(pairs[::2], pairs[1::2])}
        strategy = {"name": name.removesuffix("_b"), **options}
    guard = guard_of(values["global_init"], Plan(3, rounds=3, strategy=strategy))

    def answer(message, client):
        sent = values["client_vectors"][guard.round.number - 1, client]
        return reply(message, client, {VECTOR: sent}, int(values["num_examples"][client]))

    found = run(guard, Grid(answer))
    np.testing.assert_allclose(np.stack(found), values[expected], **EXACT)


@pytest.mark.parametrize(("mu", "name"), [(None, "fedprox"), (0.0, "fedprox_mu0")])
def test_the_proximal_term_of_a_client_is_that_of_the_reference(golden, mu, name):
    with np.load(golden / "fed_aggregation.npz") as file:
        values = dict(file)
    mu = float(values["prox_mu"]) if mu is None else mu
    plan = Plan(3, rounds=2, strategy={"name": "fedprox", "proximal_mu": mu})
    guard = guard_of(values["prox_global_init"], plan)
    local = np.empty((2, 3, 3))

    def answer(message, client):
        assert message.content["config"]["proximal-mu"] == mu
        start = torch.from_numpy(arrays_of(message.content["arrays"])[VECTOR])
        x, y = (torch.from_numpy(values[f"prox_{part}{client}"]) for part in "xy")
        theta = nn.Parameter(start.clone())
        how = Proximal(Equal(), mu, {"theta": start})
        optimizer = torch.optim.SGD([theta], lr=float(values["prox_lr"]))
        for _ in range(int(values["prox_local_steps"])):
            losses = {"supervised": 0.5 * (x @ theta - y) ** 2}
            step = SimpleNamespace(losses=losses, parameters={"theta": theta}, shared=["theta"])
            how.backward(step)
            optimizer.step()
        local[guard.round.number - 1, client] = theta.detach().numpy()
        return reply(message, client, {VECTOR: theta.detach().numpy().copy()}, len(x))

    found = run(guard, Grid(answer))
    np.testing.assert_allclose(local, values[f"{name}_local"], **EXACT)
    np.testing.assert_allclose(np.stack(found), values[f"{name}_global"], **EXACT)


START = np.zeros(4, dtype=np.float32)
ONES = {VECTOR: np.ones(4, dtype=np.float32)}
BAD = {
    "NaN": ({VECTOR: np.array([1, np.nan, 1, 1], dtype=np.float32)}, {}, "not finite"),
    "infinity": ({VECTOR: np.array([1, np.inf, 1, 1], dtype=np.float32)}, {}, "not finite"),
    "another shape": ({VECTOR: np.ones(5, dtype=np.float32)}, {}, r"\(5,\)"),
    "one number for all": ({VECTOR: np.ones(1, dtype=np.float32)}, {}, r"\(1,\)"),
    "another dtype": ({VECTOR: np.ones(4, dtype=np.int8)}, {}, "int8"),
    "fewer arrays": ({}, {}, "expected"),
    "more arrays": ({**ONES, "more": np.ones(1)}, {}, "more"),
    "no arrays": (None, {}, "arrays"),
    "no loss": (ONES, {"loss": float("nan")}, "'loss'"),
    "no count": (ONES, {"num-examples": float("nan")}, "num-examples"),
    "a negative count": (ONES, {"num-examples": -3}, "num-examples"),
    "several counts": (ONES, {"num-examples": [1, 2]}, "num-examples"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_reply_that_cannot_be_used_is_named_and_the_others_are_averaged(name):
    arrays, metrics, message = BAD[name]
    guard = guard_of(START, Plan(3, rounds=1))

    def answer(sent, client):
        if client == 1:
            return reply(sent, client, arrays, **{"examples": 1}, **metrics)
        return reply(sent, client, {VECTOR: np.full(4, client, dtype=np.float32)}, 1)

    (found,) = run(guard, Grid(answer))
    assert found.tolist() == [1.0] * 4  # the mean of 0 and 2
    assert guard.round.used == [0, 2]
    (problem,) = guard.round.failures.values()
    assert __import__("re").search(message, problem), problem


def test_unknown_metrics_of_one_client_do_not_end_the_round():
    guard = guard_of(START, Plan(2, rounds=1))
    run(guard, Grid(lambda m, c: reply(m, c, ONES, **({"mood": 1.0} if c else {})), 2))
    assert guard.round.used == [0, 1]


def test_a_client_that_fails_and_one_that_says_nothing_are_named():
    guard = guard_of(START, Plan(3, rounds=1))
    kit = flower()

    def answer(message, client):
        if client == 0:
            return kit.Message(kit.Error(1, "MemoryError: too large"), reply_to=message)
        return None if client == 1 else reply(message, client, ONES)

    (found,) = run(guard, Grid(answer))
    assert found.tolist() == [1.0] * 4
    assert sorted(guard.round.failures.values()) == [
        "did not reply",
        "failed: MemoryError: too large",
    ]


def test_with_too_few_replies_the_model_stays_as_it_was():
    guard = guard_of(START + 7, Plan(3, rounds=2, minimum=2))
    found = run(guard, Grid(lambda m, c: reply(m, c, ONES) if c == guard.round.number else None))
    assert [vector.tolist() for vector in found] == [[7.0] * 4] * 2


def test_clients_without_items_have_no_weight_and_are_no_failure():
    guard = guard_of(START, Plan(2, rounds=1))
    answers = ({VECTOR: START}, ONES)
    (found,) = run(guard, Grid(lambda m, c: reply(m, c, answers[c], examples=c), 2))
    assert found.tolist() == [1.0] * 4 and not guard.round.failures


NORM = {"weight": (1,), "norm.running_mean": (1,), "norm.running_var": (1,)}


@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam"])
def test_running_statistics_are_averaged_where_the_server_takes_steps(strategy):
    """With momentum, or a step of Adam, a falling variance would become negative."""
    guard = guard_of(np.array([1, 5, 5], np.float32), Plan(2, rounds=3, strategy=strategy), NORM)
    sent = np.array([[0, 0, 0.1], [0, 4, 0.4]], dtype=np.float32)
    found = run(guard, Grid(lambda m, c: reply(m, c, {VECTOR: sent[c]}, examples=c + 1), 2))
    for vector in found:
        np.testing.assert_allclose(vector[1:], [8 / 3, 0.3], rtol=1e-6)
    assert len({float(vector[0]) for vector in found}) == 3  # weights are stepped


def test_a_change_that_is_rounded_makes_no_variance_negative():
    start = np.array([0.06, 20.0], dtype=np.float32)
    guard = guard_of(start, Plan(1, rounds=1, compress="int8"), {"norm.running_var": (2,)})
    sent = {VECTOR: np.array([-1, -127], np.int8), SCALES: np.array([10 / 127], np.float32)}
    (found,) = run(guard, Grid(lambda m, c: reply(m, c, sent, error=0.0), 1))
    np.testing.assert_allclose(found, [0, 10], rtol=1e-6)


@pytest.mark.parametrize("compress", ["float16", "int8"])
def test_infinity_stays_infinite_when_it_is_compressed(compress):
    guard = guard_of(START, Plan(2, rounds=1, compress=compress))
    change = [np.array([1, value, 1, 1], dtype=np.float32) for value in (1, np.inf)]
    sent = [guard.codec.encode(vector) for vector in change]
    (found,) = run(guard, Grid(lambda m, c: reply(m, c, sent[c], error=0.0), 2))
    np.testing.assert_allclose(found, [1] * 4, rtol=1e-6)
    assert "not finite" in next(iter(guard.round.failures.values()))


@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam"])
def test_a_strategy_steps_on_from_its_state_bit_for_bit(strategy):
    rng = np.random.default_rng(0)
    sent = rng.normal(size=(4, 3, 4)).astype(np.float32)

    def grid(guard):
        return Grid(lambda m, c: reply(m, c, {VECTOR: sent[guard.round.number - 1, c]}))

    whole = guard_of(START, Plan(3, rounds=4, strategy=strategy))
    expected = run(whole, grid(whole))
    first = guard_of(START, Plan(3, rounds=2, strategy=strategy))
    middle = run(first, grid(first))[-1]
    second = guard_of(middle, Plan(3, rounds=4, strategy=strategy))
    second.done = 2
    second.restore(first.state())
    assert all(np.array_equal(a, b) for a, b in zip(run(second, grid(second)), expected[2:]))
    assert expected[-1].dtype == np.float32


def test_a_share_of_clients_is_drawn_by_the_seed_and_rounded_up():
    def drawn(seed):
        guard, rounds = guard_of(START, Plan(10, rounds=3, fraction=0.25, seed=seed)), []
        run(guard, Grid(lambda m, c: (rounds.append(c), reply(m, c, ONES))[1], 10))
        return rounds

    assert len(drawn(0)) == 9 and drawn(0) == drawn(0) != drawn(1)
    assert len({tuple(drawn(0)[i : i + 3]) for i in (0, 3, 6)}) > 1


@pytest.mark.parametrize("compress", ["float16", "int8"])
def test_changes_below_the_rounding_of_the_model_add_up(compress):
    """What is sent is the change: rounded to the model's own levels, it would vanish."""
    start = np.array([1000.0, 1.0, -3.0, 0.5], dtype=np.float32)
    guard = guard_of(start, Plan(2, rounds=10, compress=compress))
    change = np.array([0.1, 0.01, 0.1, 0.01], dtype=np.float32)
    first, second = (guard.codec.encode(vector)[VECTOR] for vector in (start, start + change))
    assert first[0] == second[0]
    sent = guard.codec.encode(change)
    found = run(guard, Grid(lambda m, c: reply(m, c, sent), 2))[-1]
    np.testing.assert_allclose(found, start + 10 * change, rtol=0, atol=10 * 0.1 / 254 + 1e-3)
    assert 0 < guard.round.compression["down"] < 0.01


def test_bytes_are_those_of_the_messages():
    guard = guard_of(START, Plan(2, rounds=1))
    run(guard, Grid(lambda m, c: reply(m, c, ONES), 2))
    few = guard.round.up, guard.round.down
    large = np.zeros(100_000, dtype=np.float32)
    guard = guard_of(large, Plan(2, rounds=1))
    run(guard, Grid(lambda m, c: reply(m, c, {VECTOR: large}), 2))
    for more, less in zip((guard.round.up, guard.round.down), few):
        assert more - less == pytest.approx(2 * 4 * (100_000 - 4), rel=0.01)
