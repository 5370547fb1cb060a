"""A search finds settings, stops bad trials, goes on after a kill, and hands over its best."""

from __future__ import annotations

import functools
import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

import gtl
from gtl import cli
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.report import report
from gtl.searching import search as module

optuna = pytest.importorskip("optuna", reason="needs the extra search")

SPACE = {"encoder.width": [4, 8], "encoder.depth": [1, 2], "encoder.dropout": None}
TIMES = ("seconds",)


@pytest.fixture(scope="module")
def shapes():
    return gtl.load("demo:shapes", seed=0)


def _search(data, out, trials, **more):
    return gtl.search("gin", data, space=SPACE, trials=trials, epochs=4, out=out, **more)


def _without_times(trials):
    return [{k: v for k, v in trial.items() if k not in TIMES} for trial in trials]


@pytest.fixture(scope="module")
def found(shapes, tmp_path_factory):
    return _search(shapes, tmp_path_factory.mktemp("search") / "run", 6)


def test_no_trial_of_the_front_is_dominated_and_the_best_is_on_it(found):
    complete = {t["number"]: t for t in found.trials if t["state"] == "complete"}
    assert found.front and set(found.front) <= set(complete)
    for number, trial in complete.items():
        beaten = any(
            other["valid"] >= trial["valid"]
            and other["footprint"] <= trial["footprint"]
            and (other["valid"], -other["footprint"]) != (trial["valid"], -trial["footprint"])
            for other in complete.values()
        )
        same = [complete[n] for n in found.front if n != number]
        twice = any(
            (o["valid"], o["footprint"]) == (trial["valid"], trial["footprint"]) for o in same
        )
        assert (number in found.front) == (not beaten and not twice)
    assert max(t["valid"] for t in complete.values()) == complete[found.results["best"]]["valid"]


def test_only_what_is_searched_is_chosen_within_its_space(found):
    for trial in found.trials:
        assert set(trial["params"]) == {"gin.width", "gin.depth", "lr", "weight_decay"}
        assert trial["params"]["gin.width"] in (4, 8) and 1e-4 <= trial["params"]["lr"] <= 1e-2


def test_the_footprint_is_that_of_the_trained_model(found, shapes):
    number = found.front[0]
    model = gtl.load_run(found.folder / "trials" / f"{number:03d}")
    parameters = sum(p.numel() for p in model.parameters())
    assert found.trials[number]["footprint"] == parameters


def test_the_best_configuration_trains_the_same_model_again(found, tmp_path, capsys):
    assert (
        cli.main(
            [
                "finetune",
                "--config",
                str(found.folder / "best.yaml"),
                "--out",
                str(tmp_path / "again"),
            ]
        )
        == 0
    )
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["valid"] == found.results["valid"] and again["test"] == found.results["test"]
    options = yaml.safe_load((found.folder / "best.yaml").read_text())
    assert options == found.best and options["data"]["spec"] == "demo:shapes"


def test_a_loaded_search_is_the_same(found):
    again = gtl.load_run(found.folder)
    assert str(again) == str(found) and again.configs == found.configs
    with pytest.raises(ConfigError, match="trial 99 is not on the front"):
        again.config(99)


def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(
    found, shapes, tmp_path, monkeypatch
):
    calls, original = [], module.finetune

    def killed(encoder, dataset, **options):
        calls.append(options["epochs"])
        if len(calls) > 5 and options["epochs"] == 2:
            raise KeyboardInterrupt
        return original(encoder, dataset, **options)

    monkeypatch.setattr(module, "finetune", killed)
    with pytest.raises(KeyboardInterrupt):
        _search(shapes, tmp_path / "run", 6)
    with pytest.raises(CheckpointError, match="was interrupted"):
        gtl.load_run(tmp_path / "run")
    monkeypatch.setattr(module, "finetune", original)
    again = _search(shapes, tmp_path / "run", 6, resume=True)
    assert _without_times(again.trials) == _without_times(found.trials)
    assert again.front == found.front


def test_more_trials_may_be_added_and_other_settings_not(shapes, tmp_path, found):
    few = _search(shapes, tmp_path / "run", 2)
    assert _without_times(few.trials) == _without_times(found.trials)[:2]
    more = _search(shapes, tmp_path / "run", 3, resume=True)
    assert _without_times(more.trials) == _without_times(found.trials)[:3]
    with pytest.raises(CheckpointError, match="seed"):
        _search(shapes, tmp_path / "run", 3, resume=True, seed=1)


