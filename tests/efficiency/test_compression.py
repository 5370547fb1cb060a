"""A compression writes a run folder that every verb reads, with both ends measured."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest
import torch

import gtl
from gtl import cli
from gtl.catalog import ENCODERS
from gtl.efficiency import command
from gtl.efficiency.student import usual_student
from gtl.errors import CheckpointError, ConfigError, UnknownPartError
from gtl.report import report
from gtl.report.reproduce import command as repeats
from gtl.report.runs import find_runs

GIN = {"name": "gin", "width": 16, "depth": 2}
QUICK = {"epochs": 2, "batch_size": 16, "lr": 0.01}
METHODS = {
    "int8": "int8",
    "prune": {"name": "prune", "keep": 0.5},
    "low_rank": {"name": "low_rank", "energy": 0.6},
    "distill": {"name": "distill", "student": {"name": "gin", "width": 8, "depth": 1}, "epochs": 2},
    "recipe": [{"name": "prune", "keep": 0.5}, {"name": "finetune", "epochs": 2}, "int8"],
    "factors, then trained": [
        {"name": "low_rank", "energy": 0.6},
        {"name": "finetune", "epochs": 1, "teacher": False},
    ],
}


@pytest.fixture
def run(shapes, tmp_path):
    """A fine-tuned run and its folder."""
    model = gtl.finetune(GIN, shapes, out=tmp_path / "run", **QUICK)
    return model, tmp_path / "run"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_writes_a_folder_that_reloads_and_evaluates(shapes, run, tmp_path, name):
    before, folder = run
    small = gtl.compress(folder, shapes, method=METHODS[name], out=tmp_path / "small")
    loaded = gtl.Model.load(tmp_path / "small")
    expected = gtl.predict(small, shapes)
    assert torch.equal(gtl.predict(tmp_path / "small", shapes), expected)
    assert torch.equal(gtl.predict(loaded, shapes), expected)
    results = json.loads((tmp_path / "small" / "results.json").read_text())
    assert results == small.results
    ends = results["compression"]
    for part in ("valid", "test"):
        assert gtl.evaluate(loaded, shapes, part)[shapes.metric] == results[part]
        assert ends["before"][part] == before.results[part]
        assert ends["after"][part] == results[part]
    assert ends["after"]["bytes"] < ends["before"]["bytes"]
    assert ends["after"]["latency_p95_ms"] >= ends["after"]["latency_p50_ms"] > 0
    stored = (tmp_path / "small" / "checkpoint.safetensors").stat().st_size
    assert results["footprint"]["checkpoint_bytes"] == stored
    # A compressed run is a start like any other: its encoder can be trained on.
    again = gtl.finetune(str(tmp_path / "small"), shapes, **QUICK)
    assert type(again.encoder) is type(small.encoder)
    loaded.save(tmp_path / "copy")
    assert torch.equal(gtl.predict(tmp_path / "copy", shapes), expected)


def test_the_run_that_is_compressed_stays_as_it_was(shapes, run, tmp_path):
    model, folder = run
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for method in ("int8", "prune", "low_rank", "finetune"):
        gtl.compress(model, shapes, method=method)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(gtl.predict(folder, shapes), gtl.predict(model, shapes))


def test_an_interrupted_training_goes_on_to_the_same_bit(shapes, run, tmp_path, monkeypatch):
    _, folder = run
    how = {"method": METHODS["recipe"], "seed": 3}
    whole = gtl.compress(folder, shapes, out=tmp_path / "whole", **how)
    from gtl.train import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    real, calls = loop.Training._train_epoch, []

    def interrupted(training, progress):
        if calls:
            raise KeyboardInterrupt
        calls.append(0)
        real(training, progress)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            gtl.compress(folder, shapes, out=tmp_path / "cut", **how)
    assert not (tmp_path / "cut" / "results.json").exists()
    resumed = gtl.compress(folder, shapes, out=tmp_path / "cut", resume=True, **how)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    again = gtl.compress(folder, shapes, out=tmp_path / "cut", resume=True, **how)
    assert torch.equal(gtl.predict(again, shapes), gtl.predict(resumed, shapes))


def test_one_seed_gives_one_result(shapes, run):
    _, folder = run
    one, two, other = (
        gtl.compress(folder, shapes, method=METHODS["distill"], seed=seed) for seed in (1, 1, 2)
    )
    states = [model.state_dict() for model in (one, two, other)]
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert not all(torch.equal(value, states[2][name]) for name, value in states[0].items())


def test_a_model_in_memory_is_compressed_without_data(communities):
    model = gtl.finetune("gcn", communities, epochs=2)
    for method in ("int8", "prune", "low_rank"):
        small = gtl.compress(model, method=method)
        ends = small.results["compression"]
        assert ends["after"]["test"] is None and ends["after"]["bytes"] < ends["before"]["bytes"]
    with pytest.raises(ConfigError, match="give a labeled data set"):
        gtl.compress(model, method="distill")


def test_a_teacher_without_confidence_teaches_as_well_when_calibrated(communities):
    how = {"epochs": 30, "lr": 0.05}
    teacher = gtl.finetune({"name": "gcn", "width": 16}, communities, **how)
    with torch.no_grad():  # scores near 0, in the same order
        for weight in teacher.predictor.head.parameters():
            weight.mul_(1e-3)
    sure = {}
    for calibrate in (True, False):
        step = {"name": "distill", "student": "gcn", "calibrate": calibrate, **how}
        student = gtl.compress(teacher, communities, method=step)
        sure[calibrate] = gtl.predict(student, communities).max(1).values.mean()
    assert sure[True] > sure[False] + 0.1


def test_an_ensemble_becomes_one_student(shapes, tmp_path):
    gtl.finetune(GIN, shapes, members=2, out=tmp_path / "two", **QUICK)
    small = gtl.compress(tmp_path / "two", shapes, method=METHODS["distill"])
    assert type(small) is gtl.Model and small.encoder.width == 8
    with pytest.raises(ConfigError, match="ensemble of 2"):
        gtl.compress(tmp_path / "two", shapes, method="prune")


@pytest.mark.parametrize(
    ("encoder", "width"),
    [
        ({"name": "hgt", "width": 12}, 4),
        ({"name": "gat", "width": 12, "heads": 4, "merge": "concat"}, 4),
        ({"name": "gat", "width": 2, "merge": "concat"}, 2),
        ({"name": "gat", "width": 6, "heads": 4}, 3),
    ],
)
def test_the_usual_student_has_a_width_that_its_heads_can_share(shapes, encoder, width):
    model = gtl.finetune({"depth": 1, **encoder}, shapes, epochs=1)
    assert usual_student(model, shapes)["width"] == width
    ENCODERS.build(usual_student(model, shapes), model.encoder.schema)


def test_an_adapted_run_is_quantized_whole_and_distilled(shapes, tmp_path):
    gtl.finetune(GIN, shapes, adapter="bottleneck", out=tmp_path / "adapted", **QUICK)
    small = gtl.compress(tmp_path / "adapted", shapes, method="int8", out=tmp_path / "small")
    assert torch.equal(gtl.predict(tmp_path / "small", shapes), gtl.predict(small, shapes))
    gtl.compress(tmp_path / "adapted", shapes, method=METHODS["distill"])
    with pytest.raises(ConfigError, match="adapters"):
        gtl.compress(tmp_path / "adapted", shapes, method="low_rank")


def test_the_command_line_compresses_evaluates_and_predicts(tmp_path, capsys):
    run, small = tmp_path / "run", tmp_path / "small"
    encoder = ["--encoder", "gin", "--encoder.width", "16", "--encoder.depth", "2"]
    words = ["finetune", "--data", "demo:shapes", *encoder, "--epochs", "2", "--out", run]
    assert cli.main([str(word) for word in words]) == 0
    method = "[{name: prune, keep: 0.5}, int8]"
    assert cli.main(["compress", str(run), "--method", method, "--out", str(small)]) == 0
    shown = capsys.readouterr().out
    assert "before" in shown and "bytes" in shown and f"run folder: {small}" in shown
    assert cli.main(["evaluate", str(small)]) == 0
    value = json.loads(capsys.readouterr().out)["rocauc"]
    assert value == json.loads((small / "results.json").read_text())["test"]
    assert cli.main(["predict", str(small), "--out", str(tmp_path / "x.csv")]) == 0
    assert cli.main(["compress", str(run)]) == 0  # beside the run
    assert (tmp_path / "run-int8" / "results.json").exists()
    again = ["compress", str(run), "--config", str(small / "config.json"), "--out"]
    assert cli.main([*again, str(tmp_path / "again")]) == 0
    shutil.rmtree(tmp_path / "again")
    (found,) = (each for each in find_runs(tmp_path) if each.path == small)
    assert cli.main(shlex.split(repeats(found))[1:]) == 0  # as reports show it
    repeated = json.loads((tmp_path / "small-again" / "results.json").read_text())
    assert repeated["test"] == value and len(repeated["compression"]["steps"]) == 2
    shutil.rmtree(tmp_path / "small-again")
    text = report(tmp_path, plots=False, footprint=True).text
    assert "compression=prune + int8" in text and "compression=int8" in text
    assert "command" not in text and "FLOPs" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "prun"], "unknown compression 'prun'; did you mean 'prune'"),
        (["--method", "[]"], "`method` is an empty list"),
        (["--method", "[int8, prune]"], "int8 be the last"),
        (["--method", "{name: prune, keep: 2}"], "`keep` is 2"),
        (["--method", "{name: prune, kep: 2}"], "no option 'kep'"),
        (["--method", "{name: low_rank, energy: 0}"], "`energy`"),
        (["--out", "RUN"], "already holds a run"),
        (["--data", "demo:nothing"], "nothing"),
    ],
)
def test_unusable_input_is_one_line(tmp_path, capsys, words, message):
    run = tmp_path / "run"
    gtl.finetune(GIN, gtl.load("demo:shapes"), epochs=1, out=run)
    words = [word.replace("RUN", str(run)) for word in words]
    out = [] if "--out" in words else ["--out", str(tmp_path / "small")]
    assert cli.main(["compress", str(run), *words, *out]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert message in lines[-1] and lines[-1].startswith("gtl: error: ")
    assert not (tmp_path / "small").exists()


def test_runs_of_another_kind_and_other_settings_are_refused(shapes, run, tmp_path):
    _, folder = run
    gtl.probe(GIN, shapes, model="linear", out=tmp_path / "probe")
    with pytest.raises(ConfigError, match="no single network"):
        gtl.compress(tmp_path / "probe", shapes)
    gtl.compress(folder, shapes, out=tmp_path / "small")
    with pytest.raises(CheckpointError, match="started with compression="):
        gtl.compress(folder, shapes, method="prune", out=tmp_path / "small", resume=True)
    with pytest.raises(UnknownPartError):
        gtl.compress(folder, shapes, method="quantise")
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="is this a run folder"):
        gtl.compress(folder, shapes)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (3, r"`method` has 3 \(int\), expected a name or a mapping .*known: int8, prune"),
        (["prune", None], r"`method` has None \(NoneType\)"),
        ({"name": "prune", "keep": "abc"}, r"prune: `keep` is 'abc', expected a number"),
        ({"name": "low_rank", "energy": True}, r"low_rank: `energy` is True"),
        ({"name": "distill", "temperature": None}, r"distill: `temperature` is None"),
        ({"name": "finetune", "epochs": "two"}, r"finetune: `epochs` is 'two'"),
        ({"keep": 0.5}, r"needs the key 'name'"),
    ],
)
def test_steps_of_another_type_are_refused_when_they_are_read(method, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        command.compress(tmp_path / "nowhere", method)
