"""The comparison through time: each method is booked the seconds that it takes itself."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """The script with trainings that take 3 seconds from scratch and 10 from an encoder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module, now = importlib.import_module("spatio_temporal"), [0.0]

    def best(encoder, series, data, seed, how):
        now[0] += 3.0 if encoder is module.ENCODER else 10.0
        return SimpleNamespace(results={"test": 1.0})

    monkeypatch.setattr(module, "best", best)
    monkeypatch.setattr(module.gtl, "load", lambda spec, root: None)
    monkeypatch.setattr(module.time, "process_time", lambda: now[0])
    return module


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("there", ["static encoder", "spatial", None])
def test_each_method_is_booked_its_own_seconds(script, tmp_path, there, order):
    expected = {"static encoder": 3.0, "spatial": 10.0, "spatial + temporal": 10.0}
    if there is not None:
        script.keep({"cpu_seconds": expected[there]}, tmp_path, "chickenpox", there, 7)
    script.work("chickenpox", 7, list(expected)[::order], "", tmp_path)
    for method, seconds in expected.items():
        results = json.loads(script.place(tmp_path, "chickenpox", method, 7).read_text())
        assert results["cpu_seconds"] == seconds
