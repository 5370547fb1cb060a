"""Properties of molecules: values against RDKit, missing ones, the cache, and bad input."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import gtl
from gtl.data import Dataset
from gtl.data.descriptor_names import DESCRIPTORS
from gtl.data.properties import PROPERTIES, compute, with_properties
from gtl.errors import ConfigError, DataError
from gtl.tasks import Descriptors, Fingerprint

pytest.importorskip("rdkit", reason="needs RDKit")
MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "CCO", "[Na+].[Cl-]", "C"]


def column(name: str) -> int:
    return DESCRIPTORS.index(name)


def test_descriptors_are_those_of_rdkit() -> None:
    from rdkit import Chem
    from rdkit.Chem import Descriptors as Reference

    values = compute(MOLECULES, "descriptors")
    functions = dict(Reference._descList)
    for row, text in zip(values, MOLECULES):
        molecule = Chem.MolFromSmiles(text)
        expected = np.array([functions[name](molecule) for name in DESCRIPTORS], "float32")
        expected[~np.isfinite(expected)] = np.nan
        np.testing.assert_allclose(row.numpy(), expected, rtol=1e-6)
    assert values[1, column("HeavyAtomCount")] == 3
    assert values[0, column("MolWt")] == pytest.approx(180.159)


def test_morgan_counts_are_those_of_rdkit() -> None:
    from rdkit import Chem
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    expected = [generator.GetCountFingerprintAsNumPy(Chem.MolFromSmiles(s)) for s in MOLECULES]
    assert torch.equal(compute(MOLECULES, "morgan").long(), torch.tensor(np.array(expected)).long())


def test_counts_that_do_not_fit_are_the_largest_that_does() -> None:
    counts = compute(["C" * 300], "morgan")
    assert counts.dtype == torch.uint8
    assert int(counts.max()) == 255


def test_what_cannot_be_computed_is_missing() -> None:
    values = compute(["nonsense", "CCO", ""], "descriptors")
    assert values.isnan().all(1).tolist() == [True, False, True]
    assert not compute(["nonsense"], "morgan").any()
    osmium = compute(["O=[Os](=O)(=O)=O"], "descriptors")  # no Gasteiger charges
    assert osmium[0, column("MaxPartialCharge")].isnan()
    assert osmium[0, column("HeavyAtomCount")] == 5


def test_the_tasks_have_the_columns_of_the_properties() -> None:
    for task in (Descriptors(), Fingerprint()):
        assert task.columns == PROPERTIES[task.property].width


def write(folder: Path, count: int = 30) -> Path:
    rows = "".join(f"{'C' * (i % 7 + 1)}O,{i}\n" for i in range(count))
    (folder / "molecules.csv").write_text("smiles,mass\n" + rows)
    return folder / "molecules.csv"


def test_they_are_loaded_and_kept_in_the_cache(tmp_path, monkeypatch) -> None:
    file = write(tmp_path)
    data = gtl.load(f"smiles:{file}", target="mass", properties="descriptors,morgan")
    heavy = data.graphs.properties["descriptors"][:, column("HeavyAtomCount")]
    assert heavy.tolist() == [float(len(name)) for name in data.names]
    assert list((tmp_path / "cache").glob("property-morgan-*"))
    monkeypatch.setattr("gtl.data.properties.compute", None)
    again = gtl.load(f"smiles:{file}", target="mass", properties=["morgan"])
    assert torch.equal(again.graphs.properties["morgan"], data.graphs.properties["morgan"])
    batch = again.batch(torch.tensor([3, 1]))
    assert torch.equal(batch.properties["morgan"], data.graphs.properties["morgan"][[3, 1]])


def test_several_processes_compute_the_same(tmp_path, monkeypatch) -> None:
    names = ["C" * (i % 9 + 1) for i in range(1100)]
    one = with_properties(Dataset.from_graphs(names), ["morgan"], workers=2)
    monkeypatch.setenv("GTL_CACHE", str(tmp_path / "other"))
    two = with_properties(Dataset.from_graphs(names), ["morgan"])
    assert torch.equal(one.graphs.properties["morgan"], two.graphs.properties["morgan"])


def test_a_damaged_cache_is_written_again(tmp_path, caplog) -> None:
    data = Dataset.from_graphs(MOLECULES)
    first = with_properties(data, ["morgan"]).graphs.properties["morgan"].clone()
    file = next((tmp_path / "cache").glob("property-morgan-*"))
    file.write_bytes(file.read_bytes()[:100])
    with caplog.at_level(logging.WARNING):
        again = with_properties(data, ["morgan"]).graphs.properties["morgan"]
    assert "is damaged and written again" in caplog.text
    assert torch.equal(first, again)


def test_properties_of_ogb_are_read_off_its_smiles(shared_data) -> None:
    data = gtl.load("ogb:ogbg-molbace", root=shared_data, properties=["morgan"])
    assert data.graphs.properties["morgan"].shape == (1513, 2048)
    assert torch.equal(data.graphs.properties["morgan"][:2], compute(data.names[:2], "morgan"))


def test_own_properties_are_left_as_they_are() -> None:
    data = Dataset.from_graphs(MOLECULES)
    mine = torch.arange(4.0).unsqueeze(1)
    graphs = replace(data.graphs, properties={"mine": mine})
    more = with_properties(Dataset("mine", graphs, names=data.names), ["mine", "morgan"])
    assert more.graphs.properties["mine"] is mine
    assert set(more.graphs.properties) == {"mine", "morgan"}


def test_bad_input_is_named(shapes, communities) -> None:
    with pytest.raises(ConfigError, match=r"unknown property 'morgon'.*'morgan'"):
        with_properties(shapes, ["morgon"])
    for data in (shapes, communities):
        with pytest.raises(DataError, match="computed from SMILES, and the items have none"):
            with_properties(data, ["morgan"])


def test_pretraining_computes_what_its_tasks_read() -> None:
    data = Dataset.from_graphs(["CCO", "c1ccccc1", "CC(=O)O", "CCN"] * 4)
    run = gtl.pretrain(
        {"name": "gin", "width": 8, "depth": 2}, data, ["descriptors", "fingerprint"], epochs=2
    )
    task = run.tasks["descriptors"]
    assert task.center[column("HeavyAtomCount")] == 3.5
    assert set(run.history[-1]["losses"]) == {"descriptors", "fingerprint"}
