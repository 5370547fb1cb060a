"""The recipe of the molecule encoder, made small: corpus, phases that are not repeated, export."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

import gtl
from gtl.train.shipped import read_run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytest.importorskip("rdkit", reason="needs RDKit")


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("pretrain_molecules")
    monkeypatch.setattr(module, "PHASES", ((1, 1e-3), (1, 1e-4)))
    monkeypatch.setattr(module, "ENCODER", {"name": "gin", "width": 8, "depth": 2})
    monkeypatch.setattr(module, "CHUNK", 20)
    return module


def test_the_three_steps_make_an_encoder(script, tmp_path, monkeypatch, capsys):
    chosen = [("C" * carbons + "O", "chemicals") for carbons in range(1, 51)]
    monkeypatch.setattr(script, "choose", lambda wheels, data: (list(chosen), {}))
    script.make_corpus(tmp_path, tmp_path, tmp_path, workers=1)
    corpus = gtl.load(f"packed:{tmp_path / 'corpus.safetensors'}")
    assert len(corpus) == 50
    values = corpus.graphs.properties["descriptors"]
    assert values.isnan().all(0).sum() >= 13  # those that take long are left out
    assert not values[:, gtl.data.descriptor_names.DESCRIPTORS.index("MolWt")].isnan().any()
    script.train(tmp_path)
    monkeypatch.setattr(gtl, "pretrain", None)  # finished phases are not trained again
    script.train(tmp_path)
    script.export(tmp_path)
    facts = json.loads(capsys.readouterr().out)
    assert facts["epochs"] == 2
    run = read_run(tmp_path / "molecules.safetensors", facts["sha256"])
    assert set(run.tasks) == {"descriptors", "fingerprint"}


def test_molecules_of_the_test_parts_are_left_out_whatever_their_salt(script, monkeypatch):
    monkeypatch.setattr(script, "SOURCES", {"one": None, "two": None})
    entries = {"one": ["CCO", "C[C@H](N)O", "nonsense"], "two": ["OCC.Cl", "c1ccccc1.[Na+]"]}
    monkeypatch.setattr(script, "smiles_of", lambda source, wheels, data: iter(entries[source]))
    test = {"set": script.skeletons(["c1ccccc1", "CC(N)O.Cl"])}
    monkeypatch.setattr(script, "excluded", lambda wheels, data: test)
    chosen, facts = script.choose(None, None)
    assert chosen == [("CCO", "one")]
    assert facts["entries left out"] == {"set": 2, "all": 2}
