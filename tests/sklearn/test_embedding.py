"""MoleculeEmbedding: its vectors are the encoder's, and each row is read or named."""

from __future__ import annotations

import logging
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

import gtl
from gtl.data.descriptor_names import DESCRIPTORS
from gtl.data.properties import compute
from gtl.errors import ConfigError, DataError, UnknownPartError
from gtl.sklearn import MoleculeEmbedding
from gtl.train import shipped

pytest.importorskip("rdkit", reason="needs RDKit")
ODD = ["CCO", "[Na+].[Cl-]", "[Fe]", "C", "[CH3:1][OH:2]", "[13CH4]"]


def test_vectors_are_those_of_gtl_embed(encoder, molecules) -> None:
    data = gtl.Dataset.from_graphs(molecules)
    for readout in ("mean", ["mean", "sum", "max"]):
        found = MoleculeEmbedding(encoder, readout=readout, batch_size=7).fit_transform(molecules)
        expected = gtl.embed(encoder, data, readout=readout)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_unusual_molecules_have_vectors_and_unreadable_ones_are_named(encoder, caplog) -> None:
    rows = [*ODD, "", "nothing", None]
    embedding = MoleculeEmbedding(encoder).fit(rows)
    with pytest.raises(DataError, match=r"row 6 \('' is empty\), row 7 \('nothing' is not .*row 8"):
        embedding.transform(rows)
    with caplog.at_level(logging.WARNING, "gtl"):
        found = embedding.set_params(on_invalid="nan").transform(rows)
    assert np.isnan(found).all(1).tolist() == [False] * 6 + [True] * 3
    assert np.isfinite(found[:6]).all() and "3 of 9 rows left out" in caplog.text


def test_properties_stand_beside_the_vectors(encoder) -> None:
    embedding = MoleculeEmbedding(encoder, readout="mean", properties=["descriptors"])
    found = embedding.fit_transform(ODD)
    expected = compute(ODD, "descriptors").numpy()
    np.testing.assert_array_equal(found[:, 8:], expected)
    names = embedding.get_feature_names_out()
    assert list(names[:2]) == ["vector_0", "vector_1"] and tuple(names[8:]) == DESCRIPTORS


def test_pandas_output_has_the_index_of_the_rows(encoder, molecules) -> None:
    import pandas as pd

    table = pd.DataFrame({"smiles": molecules}, index=range(100, 120))
    found = MoleculeEmbedding(encoder).set_output(transform="pandas").fit_transform(table)
    assert list(found.index) == list(table.index) and found.shape == (20, 24)


def test_it_stands_in_pipelines_and_is_cloned_and_pickled(encoder, molecules) -> None:
    model = make_pipeline(MoleculeEmbedding(encoder), Ridge(1e-3))
    lengths = np.array([len(text) for text in molecules], dtype=float)
    model = clone(model).fit(molecules, lengths)
    assert model.score(molecules, lengths) > 0.8
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(molecules), model.predict(molecules))


def test_the_given_encoder_stays_as_it_was(encoder, molecules) -> None:
    encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    embedding = MoleculeEmbedding(encoder).fit(molecules)
    first = embedding.transform(molecules)
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    torch.nn.init.zeros_(next(encoder.parameters()))  # later training of it does not matter
    np.testing.assert_array_equal(embedding.transform(molecules), first)


def test_an_encoder_is_a_run_a_folder_a_model_or_one_that_is_shipped(
    molecules, tmp_path, monkeypatch
) -> None:
    run = gtl.pretrain(
        {"name": "gin", "width": 8, "depth": 1}, molecules, epochs=1, out=tmp_path / "a"
    )
    expected = MoleculeEmbedding(run).fit_transform(molecules)
    of_folder = MoleculeEmbedding(tmp_path / "a").fit_transform(molecules)
    np.testing.assert_array_equal(of_folder, expected)
    checksum = shipped.write_run(run, tmp_path / "small.safetensors")
    monkeypatch.setitem(shipped.SHIPPED, "small", checksum)
    monkeypatch.setattr(shipped, "_place", lambda name, ending: tmp_path / f"{name}{ending}")
    of_name = MoleculeEmbedding("small").fit_transform(molecules)
    np.testing.assert_allclose(of_name, expected, atol=0.05)  # half precision
    lengths = [float(len(text)) for text in molecules]
    data = gtl.Dataset.from_graphs(molecules, lengths, kind="regression")
    model = gtl.finetune(run, data, epochs=1)
    of_model = MoleculeEmbedding(model).fit_transform(molecules)
    np.testing.assert_allclose(of_model, gtl.embed(model, data).numpy(), rtol=1e-5, atol=1e-6)


def test_graphs_without_smiles_have_vectors() -> None:
    data = gtl.load("demo:shapes")
    run = gtl.pretrain({"name": "gin", "width": 8, "depth": 1}, data, epochs=1)
    found = MoleculeEmbedding(run, readout="mean").fit_transform(data.graphs)
    np.testing.assert_allclose(found, gtl.embed(run, data).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"encoder": "gin"}, ConfigError, "`encoder` is 'gin', which is not trained"),
        ({"encoder": "moleculs"}, UnknownPartError, "unknown encoder 'moleculs'"),
        ({"on_invalid": "skip"}, ConfigError, "`on_invalid` is 'skip', expected 'raise' or 'nan'"),
        ({"workers": 0}, ConfigError, "`workers` is 0"),
        ({"properties": ["descriptor"]}, DataError, "unknown property 'descriptor'"),
        ({"readout": "attention"}, ConfigError, "`readout` with parameters"),
    ],
)
def test_wrong_options_are_named(encoder, molecules, options, error, message) -> None:
    with pytest.raises(error, match=message):
        MoleculeEmbedding(**{"encoder": encoder, **options}).fit(molecules)


def test_rows_of_which_none_can_be_read_are_refused(encoder) -> None:
    with pytest.raises(DataError, match=r"none of the first 2 rows can be read: row 0 \("):
        MoleculeEmbedding(encoder).fit(["", None])
    with pytest.raises(DataError, match="0 rows can be read: there is no row"):
        MoleculeEmbedding(encoder).fit([])
