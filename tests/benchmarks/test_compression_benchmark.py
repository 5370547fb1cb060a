"""The comparison of compressions: what is on the front, and that int8 follows another method."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("compression")


def test_a_method_is_on_the_front_of_a_cost_unless_another_is_better_and_as_cheap(script):
    found = script.with_fronts(
        {
            "full": {"test": 0.8, "bytes": 40, "memory": 1},
            "int8": {"test": 0.8, "bytes": 10, "memory": 1},
            "pruned": {"test": 0.7, "bytes": 10, "memory": 0.5},
        }
    )
    assert {name: entry["front"] for name, entry in found.items()} == {
        "full": ["memory"],
        "int8": ["bytes", "memory"],
        "pruned": ["memory"],
    }


def test_a_method_is_trained_from_the_model_of_its_seed_and_int8_from_that(
    script, communities, tmp_path, monkeypatch
):
    small = script.Target("memory", 1, "gcn", "bottleneck", 0.5, "mlp", epochs=2, student_epochs=2)
    monkeypatch.setitem(script.SETS, "toy", small)
    monkeypatch.setattr(script, "loaded", lambda target, root, seed: communities)
    script.work("toy", "pruned + int8", 3, "", tmp_path)
    folders = {path.parent.name for path in (tmp_path / "models" / "toy").glob("*/3")}
    assert folders == {"full", "pruned", "pruned_+_int8"}
    rows = {
        method: json.loads(script.place(tmp_path, "toy", method, 3).read_text())
        for method in ("full", "pruned", "pruned + int8")
    }
    sizes = [row["bytes"] for row in rows.values()]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    before = script.place(tmp_path, "toy", "full", 3).stat().st_mtime_ns
    script.work("toy", "full", 3, "", tmp_path)  # which is there already
    assert script.place(tmp_path, "toy", "full", 3).stat().st_mtime_ns == before
