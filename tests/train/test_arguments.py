"""Arguments of the loops: numbers of NumPy are taken, what cannot be used is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import gtl
from gtl.errors import ConfigError
from gtl.train.resolve import origin_of

ENCODER = {"name": "gin", "width": 4, "depth": 1}


@pytest.fixture(scope="module")
def shapes():
    return gtl.load("demo:shapes", seed=np.int64(0))


def test_numbers_of_numpy_are_those_of_python(shapes, tmp_path):
    options = {"epochs": np.int64(1), "lr": np.float32(0.01), "seed": np.int64(3)}
    found = gtl.finetune(ENCODER, shapes, **options, out=tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["epochs"], config["seed"], config["data_options"]) == (1, 3, {"seed": 0})
    same = gtl.finetune(ENCODER, shapes, epochs=1, lr=float(np.float32(0.01)), seed=3)
    assert found.results["valid"] == same.results["valid"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 1.5}, "`epochs` is 1.5, expected a whole number"),
        ({"batch_size": 2.5}, "`batch_size` is 2.5, expected a whole number"),
        ({"seed": None}, "`seed` is None, expected a whole number"),
        ({"seed": 2**70}, "`seed` is .*, expected a whole number"),
        ({"meta_share": 0.9999}, "`meta_share` is 0.9999, which leaves none of"),
        ({"head": gtl.heads.Linear}, "the class Linear was given"),
        ({"head": ["linear"]}, r"head: \['linear'\] was given"),
        ({"class_weights": ["a", 1]}, "`class_weights` has .*, expected 'balanced' or a list"),
        ({"class_weights": {0: 1.0, 1: 3.0}}, "`class_weights` has .*, expected 'balanced' or"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(shapes, options, message):
    with pytest.raises(ConfigError, match=message):
        gtl.finetune(ENCODER, shapes, **{"epochs": 1, **options})


def test_class_weights_may_be_a_tensor_or_an_array(shapes):
    for weights in ([1.0, 3.0], torch.tensor([1.0, 3.0]), np.array([1.0, 3.0])):
        task = gtl.tasks.Supervised(kind="binary", class_weights=weights)
        assert task.class_weights == [1.0, 3.0]
        assert task.weight_of_class.tolist() == [[1.0], [3.0]]


def test_no_auxiliary_tasks_may_be_none_and_pretraining_needs_some(shapes):
    usual = gtl.finetune(ENCODER, shapes, epochs=1).results["valid"]
    assert (
        gtl.finetune(ENCODER, shapes, auxiliary=None, head=None, epochs=1).results["valid"] == usual
    )
    for tasks in ([], None):
        with pytest.raises(ConfigError, match="`tasks` is empty; name at least one"):
            gtl.pretrain(ENCODER, shapes, tasks, epochs=1)


def test_a_folder_called_like_an_encoder_of_gtl_is_not_that_encoder(shapes, tmp_path):
    folder = tmp_path / "runs" / "molecules"
    run = gtl.pretrain(ENCODER, shapes, ["edge_prediction"], epochs=1, out=folder)
    assert origin_of("molecules") == "molecules"
    assert origin_of(folder) == origin_of(run) == "runs/molecules"
