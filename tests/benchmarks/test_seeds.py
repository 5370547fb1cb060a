"""What comparisons of trainings share: finished runs are found again, differences are paired."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
COMPARISONS = ("adapters", "auxiliary_weighting", "film_transfer")


@pytest.fixture
def seeds(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("_seeds")


def test_a_finished_run_is_found_by_set_method_and_seed(seeds, tmp_path):
    seeds.keep({"test": 0.5}, tmp_path, "Cora, 5 a class", "torchjd:upgrad + guard", 11)
    seeds.keep({"test": 0.25}, tmp_path, "Cora, 5 a class", "torchjd:upgrad + guard", 2)
    seeds.keep({"test": 0.75}, tmp_path, "Cora, 5 a class", "equal", 2)
    found = seeds.finished(tmp_path, "Cora, 5 a class", "torchjd:upgrad + guard")
    assert list(found.items()) == [(2, {"test": 0.25}), (11, {"test": 0.5})]
    assert seeds.finished(tmp_path, "Cora, 5 a class", "nothing") == {}
    every = seeds.all_finished(tmp_path, ["Cora, 5 a class", "DBLP"], ["equal", "gcs"])
    assert every == {"Cora, 5 a class": {"equal": {2: {"test": 0.75}}}}


def test_differences_are_over_the_seeds_that_both_have(seeds):
    entry = seeds.described({0: 0.5, 1: 0.7, 2: 0.9}, {1: 0.6, 2: 0.8, 3: 0.1}, "higher")
    assert (entry["test"], entry["seeds"], entry["difference"]) == (0.7, 3, 0.1)
    assert entry["values"] == {"0": 0.5, "1": 0.7, "2": 0.9}
    assert "difference" not in seeds.described({0: 0.5}, {}, "higher")


def test_a_cell_is_percent_or_points_with_the_sign_of_what_is_significant(seeds):
    entry = {"test": 0.5, "difference": -0.031, "verdict": "worse"}
    assert seeds.points(entry, is_reference=True) == "50.0"
    assert seeds.points(entry, is_reference=False) == "-3.1 **-**"


@pytest.mark.parametrize("name", COMPARISONS)
def test_without_finished_runs_a_comparison_prints_an_empty_table(
    name, seeds, tmp_path, monkeypatch, capsys
):
    module = importlib.import_module(name)
    command = [f"{name}.py", "--only-collect", "--no-write", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", command)
    module.main()
    assert capsys.readouterr().out.startswith("| ")
