"""Federated training: its laws, clients that fail, resume, bounds and results."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import gtl
from gtl.encoders import GCN, GIN
from gtl.errors import CheckpointError, ConfigError, DataError, UnknownPartError

pytest.importorskip(
    "flwr", reason="Flower is not installed: pip install 'graph-transfer[federated]'"
)

from gtl.train.federated import outcome, server_app
from gtl.train.federated.client_app import client_app
from gtl.train.federated.division import divide
from gtl.train.federated.federation import Client
from gtl.train.federated.personal import client_model

SMALL = {"name": "gcn", "width": 8, "depth": 2, "dropout": 0.0, "input_dropout": 0.0}
QUICK = {"rounds": 2, "clients": 3, "seed": 0}


def weights(model: gtl.Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(one: gtl.Model, two: gtl.Model) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def without_valid(data: gtl.Dataset) -> gtl.Dataset:
    return replace(data, split={k: v for k, v in data.split.items() if k != "valid"})


@pytest.fixture
def failing(monkeypatch):
    """Replace what one client does in training, by a function of its number and the message."""

    def install(change):
        def changed(client_of):
            app = client_app(client_of)
            inner = app._registered_funcs["train.default"]

            def train(message, context):
                number = int(context.node_config["partition-id"])
                return change(number, message, lambda: inner(message, context))

            app._registered_funcs["train.default"] = train
            return app

        monkeypatch.setattr(outcome, "client_app", changed)

    return install


# -- laws ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", [None, "film", "parallel"])
def test_one_client_and_one_round_is_fine_tuning(communities, adapter):
    data = without_valid(communities)
    how = {"adapter": adapter, "seed": 4}
    alone = gtl.finetune(SMALL, data, epochs=5, guard=False, **how)
    found = gtl.federate(SMALL, data, clients=1, rounds=1, local_epochs=5, **how)
    for name, value in weights(found).items():  # items are added up in another order
        torch.testing.assert_close(value, weights(alone)[name], rtol=1e-5, atol=1e-6)
    assert found.results["test"] == alone.results["test"]


def test_one_client_and_several_rounds_is_plain_training(communities):
    """With an optimizer that remembers nothing; others start anew in each round."""
    data = without_valid(communities)
    how = {"weight_decay": 0.0, "lr": 0.05, "seed": 1}
    first = gtl.federate(SMALL, data, adapter=None, clients=1, rounds=1, optimizer="sgd", **how)
    start = gtl.finetune(SMALL, data, epochs=1, guard=False, optimizer="sgd", **how)
    for name, value in weights(first).items():
        torch.testing.assert_close(value, weights(start)[name], rtol=1e-5, atol=1e-6)
    graph = data.batch(data.split["train"])
    for _ in range(2):
        losses = torch.nn.functional.cross_entropy(start.train()(graph), graph.y)
        start.zero_grad()
        losses.backward()
        torch.optim.SGD(start.parameters(), lr=0.05, momentum=0.9).step()
    found = gtl.federate(SMALL, data, adapter=None, clients=1, rounds=3, optimizer="sgd", **how)
    for name, value in weights(found).items():
        torch.testing.assert_close(value, weights(start)[name], rtol=1e-5, atol=1e-6)


def test_equal_clients_are_one_client(communities):
    graph, n = communities.graph, communities.graph.num_nodes
    twice = type(graph)(
        torch.cat([graph.src, graph.src + n]),
        torch.cat([graph.dst, graph.dst + n]),
        2 * n,
        torch.cat([graph.x, graph.x]),
    )
    split = {part: torch.cat([i, i + n]) for part, i in communities.split.items()}
    labels = torch.cat([communities.labels] * 2)
    double = replace(communities, graph=twice, labels=labels, split=split)
    ids = {"name": "natural", "ids": [0] * n + [1] * n}
    how = {"rounds": 3, "local_epochs": 2, "adapter": "film"}
    one = gtl.federate(SMALL, communities, clients=1, **how)
    two = gtl.federate(SMALL, double, partition=ids, **how)
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(two)[name], value, rtol=1e-5, atol=1e-6)
    assert two.results["edges"]["cut"] == 0
    assert two.results["test"] == pytest.approx(one.results["test"])


@pytest.mark.parametrize("head", ["prototype", "gaussian", {"name": "gaussian", "kind": "qda"}])
def test_the_head_of_added_statistics_is_the_centralized_one_after_a_round(shapes, head):
    labels = shapes.labels[:, 0].long()
    data = replace(shapes, labels=labels, kind="multiclass", metric="acc")
    encoder = GIN(data.schema, width=8, depth=2)
    partition = {"name": "dirichlet", "alpha": 0.1, "least": 1}
    model = gtl.federate(
        copy.deepcopy(encoder), data, clients=4, partition=partition, adapter=[], head=head,
        rounds=1,
    )  # fmt: skip
    items = data.split["train"]
    with torch.no_grad():
        features = model.embed(data.batch(items))
    own = model.predictor.head
    again = gtl.catalog.HEADS.build(gtl.catalog.HEADS.spec(own), 8, 2).fit(features, labels[items])
    for name in ("counts", "means", "scatter"):
        one, two = getattr(own.statistics, name), getattr(again.statistics, name)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", ["prototype", {"name": "gaussian", "prior": "empirical"}])
def test_of_one_binary_label_the_head_is_fitted_to_both_classes(shapes, tmp_path, head):
    labels = shapes.labels.clone()
    items = shapes.split["train"]
    labels[items[:5]] = torch.nan
    data = replace(shapes, labels=labels)
    encoder = GIN(data.schema, width=8, depth=1)
    how = {"clients": 3, "rounds": 1, "adapter": []}
    model = gtl.federate(encoder, data, head=head, out=tmp_path / "run", **how)
    assert model.results["failures"] == 0 and model.results["valid"] is not None
    items = items[5:]
    with torch.no_grad():
        features = model.embed(data.batch(items))
        central = gtl.catalog.HEADS.build(head, 8, 2).fit(features, labels[items, 0].long())
        expected = central(features).log_softmax(1)
        found = model.predictor.head(features)
    torch.testing.assert_close(found[:, 0], expected[:, 1] - expected[:, 0], rtol=1e-3, atol=1e-3)
    loaded = gtl.load_run(tmp_path / "run")
    assert torch.equal(gtl.predict(loaded, data), gtl.predict(model, data))


@pytest.mark.parametrize("partition", ["communities", {"name": "dirichlet", "alpha": 0.1}])
def test_the_head_of_nodes_is_the_one_that_all_vectors_of_the_clients_give(communities, partition):
    """Clients have fewer edges than the whole graph, so the vectors are those that they have."""
    how = {"clients": 3, "rounds": 1, "partition": partition, "seed": 0}
    model = gtl.federate(SMALL, communities, adapter=[], head="gaussian", **how)
    vectors, labels, tests = [], [], []
    with torch.no_grad():
        for part in divide(communities, partition, 3, 0).datasets:
            items = part.split["train"]
            vectors.append(model.embed(part.batch(items)))
            labels.append(part.labels[items])
            tests.append(model.embed(part.batch(part.split["test"])))
    central = gtl.catalog.HEADS.build("gaussian", 8, 3).fit(torch.cat(vectors), torch.cat(labels))
    found = model.predictor.head
    torch.testing.assert_close(found.covariances(), central.covariances(), rtol=1e-4, atol=1e-6)
    for one in tests:
        torch.testing.assert_close(found(one), central(one), rtol=1e-4, atol=1e-4)


def test_a_head_of_statistics_alone_has_nothing_to_train(communities):
    model = gtl.federate(SMALL, communities, adapter=[], head="prototype", **QUICK)
    assert model.results["failures"] == 0 and model.results["travels"]["numbers"] == 0
    assert model.history[0]["clients"]["used"] == [0, 1, 2]
    assert model.results["test"] > 0.4


def test_statistics_of_parameters_that_do_not_move_are_sent_once(communities, monkeypatch):
    calls = []
    measure = Client.measure
    monkeypatch.setattr(Client, "measure", lambda c, v: (calls.append(c.number), measure(c, v))[1])
    model = gtl.federate(SMALL, communities, adapter=[], head="prototype", **QUICK)
    assert calls == [0, 1, 2]
    first, second = (line["bytes"] for line in model.history)
    assert first["up"] > second["up"]


def test_a_client_that_did_not_send_its_statistics_is_asked_again(communities, monkeypatch):
    calls = []

    def measured(self, vector):
        calls.append(self.number)
        if len(calls) == 1:
            raise TimeoutError("no answer")
        return measure(self, vector)

    measure = Client.measure
    monkeypatch.setattr(Client, "measure", measured)
    model = gtl.federate(SMALL, communities, adapter=[], head="prototype", **QUICK)
    assert calls == [0, 1, 2] * 2
    assert int(model.predictor.head.statistics.counts.sum()) == 15


def test_statistics_follow_an_adapter_that_is_trained(communities):
    model = gtl.federate(SMALL, communities, adapter="film", head="prototype", **QUICK)
    part = divide(communities, "iid", 3, 0)
    total = torch.zeros(3, 8)
    with torch.no_grad():
        for data in part.datasets:
            items = data.split["train"]
            vectors = model.embed(data.batch(items))
            total.index_add_(0, data.labels[items], vectors)
    counts = torch.bincount(communities.labels[communities.split["train"]], minlength=3)
    torch.testing.assert_close(
        model.predictor.head.statistics.means, total / counts[:, None], rtol=1e-4, atol=1e-5
    )


def test_low_rank_products_are_averaged_and_not_their_factors(communities):
    data = without_valid(communities)
    found = {}
    for how in ("freeze", "product", "factors"):
        model = gtl.federate(
            SMALL, data, adapter={"name": "lora", "rank": 1}, low_rank=how, **QUICK
        )
        found[how] = weights(model)
        assert ("low_rank_lost" in model.history[-1]) == (how == "product")
    downs = [name for name in found["freeze"] if ".down." in name]
    one = gtl.federate(SMALL, data, adapter={"name": "lora", "rank": 1}, rounds=1, clients=2)
    assert downs and all(torch.equal(found["freeze"][n], weights(one)[n]) for n in downs)
    assert any(not torch.equal(found["product"][n], found["factors"][n]) for n in downs)


def test_the_encoder_that_is_adapted_stays_as_it_was(communities):
    encoder = GCN(communities.schema, width=8)
    before = copy.deepcopy(encoder.state_dict())
    gtl.federate(encoder, communities, adapter="bottleneck", **QUICK)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_the_seed_decides_everything(communities):
    how = {"partition": "dirichlet", "fraction": 0.7, "drop_out": 0.3, "adapter": "film"}
    dropout = {**SMALL, "dropout": 0.5}
    one, two = (gtl.federate(dropout, communities, **{**QUICK, **how}) for _ in range(2))
    assert_same(one, two)
    other = gtl.federate(dropout, communities, **{**QUICK, **how, "seed": 1})
    assert not all(torch.equal(weights(one)[n], v) for n, v in weights(other).items())


def test_the_callers_random_numbers_are_not_disturbed(communities):
    import random

    random.seed(5), torch.manual_seed(5)
    expected = random.random(), torch.rand(1)
    random.seed(5), torch.manual_seed(5)
    gtl.federate(SMALL, communities, fraction=0.5, **QUICK)
    assert (random.random(), torch.rand(1)) == expected


# -- what is kept ----------------------------------------------------------------------------------


def test_a_local_head_stays_with_its_client_and_is_kept_from_round_to_round(communities):
    model = gtl.federate(SMALL, communities, adapter="film", share_head="local", **QUICK)
    assert model.results["travels"]["kept"] == 8 * 3 + 3
    assert model.results["whole"] is None
    assert len(model.results["clients"]["test"]) == 3


def test_the_model_of_a_client_is_the_global_one_with_what_it_kept(communities, tmp_path):
    how = {"adapter": "film", "share_head": "local", "out": tmp_path / "run"}
    found = gtl.federate(SMALL, communities, **how, **QUICK)
    parts = divide(communities, "iid", 3, 0).datasets
    for number, part in enumerate(parts):
        own = client_model(tmp_path / "run", number)
        value = gtl.evaluate(own, part, "test", allow_changed=True)["acc"]
        assert value == found.results["clients"]["test"][number]
    with pytest.raises(ConfigError, match="client 9 kept nothing"):
        client_model(tmp_path / "run", 9)


def test_batch_norms_of_one_client_are_those_of_fine_tuning(shapes):
    data, encoder = without_valid(shapes), {"name": "gin", "width": 8, "depth": 2, "dropout": 0.0}
    # Adam would make a step of each rounding error of gradients that are 0.
    how = {"adapter": None, "seed": 4, "batch_size": 0, "optimizer": "sgd"}
    alone = gtl.finetune(encoder, data, epochs=3, guard=False, **how)
    found = gtl.federate(encoder, data, clients=1, rounds=1, local_epochs=3, **how)
    for name, value in weights(found).items():
        if "num_batches" not in name:  # counts do not travel
            torch.testing.assert_close(value, weights(alone)[name], rtol=1e-4, atol=1e-5)


def test_batch_norms_that_stay_with_clients_do_not_travel(shapes):
    shared = gtl.federate({"name": "gin", "width": 8, "depth": 2}, shapes, adapter=None, **QUICK)
    local = gtl.federate(
        {"name": "gin", "width": 8, "depth": 2}, shapes, adapter=None, batch_norm="local", **QUICK
    )
    kept = local.results["travels"]["kept"]
    assert kept > 0
    assert local.results["travels"]["numbers"] == shared.results["travels"]["numbers"] - kept


def test_integer_buffers_keep_their_kind(shapes):
    model = gtl.federate({"name": "gin", "width": 8, "depth": 2}, shapes, adapter=None, **QUICK)
    counts = [v for name, v in model.state_dict().items() if "num_batches" in name]
    assert counts and all(count.dtype == torch.int64 for count in counts)


# -- clients that fail -----------------------------------------------------------------------------


def test_a_client_that_raises_is_named_and_the_others_go_on(communities, failing):
    def change(number, message, train):
        if number == 1:
            raise MemoryError("too large a graph")
        return train()

    failing(change)
    model = gtl.federate(SMALL, communities, **QUICK)
    for line in model.history:
        assert line["clients"]["used"] == [0, 2]
        assert "MemoryError: too large a graph" in str(line["clients"]["failures"])
    assert model.results["failures"] == 2


def test_a_client_that_says_nothing_is_left_out(communities, failing):
    failing(lambda number, message, train: None if number == 2 else train())
    model = gtl.federate(SMALL, communities, **QUICK)
    assert model.results["failures"] == 2
    assert all(line["clients"]["used"] == [0, 1] for line in model.history)


def test_lost_clients_are_lost_as_often_as_wanted(communities):
    model = gtl.federate(
        SMALL, communities, clients=5, rounds=20, drop_out=0.4, adapter="film", seed=0
    )
    assert model.results["failures"] == pytest.approx(40, abs=20)


def test_without_new_statistics_a_head_keeps_its_former_ones(communities, monkeypatch):
    calls = []

    def measured(self, vector):
        calls.append(self.number)
        if len(calls) > 6:
            raise TimeoutError("no answer")
        return measure(self, vector)

    measure = Client.measure
    monkeypatch.setattr(Client, "measure", measured)
    model = gtl.federate(SMALL, communities, head="prototype", adapter="film", **QUICK)
    assert len(calls) == 9  # before the first round, and after both
    assert "TimeoutError" in str(model.history[1]["clients"]["failures"])
    assert int(model.predictor.head.statistics.counts.sum()) == 15


def test_a_round_without_enough_replies_changes_nothing(communities, failing):
    failing(lambda number, message, train: train() if number == 0 else None)
    model = gtl.federate(SMALL, communities, minimum=2, **QUICK)
    values = [line["valid"] for line in model.history]
    assert values[0] == values[1]
    assert all(line["losses"]["supervised"] is None for line in model.history)


# -- run folders -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        {"strategy": "fedadam", "adapter": "film", "fraction": 0.7, "drop_out": 0.2},
        {"strategy": "fedavgm", "adapter": "bottleneck", "compress": "int8"},
        {"adapter": "film", "share_head": "local"},
        {"adapter": "film", "head": "gaussian"},
    ],
)
def test_a_killed_server_resumes_bit_for_bit(communities, tmp_path, monkeypatch, how):
    how = {"clients": 4, "rounds": 4, "seed": 2, **how}
    encoder = {**SMALL, "dropout": 0.5}
    whole = gtl.federate(encoder, communities, out=tmp_path / "whole", **how)
    line_of, lines = server_app.line_of, []

    def killed(found, seconds):
        if len(lines) == 2:
            raise KeyboardInterrupt
        lines.append(found.number)
        return line_of(found, seconds)

    monkeypatch.setattr(server_app, "line_of", killed)
    with pytest.raises(KeyboardInterrupt):
        gtl.federate(encoder, communities, out=tmp_path / "killed", **how)
    monkeypatch.setattr(server_app, "line_of", line_of)
    again = gtl.federate(encoder, communities, out=tmp_path / "killed", resume=True, **how)
    assert_same(whole, again)
    plain = [[{**line, "seconds": 0} for line in run.history] for run in (whole, again)]
    assert plain[0] == plain[1] and len(plain[0]) == 4
    for name in ("valid", "test", "clients", "bytes"):
        assert whole.results[name] == again.results[name]


def test_more_rounds_go_on_from_the_last_one(communities, tmp_path):
    how = {"clients": 3, "adapter": "film", "seed": 0}
    whole = gtl.federate(SMALL, communities, rounds=3, **how)
    gtl.federate(SMALL, communities, rounds=1, out=tmp_path / "run", **how)
    more = gtl.federate(SMALL, communities, rounds=3, out=tmp_path / "run", resume=True, **how)
    assert_same(whole, more)


def test_another_partition_is_another_run(communities, tmp_path):
    gtl.federate(SMALL, communities, out=tmp_path / "run", **QUICK)
    with pytest.raises(CheckpointError, match="partition="):
        gtl.federate(
            SMALL, communities, partition="dirichlet", out=tmp_path / "run", resume=True, **QUICK
        )


def test_a_run_folder_holds_the_global_model_and_the_plot(communities, tmp_path):
    model = gtl.federate(SMALL, communities, adapter="film", out=tmp_path / "run", **QUICK)
    loaded = gtl.load_run(tmp_path / "run")
    assert isinstance(loaded, gtl.Model)
    assert torch.equal(gtl.predict(loaded, communities), gtl.predict(model, communities))
    whole = gtl.evaluate(tmp_path / "run", communities, "test")["acc"]
    assert whole == model.results["whole"]
    assert (tmp_path / "run" / "plots" / "bytes.png").stat().st_size > 5000
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["bytes"]["training"] == results["bytes"]["up"] + results["bytes"]["down"] > 0
    assert results["footprint"]["communicated_bytes"] == results["bytes"]["training"]


def test_a_report_compares_federated_runs_with_fine_tuning(communities, tmp_path):
    from gtl.report import report

    gtl.federate(SMALL, communities, adapter="film", out=tmp_path / "a", **QUICK)
    how = {"epochs": 2, "guard": False, "seed": 0}
    gtl.finetune(SMALL, communities, adapter="film", out=tmp_path / "b", **how)
    text = str(report(tmp_path))
    assert "difference to target only" in text and "\nfederated" in text


# -- results ---------------------------------------------------------------------------------------


def test_the_test_value_is_that_of_all_clients_together(communities):
    found = gtl.federate(SMALL, communities, **QUICK).results
    counts, values = (np.array(found["clients"][key]) for key in ("test_items", "test"))
    assert counts.sum() == len(communities.split["test"])
    assert found["test"] == pytest.approx((counts * values).sum() / counts.sum())
    assert found["clients"]["worst"] == values.min()


def test_bounds_are_trainings_of_the_same_length(communities):
    how = {"rounds": 3, "adapter": "film", "seed": 0}
    found = gtl.federate(SMALL, communities, clients=3, bounds=True, **how).results
    alone = gtl.federate(SMALL, communities, clients=1, **how).results
    assert found["bounds"]["centralized"] == alone["test"]
    part = divide(communities, "iid", 3, 0).datasets[1]
    own = gtl.federate(SMALL, part, clients=1, **how).results
    assert found["bounds"]["clients"][1] == own["test"]


def test_fewer_bytes_travel_with_an_adapter_and_with_compression(communities):
    def sent(**how):
        encoder = {**SMALL, "width": 128, "last_linear": True}
        return gtl.federate(encoder, communities, **{**QUICK, **how}).results["bytes"]["training"]

    whole, film = sent(adapter=None), sent(adapter="film")
    assert film < whole / 5
    assert whole / 3 < sent(adapter=None, compress="float16") < whole / 1.8
    assert sent(adapter=None, compress="int8") < whole / 3


def test_the_error_of_compression_is_measured(communities):
    model = gtl.federate(SMALL, communities, compress="int8", **QUICK)
    for line in model.history:
        assert 0 < line["compression"]["up"] < 0.05 and 0 < line["compression"]["down"] < 0.05


def test_labels_of_several_columns_and_values_are_learned_too(shapes):
    several = torch.cat([shapes.labels, 1 - shapes.labels], 1)
    model = gtl.federate("gin", replace(shapes, labels=several), adapter="film", **QUICK)
    assert model.results["metric"] == "rocauc" and model.results["test"] is not None
    values = torch.randn(60, 1, generator=torch.Generator().manual_seed(0))
    data = replace(shapes, labels=values, kind="regression", metric="rmse")
    assert gtl.federate("gin", data, adapter="film", **QUICK).results["test"] > 0


def test_many_clients_without_a_value_are_told_of_in_one_line_each(shapes, caplog):
    few = replace(shapes, split={part: items[:6] for part, items in shapes.split.items()})
    how = {"clients": 15, "rounds": 2, "adapter": "film"}
    found = gtl.federate({"name": "gin", "width": 4, "depth": 1}, few, **how).results
    (idle, tests, last) = [record.message for record in caplog.records]
    empty = sum(not count for count in found["clients"]["training_items"])
    assert idle.startswith(f"{empty} of 15 clients have no labeled training item")
    each = zip(found["clients"]["test_items"], found["clients"]["test"])
    without = sum(count > 0 and value is None for count, value in each)
    assert tests.startswith(f"rocauc is undefined on the test items of {without} of 15 clients")
    assert last.endswith("so the last round is kept; use another metric, or fewer clients")
    assert found["epoch"] == 1 and found["valid"] is None


def test_where_all_clients_fail_nothing_was_trained(communities, failing, caplog):
    def change(number, message, train):
        raise MemoryError("too large a graph")

    failing(change)
    gtl.federate(SMALL, communities, **QUICK)
    said = caplog.records[-1].message
    assert said.startswith("nothing was trained: no round had enough usable replies (1)")
    assert re.search(r"first failure: client \d failed: MemoryError: too large a graph$", said)


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"strategy": "fedsgd"}, UnknownPartError, "unknown strategy"),
        ({"partition": "random"}, UnknownPartError, "unknown partition"),
        ({"adapter": "filmm"}, UnknownPartError, "film"),
        ({"compress": "int4"}, ConfigError, "compress"),
        ({"share_head": "statistics"}, ConfigError, "prototype"),
        ({"adapter": [], "share_head": "local"}, ConfigError, "nothing travels"),
        ({"minimum": 4}, ConfigError, "minimum"),
        ({"rounds": 0}, ConfigError, "rounds"),
        ({"clients": 0}, ConfigError, "`clients` is 0"),
        ({"local_epochs": 0}, ConfigError, "local_epochs|epochs"),
        ({"clients": 2.5}, ConfigError, "`clients` is 2.5, expected a whole number"),
        ({"strategy": {"name": "fedprox", "proximal_mu": "a"}}, ConfigError, "`proximal_mu`"),
        ({"strategy": {"name": "fedprox", "proximal_mu": -1}}, ConfigError, "`proximal_mu`"),
        ({"strategy": {"name": "fedadam", "eta": "x"}}, ConfigError, "`eta` is 'x'"),
        ({"strategy": {"name": "fedadam", "tau": 0}}, ConfigError, "`tau` is 0"),
        ({"strategy": {"name": "fedavgm", "server_momentum": 1}}, ConfigError, "a share"),
        ({"partition": {"name": "dirichlet", "alpha": "x"}}, ConfigError, "`alpha` is 'x'"),
        ({"partition": {"name": "shards", "per_client": 1.5}}, ConfigError, "a whole number"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    communities, tmp_path, how, error, message
):
    with pytest.raises(error, match=message):
        gtl.federate(SMALL, communities, out=tmp_path / "run", **{**QUICK, **how})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("kind", "metric"), [("binary", "rocauc"), ("regression", "rmse")])
def test_statistics_need_one_class_an_item(shapes, tmp_path, kind, metric):
    several = torch.cat([shapes.labels, 1 - shapes.labels], 1)
    data = replace(shapes, labels=several, kind=kind, metric=metric)
    with pytest.raises(ConfigError, match=f"'gaussian' .* has 2 {kind} label columns.*'linear'"):
        gtl.federate("gin", data, head="gaussian", out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_class_that_no_client_has_is_named(communities):
    items = communities.split["train"]
    rest = items[communities.labels[items] != 1]
    data = replace(communities, split={**communities.split, "train": rest})
    with (
        pytest.raises(DataError, match=r"no client that replied has samples of the classes \[1\]"),
        pytest.warns(gtl.errors.GtlWarning),
    ):
        gtl.federate(SMALL, data, head="prototype", **QUICK)