def _scripted(monkeypatch, curves, costs):
    """Trainings that cost nothing: validation values by epochs, and parameters, of each trial."""
    number = iter(range(100))
    seen: dict = {}

    def train(encoder, dataset, *, epochs, out, **options):
        trial = seen[out] = seen[out] if out in seen else next(number)
        footprint = {"parameters_total": costs[trial], "seconds": 1.0}
        results = {"metric": "rocauc", "valid": curves[trial][epochs], "test": 0.5, "epoch": 0}
        results["footprint"] = footprint
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(results))
        return SimpleNamespace(results=results)

    monkeypatch.setattr(module, "finetune", train)
    monkeypatch.setattr(module, "_check_names", lambda *_: None)


GOOD, BAD = {1: 0.7, 2: 0.8, 4: 0.9}, {1: 0.3, 2: 0.4, 4: 0.5}


def test_trials_worse_than_the_median_of_those_that_cost_no_more_are_stopped(
    shapes, tmp_path, monkeypatch
):
    # the sixth is as bad as the fifth, but costs less than all; three are needed for a median
    curves = [BAD, GOOD, GOOD, GOOD, BAD, BAD, {1: 0.7, 2: 0.1, 4: 0.9}]
    _scripted(monkeypatch, curves, [9, 9, 9, 9, 10, 8, 9])
    found = _search(shapes, tmp_path / "run", 7)
    ends = [(t["state"], t["epochs"]) for t in found.trials]
    complete = ("complete", 4)
    assert ends == [*(4 * [complete]), ("pruned", 1), complete, ("pruned", 2)]
    assert found.front == [5, 1] and found.results["best"] == 1


def test_without_pruning_all_trials_are_whole(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD, GOOD, GOOD, BAD], [9, 9, 9, 10])
    found = _search(shapes, tmp_path / "run", 4, prune=False)
    assert [t["epochs"] for t in found.trials] == [4] * 4


def test_a_schedule_of_rates_forbids_stopping(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD, GOOD, GOOD, BAD], [9, 9, 9, 10])
    found = _search(shapes, tmp_path / "run", 4, settings={"schedule": "cosine"})
    assert [t["epochs"] for t in found.trials] == [4] * 4
    assert found.best["schedule"] == "cosine"


def test_no_trial_begins_when_the_budget_is_spent(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD] * 9, [9] * 9)
    found = _search(shapes, tmp_path / "run", None, budget=2.5)
    assert len(found.trials) == 3  # each takes a second


def test_quality_alone_may_be_searched(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [BAD, GOOD, BAD], [1, 9, 1])
    found = _search(shapes, tmp_path / "run", 3, footprint=None)
    assert found.front == [1] and found.trials[0]["footprint"] is None


def test_a_trial_that_fails_is_noted_and_the_first_ones_must_not_all(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD] * 9, [9] * 9)
    train, calls = module.finetune, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 1:
            raise ConfigError("too wide")
        return train(*args, **options)

    monkeypatch.setattr(module, "finetune", failing)
    found = _search(shapes, tmp_path / "run", 2)
    assert [t["state"] for t in found.trials] == ["failed", "complete"]
    assert found.trials[0]["problem"] == "too wide"

    def always(*args, **options):
        raise ConfigError("too wide")

    monkeypatch.setattr(module, "finetune", always)
    with pytest.raises(ConfigError, match="first 3 trials failed; too wide"):
        _search(shapes, tmp_path / "other", 9)


