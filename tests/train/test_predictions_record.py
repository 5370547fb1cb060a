"""Predictions of the test split are in the run folder, those that gtl.predict gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import gtl
from gtl.report.prediction_table import read_predictions
from gtl.train import predictions_record
from gtl.train.predictions_record import principal_components, write_test_predictions

SMALL = {"name": "gin", "width": 4, "depth": 1}


def _classes(names=()):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(60, 5, generator=rng)
    src, dst = torch.randint(60, (2, 200), generator=rng)
    labels = torch.arange(60) % 3
    labels[59] = -1
    parts = torch.arange(60).split(20)
    split = dict(zip(("train", "valid", "test"), parts))
    graph = gtl.Graph(src, dst, 60, x=x)
    return gtl.Dataset(
        "x", graph=graph, labels=labels, level="node", split=split, class_names=tuple(names)
    )


def test_binary_labels_have_their_probability_and_vectors(tmp_path):
    data = gtl.load("demo:shapes", seed=0)
    model = gtl.finetune(SMALL, data, epochs=1, out=tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv")
    items = data.items("test")
    assert list(rows) == ["item", "label ring", "predicted ring", "component 1", "component 2"]
    assert rows["item"].tolist() == items.tolist()
    assert rows["label ring"].tolist() == data.labels[items, 0].tolist()
    found = gtl.predict(model, data, "test")[:, 0]
    np.testing.assert_allclose(rows["predicted ring"], found, rtol=1e-5)
    vectors = principal_components(gtl.embed(model, data, "test"))
    np.testing.assert_allclose(rows[["component 1", "component 2"]], vectors, rtol=1e-4, atol=1e-6)


def test_classes_are_named_and_missing_labels_stay_missing(tmp_path):
    data = _classes(("red", "green", "blue"))
    model = gtl.finetune("gcn", data, epochs=1, out=tmp_path / "run")
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv", keep_default_na=False)
    chances = gtl.predict(model, data, "test")
    names = np.array(["red", "green", "blue"])
    assert rows["predicted"].tolist() == names[chances.argmax(1)].tolist()
    assert rows["label"].tolist()[:3] == ["green", "blue", "red"] and rows["label"].iloc[-1] == ""
    np.testing.assert_allclose(rows["probability"], chances.max(1).values, rtol=1e-5)
    table = read_predictions(tmp_path / "run" / "predictions.csv")
    right = [float(a == b) for a, b in zip(rows["label"], rows["predicted"])][:-1]
    assert table.pairs()[1].tolist() == right
    own = chances[torch.arange(19), data.labels[40:59]]
    worst = table.worst(2)
    assert [name for name, *_ in worst] == [str(40 + i) for i in own.argsort()[:2].tolist()]


@pytest.mark.parametrize("names", [("0", "1", "2"), ("None", "NA", "nan")])
def test_names_of_classes_that_look_like_numbers_or_missing_cells_are_read_back(tmp_path, names):
    data = _classes(names)
    model = gtl.finetune("gcn", data, epochs=1)
    table = read_predictions(write_test_predictions(tmp_path, model, data))
    labels, predicted = table.classes
    assert labels == [*(names[number % 3] for number in range(40, 59)), ""]
    assert predicted == [names[i] for i in gtl.predict(model, data, "test").argmax(1).tolist()]


def test_an_ensemble_and_adapters_have_them_too(tmp_path):
    data = gtl.load("demo:shapes", seed=0)
    options = {"epochs": 1, "members": 2, "adapter": "bottleneck"}
    model = gtl.finetune(SMALL, data, out=tmp_path / "run", **options)
    rows = pd.read_csv(tmp_path / "run" / "predictions.csv")
    found = gtl.predict(model, data, "test")[:, 0]
    np.testing.assert_allclose(rows["predicted ring"], found, rtol=1e-5)


def test_the_test_split_is_encoded_once_for_predictions_and_vectors(tmp_path):
    data = gtl.load("demo:shapes", seed=0)
    model = gtl.finetune(SMALL, data, epochs=1)
    passes = []
    hook = model.encoder.register_forward_hook(lambda *_: passes.append(1))
    write_test_predictions(tmp_path, model, data)
    hook.remove()
    assert len(passes) == 1


def test_larger_tables_are_not_written(tmp_path, monkeypatch):
    data = gtl.load("demo:shapes", seed=0)
    monkeypatch.setattr(predictions_record, "LIMIT", 39)  # there are 40
    gtl.finetune(SMALL, data, epochs=1, out=tmp_path / "run")
    assert not (tmp_path / "run" / "predictions.csv").exists()


def test_components_have_the_largest_variances_and_no_correlation():
    rng = torch.Generator().manual_seed(0)
    vectors = torch.randn(50, 7, generator=rng) * torch.arange(1, 8)
    found = principal_components(vectors)
    values = torch.linalg.eigvalsh(torch.cov(vectors.t().double())).flip(0)[:2]
    torch.testing.assert_close(
        torch.cov(found.t()).double(), torch.diag(values), rtol=1e-4, atol=1e-3
    )
    assert all(column[column.abs().argmax()] > 0 for column in found.t())


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (5, 2)])
def test_degenerate_vectors_have_components_of_zero(shape):
    assert principal_components(torch.ones(shape)).tolist() == [[0.0, 0.0]] * shape[0]
