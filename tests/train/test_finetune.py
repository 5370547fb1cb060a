"""Pre-training and fine-tuning: the whole job, its run folder, resuming and bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch

import gtl
from gtl.data.dataset import Dataset
from gtl.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    GtlError,
    GtlWarning,
    UnknownPartError,
)
from gtl.train import loop
from gtl.weightings.aux_ts import AuxTS
from gtl.weightings.ol_aux import OLAux
from gtl.weightings.slgrad import SLGrad

GIN = {"name": "gin", "width": 16, "depth": 2}
AUXILIARY = ["attribute_masking", "edge_prediction", "infomax"]
QUICK = {"epochs": 2, "batch_size": 8}


def _lines(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def _same_weights(one, other):
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_small_model_overfits(shapes):
    encoder = {"name": "gin", "width": 32, "depth": 3}
    model = gtl.finetune(encoder, shapes, epochs=40, lr=5e-3, batch_size=0)
    assert model.history[-1]["losses"]["supervised"] < 0.01


def test_pretraining_lowers_every_loss(shapes):
    run = gtl.pretrain(
        GIN,
        shapes,
        ["attribute_masking", "edge_prediction", "context_prediction", "infomax"],
        epochs=15,
        batch_size=20,
    )
    first, last = run.history[0]["losses"], run.history[-1]["losses"]
    assert set(first) == {"attribute_masking", "edge_prediction", "context_prediction", "infomax"}
    for name in first:
        assert last[name] < first[name], name


def test_fine_tuning_goes_on_from_a_pretrained_encoder_without_changing_it(shapes):
    run = gtl.pretrain(GIN, shapes, ["attribute_masking"], **QUICK)
    before = {key: value.clone() for key, value in run.encoder.state_dict().items()}
    gtl.finetune(run, shapes, auxiliary=["attribute_masking"], **QUICK)
    after = run.encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_trained_tasks_are_taken_over_by_fine_tuning(shapes):
    run = gtl.pretrain(GIN, shapes, ["attribute_masking"], epochs=20, batch_size=10)
    warm = gtl.finetune(run, shapes, auxiliary=["attribute_masking"], epochs=1, lr=1e-6)
    cold = gtl.finetune(run.encoder, shapes, auxiliary=["attribute_masking"], epochs=1, lr=1e-6)
    assert (
        warm.history[0]["losses"]["attribute_masking"]
        < cold.history[0]["losses"]["attribute_masking"]
    )


@pytest.mark.parametrize("weighting", ["equal", "random_fixed", "gcs", "aux_ts"])
def test_same_seed_gives_the_same_run_bit_for_bit(shapes, tmp_path, weighting):
    models = [
        gtl.finetune(
            {**GIN, "dropout": 0.2},
            shapes,
            auxiliary=AUXILIARY,
            weighting=weighting,
            out=tmp_path / name,
            **QUICK,
        )
        for name in "ab"
    ]
    assert _lines(tmp_path / "a") == _lines(tmp_path / "b")
    assert _same_weights(*models)


def test_another_seed_gives_another_run(shapes):
    models = [gtl.finetune(GIN, shapes, seed=seed, **QUICK) for seed in (0, 1)]
    assert not _same_weights(*models)


def test_a_run_does_not_disturb_the_callers_random_numbers(shapes):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gtl.finetune(GIN, shapes, **QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_the_run_folder_holds_all_that_is_promised(shapes, tmp_path):
    model = gtl.finetune(GIN, shapes, auxiliary=AUXILIARY, out=tmp_path / "run", **QUICK)
    folder = tmp_path / "run"
    config = json.loads((folder / "config.json").read_text())
    assert config["encoder"] == GIN and config["seed"] == 0 and config["data_checksum"]
    assert "torch" in config["versions"]
    for line in _lines(folder):
        assert set(line) == {"epoch", "losses", "weights", "consistency", "valid"}
        assert set(line["losses"]) == set(line["weights"]) == {"supervised", *AUXILIARY}
        assert set(line["consistency"]) == set(AUXILIARY)
    results = json.loads((folder / "results.json").read_text())
    assert results == model.results
    cost = results["footprint"]
    assert set(cost["parts"]) == {"encoder", "supervised", *AUXILIARY}
    assert cost["checkpoint_bytes"] > cost["stored_bytes"] > 0 and cost["seconds"] > 0
    for name in ("learning_curves", "weights", "consistency"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 5000
    assert (folder / "checkpoint.json").exists()


def test_a_saved_model_answers_as_the_one_in_memory(shapes, tmp_path):
    model = gtl.finetune(
        {**GIN, "jk": "concat"}, shapes, readout="attention", out=tmp_path / "run", **QUICK
    )
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(model, shapes), gtl.predict(again, shapes))
    assert gtl.evaluate(again, shapes)["rocauc"] == model.results["test"]


def test_a_saved_pretraining_run_is_a_place_to_start_from(shapes, tmp_path):
    run = gtl.pretrain(GIN, shapes, ["infomax"], out=tmp_path / "pre", **QUICK)
    from_memory = gtl.finetune(run, shapes, auxiliary=["infomax"], **QUICK)
    from_disk = gtl.finetune(str(tmp_path / "pre"), shapes, auxiliary=["infomax"], **QUICK)
    assert _same_weights(from_memory, from_disk)


def test_the_best_epoch_on_validation_data_is_kept(shapes):
    model = gtl.finetune(GIN, shapes, epochs=6, batch_size=8, lr=0.05)
    valid = [line["valid"] for line in model.history]
    assert model.results["valid"] == max(valid)
    assert model.results["epoch"] == valid.index(max(valid))
    assert gtl.evaluate(model, shapes, "valid")["rocauc"] == max(valid)


def test_node_level_targets_train_on_the_whole_graph(communities):
    model = gtl.finetune(
        {"name": "gcn", "width": 16, "depth": 2},
        communities,
        auxiliary=AUXILIARY,
        epochs=100,
        lr=0.01,
    )
    assert gtl.evaluate(model, communities)["acc"] > 0.7
    assert gtl.predict(model, communities).shape == (60, 3)


def test_regression_predicts_in_the_unit_of_the_labels(shapes):
    sizes = (shapes.graphs.node_offsets[1:] - shapes.graphs.node_offsets[:-1]).float()
    labels = (1000 + 10 * sizes).unsqueeze(1)
    split = {"train": shapes.split["train"]}
    data = Dataset("test:sizes", shapes.graphs, labels=labels, split=split)
    assert data.kind == "regression" and data.metric == "rmse"
    model = gtl.finetune(GIN, data, readout="sum", epochs=40, lr=0.01, batch_size=8)
    assert gtl.evaluate(model, data, "train")["rmse"] < 5
    assert 1000 < float(gtl.predict(model, data).mean()) < 1100


def test_missing_labels_are_left_out(shapes):
    labels = torch.cat(
        [shapes.labels, 1 - shapes.labels, torch.full_like(shapes.labels, torch.nan)], 1
    )
    labels[::3, 1] = torch.nan
    data = Dataset("test:holes", shapes.graphs, labels=labels, split=shapes.split)
    with pytest.warns(GtlWarning, match="no training item has the label column 2"):
        model = gtl.finetune(GIN, data, auxiliary=["infomax"], epochs=5, batch_size=8)
    assert model.results["test"] is not None
    assert gtl.predict(model, data).shape == (60, 3)


def test_a_meta_split_judges_the_look_ahead(shapes):
    model = gtl.finetune(GIN, shapes, auxiliary=["infomax"], meta_share=0.3, **QUICK)
    assert model.history[-1]["weights"]["infomax"] > 0


def test_a_task_may_bring_data_of_its_own(shapes):
    from gtl.tasks import Infomax

    other = Dataset("test:other", shapes.graphs.subset(torch.arange(20)))
    model = gtl.finetune(GIN, shapes, auxiliary=[Infomax().on(other)], **QUICK)
    assert "infomax" in model.history[-1]["losses"]


def test_the_same_task_twice_gets_two_names(shapes):
    model = gtl.finetune(GIN, shapes, auxiliary=["infomax", "infomax"], weighting="equal", **QUICK)
    assert set(model.history[0]["losses"]) == {"supervised", "infomax", "infomax_2"}


# -- resuming ------------------------------------------------------------------------------------


def test_an_existing_run_is_not_overwritten(shapes, tmp_path):
    gtl.finetune(GIN, shapes, out=tmp_path / "run", **QUICK)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="already holds a run"):
        gtl.finetune(GIN, shapes, out=tmp_path / "run", **QUICK)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_resuming_with_other_settings_is_refused(shapes, tmp_path):
    gtl.finetune(GIN, shapes, out=tmp_path / "run", **QUICK)
    with pytest.raises(CheckpointError, match="started with lr="):
        gtl.finetune(GIN, shapes, out=tmp_path / "run", resume=True, lr=0.5, **QUICK)


@pytest.mark.parametrize("weighting", ["equal", "aux_ts"])
def test_more_epochs_later_equal_all_epochs_at_once(shapes, tmp_path, weighting):
    settings = {"auxiliary": AUXILIARY, "weighting": weighting, "batch_size": 8}
    encoder = {**GIN, "dropout": 0.2}
    whole = gtl.finetune(encoder, shapes, epochs=4, out=tmp_path / "whole", **settings)
    gtl.finetune(encoder, shapes, epochs=2, out=tmp_path / "parts", **settings)
    parts = gtl.finetune(encoder, shapes, epochs=4, out=tmp_path / "parts", resume=True, **settings)
    assert _lines(tmp_path / "whole") == _lines(tmp_path / "parts")
    assert _same_weights(whole, parts)


def test_a_run_killed_and_resumed_ends_with_the_same_weights(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    script = tmp_path / "job.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {os.path.dirname(os.path.dirname(__file__))!r})
            from conftest import cycles_and_paths
            import gtl
            from gtl.train import loop
            loop.CHECKPOINT_SECONDS = 0.0
            gtl.finetune({ {**GIN, "dropout": 0.2}!r}, cycles_and_paths(), auxiliary={AUXILIARY!r},
                         epochs=1000, batch_size=8, out={str(tmp_path / "killed")!r})
            """
        )
    )
    process = subprocess.Popen([sys.executable, str(script)])
    metrics = tmp_path / "killed" / "candidates" / "aux_ts-auxiliary_weight=0.3" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (
        not metrics.exists() or metrics.read_text().count("\n") < 3
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = metrics.read_text().count("\n")
    assert 3 <= done < 1000
    settings = {"auxiliary": AUXILIARY, "batch_size": 8, "epochs": done + 3}
    resumed = gtl.finetune(
        {**GIN, "dropout": 0.2}, shapes, out=tmp_path / "killed", resume=True, **settings
    )
    whole = gtl.finetune({**GIN, "dropout": 0.2}, shapes, out=tmp_path / "whole", **settings)
    assert _lines(tmp_path / "killed") == _lines(tmp_path / "whole")
    assert _same_weights(resumed, whole)


# -- bad input -----------------------------------------------------------------------------------


def test_an_unknown_part_offers_the_nearest_name(shapes):
    with pytest.raises(UnknownPartError, match="did you mean 'attribute_masking'"):
        gtl.finetune(GIN, shapes, auxiliary=["atribute_masking"], **QUICK)
    with pytest.raises(UnknownPartError, match="did you mean 'gin'"):
        gtl.finetune("ginn", shapes, **QUICK)


def test_an_unknown_option_of_a_part_lists_the_known_ones(shapes):
    with pytest.raises(ConfigError, match=r"no option 'widht'.*width"):
        gtl.finetune({"name": "gin", "widht": 16}, shapes, **QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"lr": -1.0}, "lr"),
        ({"optimizer": "adagrad"}, "adamw"),
        ({"meta_share": 1.0}, "meta_share"),
    ],
)
def test_impossible_settings_are_named(shapes, change, message):
    with pytest.raises(ConfigError, match=message):
        gtl.finetune(GIN, shapes, **{**QUICK, **change})


