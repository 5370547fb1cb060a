"""The comparison of few-shot methods: it goes on where it stopped, and its tables add up."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from gtl.data import CategoryGraph

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def features(root):
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(8).repeat(30)
    x = 2 * torch.randn(8, 5, generator=rng)[labels] + torch.randn(240, 5, generator=rng)
    return {"features": x, "labels": torch.stack([labels, labels], 1)}


def relation(root):
    groups = torch.arange(8) // 4
    return CategoryGraph.from_paths([f"/g{i // 4}/c{i}" for i in range(8)]), groups


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("few_shot")
    one = module.Set(features, 0.5, relation)
    monkeypatch.setattr(module, "SETS", {"toy": one, "toy, plain": module.Set(features, 5)})
    return module


def run(script, monkeypatch, capsys, tmp_path, *words):
    command = ["few_shot.py", "--root", str(tmp_path), "--out", str(tmp_path / "out"), "--no-write"]
    monkeypatch.setattr(sys, "argv", [*command, *words])
    script.main()
    return capsys.readouterr().out


def test_a_method_that_is_added_is_the_only_one_that_is_run(script, monkeypatch, capsys, tmp_path):
    plain = ("--method", "prototype", "--method", "prototype, cosine")
    run(script, monkeypatch, capsys, tmp_path, *plain, "--splits", "2")
    file = tmp_path / "out" / "toy" / "1.json"
    before = json.loads(file.read_text())
    before["values"]["prototype"]["1"]["all_top1"] = -7.0  # would be gone if it was run again
    file.write_text(json.dumps(before))
    shown = run(script, monkeypatch, capsys, tmp_path, *plain, "--method", "LDA", "--splits", "2")
    after = json.loads(file.read_text())
    assert after["values"]["prototype"]["1"]["all_top1"] == -7.0
    assert set(after["values"]) == {"prototype", "prototype, cosine", "LDA"}
    assert "| LDA | " in shown
    assert "toy, novel in all top1, 2 splits" in shown
    assert "toy, plain, top1, 2 splits" in shown
    assert (
        shown.splitlines()
        == run(
            script, monkeypatch, capsys, tmp_path, *plain, "--method", "LDA", "--only-collect"
        ).splitlines()
    )


def test_half_of_each_group_is_novel(script):
    groups = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    chosen = script.half_of_each(groups, torch.Generator().manual_seed(0))
    assert torch.bincount(groups[chosen]).tolist() == [1, 1, 2]