def test_a_trial_that_was_killed_late_keeps_its_early_values(shapes, tmp_path, monkeypatch):
    curve, done, asked, kills = {1: 0.3, 2: 0.8, 4: 0.9}, {}, [], [4]

    def train(encoder, dataset, *, epochs, out, **options):
        asked.append(epochs)
        done[out] = max(done.get(out, 0), epochs)  # a folder has the value of all of its epochs
        if epochs in kills:
            kills.remove(epochs)
            raise KeyboardInterrupt
        footprint = {"parameters_total": 9, "seconds": 1.0}
        results = {"valid": curve[done[out]], "test": 0.5, "epoch": 0, "footprint": footprint}
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(results))
        return SimpleNamespace(results=results)

    monkeypatch.setattr(module, "finetune", train)
    monkeypatch.setattr(module, "_check_names", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        _search(shapes, tmp_path / "run", 1)
    _search(shapes, tmp_path / "run", 1, resume=True)
    assert asked == [1, 2, 4, 4], "what was measured is not trained again"
    storage = f"sqlite:///{tmp_path / 'run' / 'search.db'}"
    (trial,) = optuna.load_study(study_name="search", storage=storage).trials
    assert trial.user_attrs["rungs"] == {"1": 0.3, "2": 0.8}


def test_trials_that_fail_use_up_a_budget(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD], [9])
    train, calls = module.finetune, []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) > 3:
            time.sleep(0.06)
            assert len(calls) < 9, "a search without an end"
            raise ConfigError("too wide")
        return train(*args, **options)

    monkeypatch.setattr(module, "finetune", failing)
    found = _search(shapes, tmp_path / "run", None, budget=1.1)  # the first takes 1 second
    assert [t["state"] for t in found.trials[:2]] == ["complete", "failed"]


def test_a_folder_to_start_from_may_be_a_path():
    from gtl.searching.spaces import search_space

    assert search_space(Path("runs/a"), None, {}, "graph", {}).encoders == ("runs/a",)


def test_where_all_trials_failed_their_first_message_is_shown(shapes, tmp_path, monkeypatch):
    calls = []

    @functools.wraps(module.finetune)
    def failing(*args, **options):
        calls.append(1)
        raise ConfigError(f"too wide {len(calls)}")

    monkeypatch.setattr(module, "finetune", failing)
    with pytest.raises(ConfigError, match="all 2 trials failed: too wide 1"):
        _search(shapes, tmp_path / "run", 2)


def test_damaged_trials_are_named(shapes, tmp_path, found):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_bytes((found.folder / "config.json").read_bytes())
    (folder / "search.db").write_text("x" * 200)
    with pytest.raises(CheckpointError, match=r"search.db cannot be read .*not a database"):
        _search(shapes, folder, 6, resume=True)


def test_a_report_shows_the_front(found, tmp_path):
    made = report(found.folder, out=tmp_path)
    assert "trial  valid rocauc  parameters total" in str(made)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert ">Search</h3>" in page and "bytes" not in page and "<svg" in page


def test_the_verb_searches_too(tmp_path, capsys):
    words = ["search", "--data", "demo:shapes", "--encoder", "[gin, gcn]", "--trials", "2"]
    words += ["--space", "{encoder.width: [4], encoder.depth: [1], lr: null}", "--epochs", "1"]
    assert cli.main([*words, "--out", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "best on validation data: trial" in shown and (tmp_path / "run" / "best.yaml").exists()
    chosen = [t["params"] for t in gtl.load_run(tmp_path / "run").trials]
    for params in chosen:
        name = params["encoder"]
        assert set(params) == {"encoder", "weight_decay"} | {
            f"{name}.{option}" for option in ("width", "depth", "dropout")
        }


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"footprint": "parameter_total"}, ConfigError, "did you mean 'parameters_total'"),
        ({"trials": 0}, ConfigError, "at least one trial"),
        ({"budget": -1.0}, ConfigError, "more than 0 seconds"),
        ({"settings": {"head": object()}}, ConfigError, "no file can hold"),
        ({"settings": {"learning_rate": 1}}, ConfigError, "'learning_rate' cannot be set"),
        ({"space": {"encoder.width": 8}}, ConfigError, "expected a list of values"),
        ({"space": {"lr": {"low": 2, "high": 1}}}, ConfigError, "low <= high"),
        ({"space": {"lr": []}}, ConfigError, "has no values"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(shapes, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        gtl.search("gin", shapes, out=tmp_path / "run", **{"trials": 1, **options})
    assert not (tmp_path / "run").exists()


def test_an_instance_is_no_start_of_several_trials(shapes):
    encoder = gtl.encoders.GIN(shapes.schema, width=4, depth=1)
    with pytest.raises(ConfigError, match="each trial needs one of its own"):
        gtl.search(encoder, shapes, trials=1)


def test_a_footprint_that_no_run_has_ends_the_search(shapes, tmp_path, monkeypatch):
    _scripted(monkeypatch, [GOOD], [9])
    with pytest.raises(DataError, match="which no run has; known: parameters_total, seconds"):
        _search(shapes, tmp_path / "run", 1, footprint="stored_bytes")
