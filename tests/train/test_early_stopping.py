"""Training that ends when validation values no longer get better."""

from __future__ import annotations

import pytest

import gtl
from gtl.errors import ConfigError
from gtl.train.loop import Training

SMALL = {"name": "gin", "width": 8, "depth": 2}
SHARED = {"batch_size": 0, "seed": 0}


@pytest.fixture
def flat(monkeypatch):
    """Validation values as a test wants them, epoch by epoch; the last one goes on."""

    def use(*values):
        original = Training.__init__

        def begin(self, job, random=None):
            original(self, job, random)
            job.validate = lambda: values[min(self.epoch, len(values) - 1)]

        monkeypatch.setattr(Training, "__init__", begin)

    return use


def test_training_ends_patience_epochs_after_the_best_one(flat):
    flat(0.5, 0.6, 0.6, 0.7, 0.1)
    model = gtl.finetune(SMALL, gtl.load("demo:shapes"), epochs=20, patience=3, **SHARED)
    assert len(model.history) == 3 + 1 + 3
    assert model.results["epoch"] == 3


@pytest.mark.parametrize("patience", [0, None, 30])
def test_without_patience_at_graph_level_all_epochs_are_done(flat, patience):
    flat(0.5)
    model = gtl.finetune(SMALL, gtl.load("demo:shapes"), epochs=9, patience=patience, **SHARED)
    assert len(model.history) == 9


def test_a_training_that_stopped_is_done_when_it_is_resumed(flat, tmp_path):
    flat(0.5)
    data, options = gtl.load("demo:shapes"), {"epochs": 9, "patience": 2, **SHARED}
    first = gtl.finetune(SMALL, data, out=tmp_path / "run", **options)
    again = gtl.finetune(SMALL, data, out=tmp_path / "run", resume=True, **options)
    assert len(first.history) == len(again.history) == 3
    assert again.results["test"] == first.results["test"]


def test_epochs_before_the_end_are_those_of_a_training_without_patience():
    data, shared = gtl.load("demo:shapes"), {"epochs": 6, **SHARED}
    whole = gtl.finetune(SMALL, data, **shared)
    ended = gtl.finetune(SMALL, data, patience=1, **shared)
    kept = len(ended.history)
    lines = [[line["losses"], line["valid"]] for line in whole.history[:kept]]
    assert [[line["losses"], line["valid"]] for line in ended.history] == lines


def test_patience_below_zero_is_refused():
    with pytest.raises(ConfigError, match="`patience` is -1, expected 0 or a positive"):
        gtl.finetune(SMALL, gtl.load("demo:shapes"), patience=-1)
