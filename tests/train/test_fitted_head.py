"""Linear heads that start from a regularized fit: the fit, kinds of labels, and selection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import gtl
from gtl.data import Dataset
from gtl.errors import ConfigError
from gtl.train.probe_models import LinearModel


@pytest.fixture
def start(shapes):
    torch.manual_seed(1)
    return gtl.pretrain({"name": "gin", "width": 8, "depth": 2}, shapes, ["motif"], epochs=2)


def untrained(start, data: Dataset, **options):
    """A model whose encoder cannot move and whose head stays where it starts."""
    return gtl.finetune(start, data, adapter=[], head_start="fitted", epochs=1, lr=1e-12, **options)


def train_part(start, data: Dataset) -> tuple[np.ndarray, torch.Tensor]:
    index = data.split["train"].sort().values
    return gtl.embed(start, data)[index].double().numpy(), data.labels[index]


def test_the_head_is_the_solution_of_the_probe(start, shapes) -> None:
    model = untrained(start, shapes)
    vectors, labels = train_part(start, shapes)
    found = LinearModel().fit(vectors, labels[:, 0].numpy(), 2, 0)
    expected = torch.from_numpy(found.weight[:, -1:].T).float()
    torch.testing.assert_close(model.predictor.head.map.weight, expected)
    torch.testing.assert_close(
        model.predictor.head.map.bias, torch.from_numpy(found.bias[-1:]).float()
    )


def test_values_are_fitted_in_their_own_unit(start, shapes) -> None:
    vectors = gtl.embed(start, shapes)
    labels = (1000 + 50 * vectors[:, :1]).float()
    data = replace(shapes, labels=labels, kind="regression", metric="rmse")
    assert untrained(start, data).results["valid"] < 5


def test_classes_are_fitted_together(start, shapes) -> None:
    for count in (2, 3):
        labels = torch.arange(60) % count
        data = replace(shapes, labels=labels, kind="multiclass", metric="acc")
        model = untrained(start, data)
        vectors, numbers = train_part(start, data)
        found = LinearModel().fit(vectors, numbers.numpy(), count, 0)
        scores = torch.from_numpy(found(vectors)).float()
        if count == 2:
            scores = torch.cat([-scores, scores], 1) / 2
        index = data.split["train"].sort().values
        low, high = torch.from_numpy(found.low), torch.from_numpy(found.high)
        inside = ((torch.from_numpy(vectors) >= low) & (torch.from_numpy(vectors) <= high)).all(1)
        ours = gtl.predict(model, data)[index]
        torch.testing.assert_close(ours[inside], scores.softmax(1)[inside], atol=1e-5, rtol=1e-4)


def test_missing_labels_and_columns_of_one_class_are_left_out(start, shapes) -> None:
    labels = torch.cat([shapes.labels, torch.ones(60, 1), shapes.labels], 1)
    labels[::3, 0] = float("nan")
    head = untrained(start, replace(shapes, labels=labels)).predictor.head.map
    vectors, known = train_part(start, replace(shapes, labels=labels))
    for column in (0, 2):
        rows = ~known[:, column].isnan()
        found = LinearModel().fit(vectors[rows.numpy()], known[rows, column].numpy(), 2, 0)
        expected = torch.from_numpy(found.weight[:, -1]).float()
        torch.testing.assert_close(head.weight[column], expected)
    assert head.weight[1].isfinite().all()


def test_the_start_is_kept_where_training_only_hurts(start, shapes) -> None:
    before = untrained(start, shapes, seed=3)
    model = gtl.finetune(start, shapes, head_start="fitted", lr=1e3, epochs=3, seed=3)
    every = [line["valid"] for line in model.history]
    assert model.results["valid"] == max([*every, before.results["valid"]])
    assert (model.results["epoch"] == -1) == (before.results["valid"] >= max(every))


def test_an_interrupted_run_goes_on_the_same(start, shapes, tmp_path) -> None:
    options = {"head_start": "fitted", "seed": 2}
    whole = gtl.finetune(start, shapes, epochs=4, **options)
    gtl.finetune(start, shapes, epochs=2, out=tmp_path / "run", **options)
    resumed = gtl.finetune(start, shapes, epochs=4, out=tmp_path / "run", resume=True, **options)
    for one, two in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(one, two)


def test_other_heads_and_values_are_refused(start, shapes) -> None:
    with pytest.raises(ConfigError, match="for the head 'linear', not MLP"):
        gtl.finetune(start, shapes, head="mlp", head_start="fitted", epochs=1)
    with pytest.raises(ConfigError, match="`head_start` is 'best'"):
        gtl.finetune(start, shapes, head_start="best", epochs=1)


def test_an_encoder_that_comes_with_gtl_has_settings_of_its_own() -> None:
    from gtl.train.defaults import start_settings

    given = {"lr": None, "readout": None, "head": "linear", "epochs": 3}
    found = start_settings("molecules", given)
    assert found["head_start"] == "fitted" and found["epochs"] == 3
    assert "head_start" not in start_settings("molecules", {**given, "head": "mlp"})
    assert start_settings(None, given) == {**given, "readout": "mean", "properties": ()}
