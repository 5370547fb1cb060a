"""Every example runs and prints its comparison."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SMALL = {
    "across_domains": [
        *("--methods", "dann", "--strengths", "0.1", "--seeds", "2"),
        *("--epochs", "2", "--width", "8"),
    ],
    "adapter_or_full": [
        *("--data", "demo:shapes", "--corpus", "demo:shapes", "--seeds", "2"),
        *("--epochs", "1", "--width", "8"),
    ],
    "auxiliary_tasks": [
        *("--data", "demo:shapes", "--seeds", "2", "--epochs", "1", "--width", "8"),
    ],
    "domain_recipe": ["--seeds", "2", "--epochs", "2", "--width", "8"],
    "federated_adapters": ["--seeds", "2", "--rounds", "2", "--clients", "2", "--width", "8"],
    "few_labels": ["--labels", "20", "--seeds", "2", "--epochs", "1", "--width", "8"],
    "film_transfer": ["--tasks", "2", "--episodes", "2", "--epochs", "1", "--width", "8"],
    "probe_or_tune": [
        *("--data", "demo:shapes", "--repeats", "2", "--epochs", "1", "--width", "8"),
    ],
    "pareto_front": ["--seeds", "2", "--epochs", "1", "--width", "8"],
    "few_shot_with_category_graph": ["--splits", "2", "--shots", "1"],
    "molecules_in_scikit_learn": [
        *("--corpus", "demo:solubility", "--labels", "60", "--splits", "2"),
        *("--epochs", "1", "--width", "8"),
    ],
    "small_kg_embedding": [
        *("--families", "8", "--seeds", "2", "--epochs", "1", "--width", "8"),
    ],
    "static_encoder_through_time": [
        *("--seeds", "2", "--epochs", "1", "--width", "8"),
    ],
}


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_an_example_prints_a_comparison_with_its_spread(name, tmp_path, monkeypatch, capsys):
    if name == "federated_adapters":
        pytest.importorskip("flwr", reason="Flower is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *SMALL[name]])
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as for a user
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert capsys.readouterr().out.count("±") >= 2
