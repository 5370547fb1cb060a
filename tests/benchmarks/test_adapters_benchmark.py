"""The comparison of adapters: it goes on where it stopped, and its table adds up."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

import gtl
from gtl.catalog import ENCODERS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
METHODS = ("full", "head alone", "bottleneck", "bottleneck + aux_ts")


@pytest.fixture
def script(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("adapters")

    def begin(start, root, out):
        assert out == tmp_path  # where a pre-trained encoder lies
        torch.manual_seed(0)
        data = gtl.load("demo:shapes")
        return ENCODERS.build({"name": "gin", "width": 8, "depth": 2}, data.schema)

    monkeypatch.setattr(module, "begin", begin)
    monkeypatch.setattr(
        module, "few_labels", lambda target, root, seed, labels: gtl.load("demo:shapes")
    )
    monkeypatch.setattr(module, "TRAINING", {"epochs": 1, "batch_size": 60})
    monkeypatch.setattr(module, "RATES", (1e-3, 1e-2))
    return module


def test_what_is_there_is_not_trained_again_and_costs_are_those_of_the_adapter(script, tmp_path):
    first = {"full": 1e-3, "head alone": 5e-3}
    rates = {**dict.fromkeys(METHODS, 1e-2), "full": 1e-3}
    for seed in (0, 1):
        script.work("molbace", seed, {"molbace": first}, "muv", "", tmp_path)
    file = importlib.import_module("_seeds").place(tmp_path, "molbace", "full", 0)
    changed = {**json.loads(file.read_text()), "test": 0.25}
    file.write_text(json.dumps(changed))
    for seed in (0, 1):
        script.work("molbace", seed, {"molbace": rates}, "muv", "", tmp_path)
    found = script.all_finished(tmp_path, ["molbace"], METHODS)
    assert found["molbace"]["full"][0]["test"] == 0.25
    assert found["molbace"]["head alone"][0]["rate"] == 1e-2  # another rate than was kept
    summary = script.summarize(found)
    costs = summary["costs"]
    assert costs["full"]["rate"] == [1e-3] and costs["bottleneck"]["rate"] == [1e-2]
    assert costs["head alone"]["parameters_trained"] == 9
    assert costs["head alone"]["optimizer_bytes"] == 2 * 4 * 9 + 2 * 4  # and Adam's two counters
    assert costs["bottleneck"]["step_bytes"] < costs["full"]["step_bytes"]
    table = script.markdown(summary).splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in METHODS]


def test_the_rate_is_the_best_on_the_mean_of_validation_values(script, tmp_path):
    for rate, values in {1e-3: (0.9, 0.4), 1e-2: (0.7, 0.7)}.items():
        for seed, value in enumerate(values):
            folder = tmp_path / script.RATE_FOLDER.format(rate)
            script.keep({"valid": value, "test": -value}, folder, "molbace", "bottleneck", seed)
    assert script.chosen_rates("molbace", ["bottleneck", "bottleneck + aux_ts"], tmp_path) == {
        "bottleneck": 1e-2,
        "bottleneck + aux_ts": 1e-2,
    }


def test_a_rate_is_tried_apart_from_the_results(script, tmp_path):
    for rate in (1e-3, *script.rates_of("head alone")):
        script.try_rate("molbace", 100, rate, ["head alone"], "muv", "", tmp_path)
    assert not (tmp_path / script.RATE_FOLDER.format(1e-3)).exists()
    assert script.all_finished(tmp_path, ["molbace"], METHODS) == {}
    assert script.chosen_rates("molbace", ["head alone"], tmp_path)["head alone"] > 1e-3


def test_the_mean_over_sets_takes_the_seeds_that_all_have(script):
    runs = {
        "a": {"full": {0: {"test": 0.5}, 1: {"test": 0.7}}},
        "b": {"full": {1: {"test": 0.9}, 2: {"test": 0.1}}},
    }
    assert script.mean_over_sets(runs, "full") == {1: pytest.approx(0.8)}
