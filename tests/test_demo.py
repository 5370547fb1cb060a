"""The whole demo runs, made small, and compares its ways."""

from __future__ import annotations

import json
from functools import partial

import pytest

from gtl import demo
from gtl.errors import ConfigError
from gtl.train.finetune import finetune
from gtl.train.probe import probe
from gtl.train.shipped import SHIPPED

pytest.importorskip("datamol", reason="needs datamol")


def test_the_demo_runs_and_leaves_a_folder_per_run(tmp_path, monkeypatch):
    small = {"name": "gin", "width": 8, "depth": 2}
    forest = {"name": "forest", "trees": 5}
    methods = {
        "forest on fingerprints": partial(probe, None, model=forest, properties=["morgan"]),
        "from scratch": partial(finetune, small, epochs=1),
        "small + aux_ts": partial(
            finetune, small, epochs=1, auxiliary=["fingerprint"], weighting="aux_ts"
        ),
    }
    monkeypatch.setattr(demo, "METHODS", methods)
    text = demo.demo(tmp_path / "out", seeds=2, labels=20)
    rows = [line for line in text.splitlines() if "±" in line]
    assert [row.split("  ")[0] for row in rows] == list(methods)
    assert "20 / " in text and "difference to forest on fingerprints" in text
    for folder in ("forest-on-fingerprints-0", "from-scratch-1", "small-aux_ts-1"):
        results = json.loads((tmp_path / "out" / folder / "results.json").read_text())
        assert results["metric"] == "rmse"
    assert (tmp_path / "out" / "report" / "plots" / "differences.png").exists()


@pytest.mark.slow
def test_several_processes_give_the_runs_of_one(tmp_path):
    texts = [
        demo.demo(tmp_path / f"{workers}", seeds=2, labels=20, workers=workers)
        for workers in (1, 2)
    ]
    one, two = (text.splitlines()[: text.splitlines().index("notes")] for text in texts)
    assert one == two and len(one) > 7


def test_no_process_is_no_number_of_workers(tmp_path):
    with pytest.raises(ConfigError, match="workers"):
        demo.demo(tmp_path, workers=0)


def test_its_encoder_comes_with_gtl_and_labels_are_drawn_by_seed():
    assert demo.SHIPPED in SHIPPED
    one, two = demo.few(30, 0), demo.few(30, 1)
    assert len(one.split["train"]) == 30
    assert one.split["train"].tolist() != two.split["train"].tolist()
    assert one.split["test"].tolist() == two.split["test"].tolist()
