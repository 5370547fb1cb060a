"""Metrics are written as TensorBoard events where that is wanted, and nowhere else."""

from __future__ import annotations

import copy
import sys

import pytest

import gtl
from gtl.errors import MissingDependencyError

SMALL = {"name": "gin", "width": 4, "depth": 1}


def _events(folder):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = loader.EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def test_nothing_is_written_unless_it_is_wanted(tmp_path, monkeypatch):
    monkeypatch.delenv("GTL_TENSORBOARD", raising=False)
    data = gtl.load("demo:shapes", seed=0)
    gtl.finetune(SMALL, data, epochs=1, out=tmp_path / "a")
    monkeypatch.setenv("GTL_TENSORBOARD", "0")
    gtl.finetune(SMALL, data, epochs=1, out=tmp_path / "b")
    assert not (tmp_path / "a" / "tensorboard").exists()
    assert not (tmp_path / "b" / "tensorboard").exists()


def test_events_are_the_metrics_of_each_epoch_and_a_resumed_run_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="needs the extra tensorboard")
    monkeypatch.setenv("GTL_TENSORBOARD", "1")
    data = gtl.load("demo:shapes", seed=0)
    options = {"auxiliary": "infomax", "weighting": "equal", "guard": False}
    gtl.finetune(SMALL, data, epochs=2, out=tmp_path / "run", **options)
    model = gtl.finetune(SMALL, data, epochs=3, out=tmp_path / "run", resume=True, **options)
    copy.deepcopy(model)
    found = _events(tmp_path / "run")
    for tag, pick in {
        "losses/infomax": lambda line: line["losses"]["infomax"],
        "weights/supervised": lambda line: line["weights"]["supervised"],
        "valid": lambda line: line["valid"],
    }.items():
        expected = [(line["epoch"], pick(line)) for line in model.history]
        assert [step for step, _ in found[tag]] == [0, 1, 2]
        assert found[tag] == [(step, pytest.approx(value)) for step, value in expected]


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GTL_TENSORBOARD", "1")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependencyError, match=r"graph-transfer\[tensorboard\]"):
        gtl.finetune(SMALL, gtl.load("demo:shapes"), epochs=1, out=tmp_path / "run")
