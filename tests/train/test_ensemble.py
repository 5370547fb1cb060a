"""Ensembles: members, their mean and spread, run folder, resume, command line."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch

import gtl
from gtl.catalog import ENCODERS
from gtl.cli import main
from gtl.data.dataset import Dataset
from gtl.errors import CheckpointError, ConfigError
from gtl.metrics import score
from gtl.train import loop
from gtl.train.ensemble import Ensemble, mean_output
from gtl.train.members import member_seeds

GIN = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.1}
QUICK = {"epochs": 2, "batch_size": 10, "seed": 3}


def regression(shapes):
    labels = torch.randn(60, 2, generator=torch.Generator().manual_seed(0)) * 5 + 20
    return Dataset("test:values", shapes.graphs, labels=labels, split=shapes.split, metric="rmse")


def same(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# -- the mean ------------------------------------------------------------------------------------


def test_the_mean_of_binary_outputs_is_that_of_the_probabilities():
    each = torch.randn(7, 3, 2).double() * 5
    torch.testing.assert_close(mean_output(each, "binary").sigmoid(), each.sigmoid().mean(1))


def test_the_mean_of_classes_is_that_of_the_probabilities():
    each = torch.randn(7, 3, 4).double() * 5
    torch.testing.assert_close(mean_output(each, "multiclass").softmax(1), each.softmax(2).mean(1))


def test_the_mean_of_certain_members_is_finite():
    each = torch.tensor([[[200.0], [300.0]], [[-900.0], [-200.0]]])
    assert bool(mean_output(each, "binary").isfinite().all())


# -- the members ---------------------------------------------------------------------------------


def test_seeds_of_members_are_distinct_and_the_first_is_that_of_the_run():
    seeds = [seed for first in range(20) for seed in member_seeds(first, 5)]
    assert len(set(seeds)) == 100
    assert [member_seeds(first, 5)[0] for first in range(20)] == list(range(20))


@pytest.mark.parametrize("auxiliary", [(), ["infomax"]])
def test_each_member_is_a_run_with_its_own_seed(shapes, auxiliary):
    how = {"auxiliary": auxiliary, "weighting": {"name": "aux_ts", "auxiliary_weight": 0.3}}
    ensemble = gtl.finetune(GIN, shapes, members=3, **how, **QUICK)
    for member, seed in zip(ensemble.models, member_seeds(3, 3)):
        alone = gtl.finetune(GIN, shapes, **how, **{**QUICK, "seed": seed})
        assert same(member, alone)
    values = [found["seed"] for found in ensemble.results["members"]]
    assert values == member_seeds(3, 3)


def test_members_start_from_the_same_instance_which_the_first_trains_in_place(shapes):
    torch.manual_seed(1)
    encoder = ENCODERS.build(GIN, shapes.schema)
    start = copy.deepcopy(encoder)
    ensemble = gtl.finetune(encoder, shapes, members=2, **QUICK)
    assert ensemble.models[0].encoder is encoder
    other = {**QUICK, "seed": member_seeds(3, 2)[1]}
    assert same(ensemble.models[1], gtl.finetune(start, shapes, **other))


@pytest.mark.parametrize("adapter", ["film", []])
def test_members_with_adapters_have_the_same_pretrained_encoder(shapes, tmp_path, adapter):
    run = gtl.pretrain(GIN, shapes, ["infomax"], epochs=1)
    options = {"adapter": adapter, "out": tmp_path / "run", **QUICK}
    ensemble = gtl.finetune(run, shapes, members=2, **options)
    one, two = (member.encoder for member in ensemble.models)
    assert same(one.base, run.encoder)
    assert same(two.base, run.encoder)
    expected = gtl.predict(ensemble, shapes)
    assert torch.equal(gtl.predict(gtl.Model.load(tmp_path / "run"), shapes), expected)


# -- mean and spread -----------------------------------------------------------------------------


def test_prediction_and_spread_are_mean_and_deviation_of_the_members(shapes):
    for data in (shapes, regression(shapes)):
        ensemble = gtl.finetune(GIN, data, members=3, **QUICK)
        each = torch.stack([gtl.predict(member, data) for member in ensemble.models])
        found = gtl.predict(ensemble, data, spread=True)
        torch.testing.assert_close(found.mean, each.mean(0))
        torch.testing.assert_close(found.std, each.std(0), atol=1e-5, rtol=1e-4)
        assert torch.equal(gtl.predict(ensemble, data), found.mean)
        assert float(found.std.min()) > 0


def test_nodes_and_classes_have_ensembles_too(communities):
    ensemble = gtl.finetune("gcn", communities, members=2, epochs=3)
    each = torch.stack([gtl.predict(member, communities) for member in ensemble.models])
    torch.testing.assert_close(gtl.predict(ensemble, communities), each.mean(0))
    assert gtl.embed(ensemble, communities).shape == (60, 128)
    part = gtl.predict(ensemble, communities, "test", batch_size=7)
    torch.testing.assert_close(part, each.mean(0)[communities.split["test"]])


def test_one_model_has_no_spread(shapes):
    model = gtl.finetune(GIN, shapes, **QUICK)
    with pytest.raises(ConfigError, match=r"`spread` needs several models; .*members=5"):
        gtl.predict(model, shapes, spread=True)


def test_an_ensemble_is_a_model(shapes):
    ensemble = gtl.finetune(GIN, shapes, members=2, **QUICK)
    graph = shapes.batch(torch.arange(5))
    torch.testing.assert_close(ensemble(graph).sigmoid(), gtl.predict(ensemble, shapes)[:5])
    assert ensemble.embed(graph).shape == (5, 16)
    assert not ensemble.training
    layers = ensemble.encoder.layers(graph)
    assert torch.equal(layers[-1], ensemble.encoder(graph))


# -- run folder ----------------------------------------------------------------------------------


def test_results_are_those_of_the_mean_and_name_the_members(shapes, tmp_path):
    ensemble = gtl.finetune(GIN, shapes, members=3, out=tmp_path / "run", **QUICK)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    mean = torch.stack([gtl.predict(member, shapes) for member in ensemble.models]).mean(0)
    for split in ("valid", "test"):
        items = shapes.split[split]
        value = score("rocauc", shapes.labels[items].numpy(), mean[items].double().numpy())
        assert results[split] == pytest.approx(value)
    own = json.loads((tmp_path / "run" / "members" / "2" / "results.json").read_text())
    assert results["members"][2]["test"] == own["test"]
    assert results["footprint"]["parameters_total"] == 3 * own["footprint"]["parameters_total"]


def test_a_loaded_and_a_saved_ensemble_predict_the_same(shapes, tmp_path):
    ensemble = gtl.finetune(GIN, shapes, members=2, out=tmp_path / "run", **QUICK)
    expected = gtl.predict(ensemble, shapes, spread=True)
    ensemble.save(tmp_path / "copy")
    for name in ("run", "copy"):
        again = gtl.load_run(tmp_path / name)
        assert isinstance(again, Ensemble)
        found = gtl.predict(again, shapes, spread=True)
        assert torch.equal(found.mean, expected.mean)
        assert torch.equal(found.std, expected.std)
        assert gtl.evaluate(again, shapes)["rocauc"] == ensemble.results["test"]
    ensemble.models[0].save(tmp_path / "first")
    assert not isinstance(gtl.Model.load(tmp_path / "first"), Ensemble)


def test_an_ensemble_is_resumed_where_it_was_interrupted(shapes, tmp_path, monkeypatch):
    original, started = loop.train_on_batches, []

    def failing(job, epoch, progress):
        started.append(epoch)
        if len(started) == 4:  # the second epoch of the second member
            raise KeyboardInterrupt
        return original(job, epoch, progress)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "train_on_batches", failing)
        with pytest.raises(KeyboardInterrupt):
            gtl.finetune(GIN, shapes, members=3, out=tmp_path / "run", **QUICK)
    with pytest.raises(CheckpointError, match="interrupted before all of its members were trained"):
        gtl.Model.load(tmp_path / "run")
    resumed = gtl.finetune(GIN, shapes, members=3, out=tmp_path / "run", resume=True, **QUICK)
    assert same(resumed, gtl.finetune(GIN, shapes, members=3, **QUICK))


def test_a_single_run_grows_to_an_ensemble(shapes, tmp_path):
    gtl.finetune(GIN, shapes, out=tmp_path / "run", **QUICK)
    grown = gtl.finetune(GIN, shapes, out=tmp_path / "run", members=2, resume=True, **QUICK)
    assert same(grown, gtl.finetune(GIN, shapes, members=2, **QUICK))


def test_the_report_counts_an_ensemble_as_one_run(shapes, tmp_path):
    for seed in (0, 1):
        options = {**QUICK, "seed": seed, "members": 2}
        gtl.finetune(GIN, shapes, out=tmp_path / f"run-{seed}", **options)
    found = gtl.report.report(tmp_path)
    assert len(pd.read_csv(next(file for file in found.files if file.name == "runs.csv"))) == 2


def test_the_command_line_writes_the_spread(tmp_path, capsys):
    job = ["finetune", "--data", "demo:shapes", "--encoder", json.dumps(GIN), "--epochs", "1"]
    run, table = str(tmp_path / "run"), str(tmp_path / "table.csv")
    assert main([*job, "--members", "2", "--out", run]) == 0
    assert "(2 members)" in capsys.readouterr().out
    assert main(["predict", run, "--out", table]) == 0
    columns = list(pd.read_csv(table).columns)
    assert columns[-1] == f"spread of {columns[-2]}"
    assert main(["evaluate", run]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])["rocauc"]
    assert value == json.loads((tmp_path / "run" / "results.json").read_text())["test"]
    again = str(tmp_path / "again")
    assert main(["finetune", "--config", f"{run}/config.json", "--out", again]) == 0
    assert isinstance(gtl.Model.load(again), Ensemble)


@pytest.mark.parametrize("members", [0, -1, 2.0, True])
def test_another_number_of_members_is_refused(shapes, tmp_path, members):
    with pytest.raises(ConfigError, match=f"`members` is {members}, expected a whole number"):
        gtl.finetune(GIN, shapes, members=members, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
