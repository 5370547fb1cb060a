"""The comparison on molecules: draws of labels, models of label columns, and ranks by hand."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("molecules")


def test_ranks_are_means_over_sets_and_lower_errors_are_better(script):
    def rows(**values):
        return {method: {"test": value, "seeds": 10} for method, value in values.items()}

    pairs = {
        "molbace, 100": rows(one=0.8, two=0.7, three=0.9),
        "freesolv, 100": rows(one=1.0, two=2.0, three=3.0, four=0.1),
    }
    for pair in pairs.values():
        pair["few seeds"] = {"test": 0.0, "seeds": 4}
    ranks = script.mean_ranks(pairs)
    assert ranks == {"100": {"sets": ["molbace", "freesolv"], "one": 1.5, "three": 2, "two": 2.5}}


def test_labels_are_drawn_by_seed_from_the_training_split(script, shapes):
    one, two = script.with_labels(shapes, "10", 0), script.with_labels(shapes, "10", 1)
    assert len(one.split["train"]) == 10
    assert one.split["train"].tolist() != two.split["train"].tolist()
    assert set(one.split["train"].tolist()) <= set(shapes.split["train"].tolist())
    assert script.with_labels(shapes, "all", 0) is shapes


def test_each_column_has_a_model_of_its_own_known_labels(script, shapes):
    labels = torch.cat([shapes.labels, 1 - shapes.labels], 1)
    labels[shapes.split["train"][::2], 1] = float("nan")
    data = replace(shapes, labels=labels)
    matrix = np.column_stack([shapes.labels[:, 0].numpy(), np.zeros(60)])

    from sklearn.linear_model import LogisticRegression

    assert script.by_columns(data, matrix, LogisticRegression) == 1.0


def test_runs_of_the_result_file_stay_until_their_seed_is_run_again(script, tmp_path):
    first = {"forest, ECFP": {"test": 0.7, "seconds": 1.0}}
    for seed in (0, 1):
        script.keep(first, tmp_path / "old", "molbace", "50", "forest, ECFP", seed)
    before = script.collect(tmp_path / "old", {})
    again = {"forest, ECFP": {"test": 0.9, "seconds": 3.0}}
    script.keep(again, tmp_path / "new", "molbace", "50", "forest, ECFP", 1)
    found = script.collect(tmp_path / "new", before)
    assert found["pairs"]["molbace, 50"]["forest, ECFP"]["values"] == {"0": 0.7, "1": 0.9}
    assert script.collect(tmp_path / "none", before) == before
