"""Every kind of run opens by one function, and each list of kinds is read off one table."""

from __future__ import annotations

import importlib
import json

import pytest

import gtl
from gtl.errors import CheckpointError
from gtl.run_folder import RunFolder
from gtl.run_kinds import RUN_KINDS, kind_of, load_run


def _folder(path, results=None, **config):
    folder = RunFolder(path, {"data": "demo:shapes", "seed": 0, **config})
    if results is not None:
        folder.write_results(results)
    return path


@pytest.mark.parametrize("kind", RUN_KINDS.values(), ids=RUN_KINDS)
def test_every_kind_is_called_like_its_function_and_its_loader_exists(kind):
    functions = {"fewshot": "few_shot", "adapt": "adapt_domain"}
    assert callable(getattr(gtl, functions.get(kind.command, kind.command)))
    module, _, path = kind.loader.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found)
    assert kind.what.startswith(("a ", "an "))


def test_a_pre_trained_and_a_fine_tuned_run_are_opened_as_what_they_hold(shapes, tmp_path):
    small = {"name": "gin", "width": 8, "depth": 1}
    gtl.pretrain(small, shapes, ["infomax"], epochs=1, out=tmp_path / "pre")
    model = gtl.finetune(small, shapes, epochs=1, out=tmp_path / "fine")
    assert set(load_run(tmp_path / "pre").tasks) == {"infomax"}
    opened = gtl.load_run(str(tmp_path / "fine"))
    assert isinstance(opened, gtl.Model)
    for name, value in model.state_dict().items():
        assert (opened.state_dict()[name] == value).all()


def test_a_few_shot_comparison_is_rebuilt_from_its_results(communities, tmp_path):
    made = gtl.few_shot(
        communities, ("cosine", "prototype"), shots=(1, 2), splits=2, out=tmp_path / "few"
    )
    opened = load_run(tmp_path / "few")
    assert str(opened) == str(made)
    assert opened.values == made.values
    assert opened.to_json() == made.to_json()
    assert opened.folder == tmp_path / "few"


def test_the_agreement_of_a_few_shot_comparison_is_rebuilt_too(tmp_path):
    found = {
        "protocol": "base_novel",
        "reference": "a",
        "agreement": {"correlation": 0.5, "p_value": 0.01, "base_classes": 7},
        "notes": ["one"],
        "values": {"a": {"5": {"top1": [0.5, 0.75]}}},
    }
    opened = load_run(_folder(tmp_path / "run", found, command="fewshot"))
    assert opened.shots == [5] and opened.notes == ("one",) and opened.base_classes == 7
    assert "7 base classes +0.50, p = 0.010" in opened.advice()
    assert opened.to_json()["agreement"] == found["agreement"]


@pytest.mark.parametrize(
    ("config", "results", "message"),
    [
        ({"command": "fewshot"}, None, "interrupted before its results"),
        ({"command": "fewshot"}, {"values": {"a": {"x": {}}}}, "no result of a few-shot"),
        ({"command": "finetun"}, {}, "did you mean 'finetune'"),
        ({}, {}, "names no command"),
        ({"command": "pretrain"}, {}, "no checkpoint"),
        ({"command": "forecast", "baseline": "last_value"}, {}, "'last_value'"),
    ],
)
def test_what_cannot_be_opened_is_named(tmp_path, config, results, message):
    folder = _folder(tmp_path / "run", results, **config)
    with pytest.raises(CheckpointError, match=message):
        load_run(folder)


def test_a_folder_without_a_config_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="is this a run folder"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps([1]))
    with pytest.raises(CheckpointError, match="names no command"):
        load_run(tmp_path)


def test_another_kind_is_no_few_shot_comparison(tmp_path):
    from gtl.report.few_shot import FewShotResult

    folder = _folder(tmp_path / "run", {}, command="forecast")
    with pytest.raises(CheckpointError, match="is a forecast, not a few-shot comparison"):
        FewShotResult.load(folder)


@pytest.mark.parametrize(
    ("command", "setting", "may"),
    [
        ("pretrain", "epochs", True),
        ("finetune", "epochs", True),
        ("forecast", "epochs", True),
        ("finetune_by_episodes", "episodes", True),
        ("finetune_by_episodes", "epochs", False),
        ("fewshot", "splits", False),
        ("finetune", "seed", False),
        ("federate", "rounds", True),
        ("federate", "partition", False),
    ],
)
def test_each_kind_has_the_settings_that_may_change_on_resume(tmp_path, command, setting, may):
    config = {"command": command, "seed": 0, "epochs": 2, "episodes": 2, "splits": 2}
    RunFolder(tmp_path / "run", config)
    longer = {**config, setting: 9}
    if may:
        RunFolder(tmp_path / "run", longer, resume=True)
    else:
        with pytest.raises(CheckpointError, match=f"{setting}="):
            RunFolder(tmp_path / "run", longer, resume=True)


def test_the_table_knows_what_each_folder_holds_and_what_a_report_compares():
    def those(attribute):
        return {kind.command for kind in RUN_KINDS.values() if getattr(kind, attribute)}

    models = {"finetune", "finetune_by_episodes", "compress", "federate"}
    assert those("holds_model") == models
    assert those("holds_encoder") == {"pretrain", *models}
    trained = {*models, "probe", "blend"}
    assert those("compared") == {*trained, "forecast"}
    assert those("predicts") == {*trained, "compare", "adapt"}
    assert kind_of({"command": "pretrain"}).role == "pretraining"