def test_unlabeled_data_cannot_be_fine_tuned(shapes, tmp_path):
    data = Dataset("test:unlabeled", shapes.graphs)
    with pytest.raises(DataError, match="no labels"):
        gtl.finetune(GIN, data, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_an_empty_split_is_named(shapes):
    split = {**shapes.split, "train": torch.empty(0, dtype=torch.int64)}
    data = Dataset("test:empty", shapes.graphs, labels=shapes.labels, split=split)
    with pytest.raises(DataError, match="'train' is empty"):
        gtl.finetune(GIN, data, **QUICK)


def test_a_model_refuses_graphs_with_other_features(shapes, communities):
    model = gtl.finetune(GIN, shapes, **QUICK)
    with pytest.raises(DataError, match="was built for node features"):
        gtl.predict(model, communities)


def test_weightings_that_need_a_target_cannot_pretrain(shapes):
    with pytest.raises(ConfigError, match="target"):
        gtl.pretrain(GIN, shapes, ["infomax"], weighting="aux_ts", **QUICK)


def test_a_loss_that_explodes_is_reported_by_name(shapes):
    with pytest.raises(GtlError, match=r"finite.*\(lr\)"):
        gtl.finetune({**GIN, "norm": None}, shapes, optimizer="sgd", lr=1e20, epochs=5)


@pytest.mark.parametrize("kind", [AuxTS, SLGrad, OLAux])
def test_a_weighting_that_was_used_before_gives_the_run_of_a_new_one(shapes, kind):
    def trained(weighting):
        options = {"auxiliary": ["attribute_masking"], "weighting": weighting, "guard": False}
        return gtl.finetune(GIN, shapes, **options, **QUICK)

    used = kind()
    first, second = trained(used), trained(used)
    assert [line["weights"] for line in first.history] == [
        line["weights"] for line in second.history
    ]
    assert _same_weights(first, second)
