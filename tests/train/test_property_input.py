"""Properties beside the graph vectors: columns by hand, and models that read them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import gtl
from gtl.data import Dataset
from gtl.errors import ConfigError, DataError
from gtl.train.property_input import PropertyInput

NAN = float("nan")


def with_values(data: Dataset, **values: torch.Tensor) -> Dataset:
    return replace(data, graphs=replace(data.graphs, properties=values))


@pytest.fixture
def hinted(shapes) -> Dataset:
    """The labels are beside the graphs, as a property."""
    return with_values(shapes, hint=torch.cat([10 * shapes.labels + 5, 1 - shapes.labels], 1))


def train(data: Dataset, **options):
    return gtl.finetune(
        {"name": "gin", "width": 4, "depth": 2}, data, adapter=[], epochs=30, lr=0.05, **options
    )


def test_columns_are_standardized_by_the_training_items(shapes) -> None:
    values = torch.tensor([[float(i), 7.0, NAN] for i in range(60)])
    data = with_values(shapes, mine=values)
    part = PropertyInput({"mine": 3}, width=4).fit(data, torch.arange(21))
    found = part(data.batch(torch.tensor([10, 11, 59])))
    scale = 18 / 3.2898  # between the 5 % and 95 % quantiles of 0..20
    assert found[:, 0].tolist() == pytest.approx([0.0, 1 / scale, 3.0])  # clipped
    assert not found[:, 1:].any()  # constant, unknown


def test_a_wide_block_is_no_longer_than_the_graph_vector(shapes) -> None:
    values = torch.randn(60, 100, generator=torch.Generator().manual_seed(0))
    data = with_values(shapes, mine=values)
    part = PropertyInput({"mine": 100}, width=4).fit(data, torch.arange(60))
    lengths = part(data.batch(torch.arange(60))).square().sum(1)
    assert lengths.mean().item() == pytest.approx(4.0, rel=0.15)


def test_the_head_reads_them(hinted, shapes) -> None:
    assert train(hinted, properties=["hint"]).results["test"] == 1.0
    assert train(hinted, properties="hint").results["test"] == 1.0
    assert train(shapes).results["test"] < 1.0


def test_a_model_with_properties_is_saved_and_loaded(hinted, shapes, tmp_path) -> None:
    model = train(hinted, properties=["hint"], out=tmp_path / "run", members=2)
    loaded = gtl.load_run(tmp_path / "run")
    assert loaded.properties == ["hint"]
    expected = gtl.predict(model, hinted, "test")
    assert torch.equal(gtl.predict(loaded, hinted, "test"), expected)
    with pytest.raises(ConfigError, match=r"unknown property 'hint'"):
        gtl.predict(loaded, shapes)


def test_other_columns_are_refused(hinted) -> None:
    model = train(hinted, properties=["hint"])
    other = with_values(hinted, hint=torch.zeros(60, 3))
    with pytest.raises(ConfigError, match="has 3 columns"):
        gtl.predict(model, other)


def test_nodes_have_none(communities) -> None:
    with pytest.raises(DataError, match="computed from SMILES, and the items have none"):
        gtl.finetune("gcn", communities, properties=["descriptors"], epochs=1)


def test_molecules_have_them_computed(tmp_path) -> None:
    pytest.importorskip("rdkit", reason="needs RDKit")
    names = ["C" * (i % 8 + 1) + ("O" if i % 2 else "N") for i in range(60)]
    labels = torch.tensor([[float(i % 2)] for i in range(60)])
    split = {"train": range(40), "valid": range(40, 50), "test": range(50, 60)}
    data = Dataset.from_graphs(names, labels, split={k: torch.tensor(v) for k, v in split.items()})
    model = train(data, properties=["descriptors"], readout=["mean", "max"])
    assert model.predictor.head.map.in_features == 2 * 4 + 217
    fresh = Dataset.from_graphs(["CCO", "CCN"])
    predictions = gtl.predict(model, fresh)
    assert predictions[0, 0] > 0.5 > predictions[1, 0]
