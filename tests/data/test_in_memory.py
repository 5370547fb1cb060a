"""Data sets of what is in memory: graphs of every library, labels, splits and features."""

from __future__ import annotations

import networkx
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

from gtl import Dataset, Graph
from gtl.data.in_memory import as_dataset_in_memory, read_split
from gtl.errors import DataError, GtlWarning
from gtl.graph import PackedGraphs


def path(n: int, **fields) -> Graph:
    nodes = torch.arange(n - 1)
    return Graph(torch.cat([nodes, nodes + 1]), torch.cat([nodes + 1, nodes]), n, **fields)


def paths(count: int = 10) -> list[Graph]:
    return [path(n + 2, x=torch.ones(n + 2, 3)) for n in range(count)]


@pytest.fixture
def pyg():
    return pytest.importorskip("torch_geometric.data", reason="PyG is not installed")


@pytest.fixture
def dgl(monkeypatch):
    monkeypatch.setenv("DGLBACKEND", "pytorch")
    return pytest.importorskip("dgl", reason="DGL has no wheel here")


# -- many graphs ---------------------------------------------------------------------------------


def test_graphs_with_numpy_labels_are_split_at_random_by_seed():
    labels = np.array([0, 1] * 5)
    data = Dataset.from_graphs(paths(), labels, seed=3)
    assert (data.level, data.kind, data.metric) == ("graph", "binary", "rocauc")
    assert {part: len(index) for part, index in data.split.items()} == {
        "train": 8,
        "valid": 1,
        "test": 1,
    }
    again, other = (Dataset.from_graphs(paths(), labels, seed=seed) for seed in (3, 4))
    assert data.checksum() == again.checksum() != other.checksum()


def test_items_without_a_label_are_in_no_part_of_a_random_split():
    data = Dataset.from_graphs(paths(), ["a", "b", "c", None] * 2 + ["a", None])
    assert data.class_names == ("a", "b", "c")
    used = torch.cat(list(data.split.values()))
    assert sorted(used.tolist()) == [0, 1, 2, 4, 5, 6, 8]


def test_a_split_may_be_masks_or_numbers_and_val_means_valid():
    mask = np.arange(10) < 6
    split = {"train": mask, "val": torch.tensor([6, 7]), "test": [8, 9]}
    data = Dataset.from_graphs(paths(), [0.5] * 9 + [1.0], split)
    assert {part: index.tolist() for part, index in data.split.items()} == {
        "train": [0, 1, 2, 3, 4, 5],
        "valid": [6, 7],
        "test": [8, 9],
    }


def test_packed_graphs_and_graphs_without_labels_are_taken():
    packed = PackedGraphs.pack(paths(3))
    data = Dataset.from_graphs(packed)
    assert data.graphs is packed and data.labels is None and not data.split
    assert len(Dataset.from_graphs(packed, [0, 1, 1], {"train": [0]}, names=("a", "b", "c"))) == 3


def test_graphs_of_pyg_bring_their_labels(pyg):
    ends = torch.tensor([[0, 1], [1, 0]])
    several = [
        pyg.Data(x=torch.ones(2, 1), edge_index=ends, y=torch.tensor([[float(i), 0.5]]))
        for i in range(4)
    ]
    data = Dataset.from_graphs(several)
    assert data.kind == "regression" and data.labels[:, 0].tolist() == [0, 1, 2, 3]
    batch = pyg.Batch.from_data_list(several)
    assert as_dataset_in_memory(batch).labels.tolist() == data.labels.tolist()
    nodes = [pyg.Data(x=torch.ones(2, 1), edge_index=ends, y=torch.tensor([0, 1]))]
    with pytest.raises(DataError, match="graph 0 of `graphs` has 2 rows of `y`"):
        Dataset.from_graphs(nodes)


def test_pairs_of_graph_and_label_are_what_dgl_data_sets_give(dgl):
    graph = dgl.graph(([0, 1], [1, 0]))
    data = Dataset.from_graphs([(graph, torch.tensor(i % 3)) for i in range(6)])
    assert data.kind == "multiclass" and data.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_networkx_and_scipy_graphs_are_taken():
    ring = networkx.cycle_graph(4)
    matrix = scipy.sparse.csr_array(np.ones((4, 4)))
    data = Dataset.from_graphs([ring, matrix], [0, 1], {"train": [0, 1]})
    assert [graph.num_edges for graph in data.graphs] == [8, 16]


def test_a_graph_that_cannot_be_read_is_named_by_its_number():
    with pytest.raises(DataError, match="graph 1 of `graphs`: cannot make a Graph of"):
        Dataset.from_graphs([path(3), 7])
    with pytest.raises(DataError, match="`graphs` is empty"):
        Dataset.from_graphs([])
    with pytest.raises(DataError, match="give a list"):
        Dataset.from_graphs("CCO")


def test_smiles_become_molecules_and_their_names():
    pytest.importorskip("rdkit")
    smiles = pd.Series(["CCO", "CC", "C", "CCC"])
    data = Dataset.from_graphs(smiles, ["a", "b", "a", "b"], {"train": [0, 1], "test": [2, 3]})
    assert tuple(data.names) == ("CCO", "CC", "C", "CCC")
    assert data.schema.node.width == 9 and data.class_names == ("a", "b")


def test_copies_of_a_molecule_in_a_list_are_in_one_part_of_a_random_split():
    pytest.importorskip("rdkit")
    ethers = [f"{'C' * n}OC" for n in range(1, 21)] + [f"CO{'C' * n}" for n in range(1, 21)]
    data = Dataset.from_graphs(ethers, [i % 3 + 0.5 for i in range(40)])
    part = {i: name for name, index in data.split.items() for i in index.tolist()}
    assert sorted(part) == list(range(40)) and all(part[i] == part[i + 20] for i in range(20))


def test_smiles_that_cannot_be_read_are_refused_or_left_out_with_their_labels(caplog):
    pytest.importorskip("rdkit")
    smiles, split = ["CCO", "no", "C", "CC"], {"train": [0, 1, 2], "test": [3]}
    with pytest.raises(DataError, match="row 1"):
        Dataset.from_graphs(smiles, [0.1, 0.2, 0.3, 0.4], split)
    data = Dataset.from_graphs(smiles, [0.1, 0.2, 0.3, 0.4], split, on_invalid="skip")
    assert "row 1 ('no')" in caplog.text
    assert data.labels.flatten().tolist() == pytest.approx([0.1, 0.3, 0.4])
    assert (data.split["train"].tolist(), data.split["test"].tolist()) == ([0, 1], [2])
    assert tuple(data.names) == ("CCO", "C", "CC")


# -- one graph -----------------------------------------------------------------------------------


def test_data_of_pyg_brings_labels_and_masks(pyg):
    y = torch.tensor([0, 1, 2, 1])
    mask = torch.tensor([True, False, False, True])
    graph = pyg.Data(
        x=torch.ones(4, 2),
        edge_index=torch.tensor([[0, 1], [1, 2]]),
        y=y,
        train_mask=mask,
        val_mask=torch.tensor([False, True, False, False]),
        test_mask=torch.tensor([False, False, True, False]),
    )
    data = Dataset.from_graph(graph)
    assert (data.level, data.kind) == ("node", "multiclass")
    assert data.labels.tolist() == y.tolist()
    parts = {part: index.tolist() for part, index in data.split.items()}
    assert parts == {"train": [0, 3], "valid": [1], "test": [2]}
    assert as_dataset_in_memory(graph).checksum() == data.checksum()


def test_a_column_of_several_masks_is_chosen(pyg):
    graph = pyg.Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0], [1]]), y=torch.arange(3))
    graph.train_mask = torch.tensor([[True, False], [False, True], [False, False]])
    assert Dataset.from_graph(graph).split["train"].tolist() == [0]
    assert Dataset.from_graph(graph, mask_column=1).split["train"].tolist() == [1]
    with pytest.raises(DataError, match=r"has 2 columns, there is no column 2"):
        Dataset.from_graph(graph, mask_column=2)


def test_a_label_of_the_whole_graph_is_none_of_its_nodes(pyg):
    graph = pyg.Data(x=torch.ones(3, 1), edge_index=torch.tensor([[0], [1]]), y=torch.ones(1, 1))
    with pytest.raises(DataError, match=r"1 labels for 3 nodes.*from_graphs"):
        Dataset.from_graph(graph)


def test_a_dgl_graph_brings_labels_and_masks(dgl):
    graph = dgl.graph(([0, 1, 2], [1, 2, 0]))
    graph.ndata["feat"] = torch.ones(3, 4)
    graph.ndata["label"] = torch.tensor([2, 0, 1])
    graph.ndata["train_mask"] = torch.tensor([1, 0, 0], dtype=torch.uint8)
    graph.ndata["test_mask"] = torch.tensor([False, True, True])
    data = Dataset.from_graph(graph)
    assert data.labels.tolist() == [2, 0, 1] and data.schema.node.width == 4
    assert data.split["train"].tolist() == [0] and data.split["test"].tolist() == [1, 2]


def test_labels_by_type_of_a_batch_of_heterogeneous_graphs_are_refused(dgl):
    graph = dgl.heterograph({("author", "writes", "paper"): ([0, 1], [0, 2])})
    graph.nodes["paper"].data["train_mask"] = torch.tensor([1, 0, 0]).bool()
    whole = dgl.batch([graph, graph])  # its papers are nodes 2 to 4 and 7 to 9
    split = {"train": [2], "valid": [3], "test": [7]}
    for labels in ({"paper": [0, 1, 2] * 2}, [0, 1] * 5):
        with pytest.raises(DataError, match="numbered graph by graph; give one graph, or `labels`"):
            Dataset.from_graph(whole, labels)
    data = Dataset.from_graph(whole, [0, 1] * 5, split)
    assert data.split["test"].tolist() == [7]


def test_labels_of_one_type_of_a_heterogeneous_graph_leave_other_nodes_unlabeled(dgl):
    graph = dgl.heterograph({("author", "writes", "paper"): ([0, 1], [0, 2])})
    graph.nodes["paper"].data["label"] = torch.tensor([2, 0, 1])
    graph.nodes["paper"].data["train_mask"] = torch.tensor([True, False, True])
    data = Dataset.from_graph(graph)
    assert data.labels.tolist() == [-1, -1, 2, 0, 1] and data.split["train"].tolist() == [2, 4]
    chosen = Dataset.from_graph(graph, {"author": ["x", "y"]}, {"train": [0, 1]})
    assert torch.nan_to_num(chosen.labels, nan=-9).flatten().tolist() == [0, 1, -9, -9, -9]
    graph.nodes["author"].data["label"] = torch.tensor([0, 1])
    with pytest.raises(DataError, match="2 types have labels"):
        Dataset.from_graph(graph)


def test_attributes_of_networkx_are_labels_if_named():
    club = networkx.karate_club_graph()
    data = Dataset.from_graph(club, labels="club", seed=1)
    assert (data.kind, data.class_names) == ("binary", ("Mr. Hi", "Officer"))
    assert sum(map(len, data.split.values())) == 34
    with pytest.raises(DataError, match=r"no field 'klub'.*club"):
        Dataset.from_graph(club, labels="klub")


def test_a_matrix_takes_features_and_labels_beside_it():
    ring = scipy.sparse.coo_array(np.roll(np.eye(5), 1, axis=1))
    features = scipy.sparse.csr_matrix(np.arange(10.0).reshape(5, 2))
    data = Dataset.from_graph(ring, [0, 1, 0, 1, 0], {"train": range(5)}, x=features)
    assert data.graph.x.tolist() == np.arange(10.0).reshape(5, 2).tolist()
    assert data.graph.x.dtype == torch.float32


def test_labels_of_seeds_are_labels_of_those_nodes():
    graph = path(4, seeds=torch.tensor([3, 1]), y=torch.tensor([0, 1]))
    data = Dataset.from_graph(graph, split={"train": [1, 3]}, kind="multiclass")
    assert data.labels.tolist() == [-1, 1, -1, 0] and data.graph.seeds is None


def test_pairs_make_a_link_level_set():
    data = Dataset.from_graph(path(4), [1, 0], {"train": [0], "test": [1]}, pairs=[[0, 1], [0, 3]])
    assert (data.level, data.kind, data.labels.tolist()) == ("edge", "binary", [[1.0], [0.0]])
    with pytest.raises(DataError, match="transpose it"):
        Dataset.from_graph(path(4), pairs=np.zeros((2, 5), dtype=int))


def test_test_links_that_are_edges_of_the_graph_are_warned_of():
    pairs = [[0, 1], [2, 1], [0, 3], [1, 3]]
    split = {"train": [0], "test": [1, 2, 3]}
    with pytest.warns(GtlWarning, match="1 of 1 test links are edges of the graph"):
        Dataset.from_graph(path(4), [1, 1, 0, 0], split, pairs=pairs)


# -- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float64, torch.float32),
        (torch.uint8, torch.int64),
        (torch.int32, torch.int64),
    ],
)
def test_features_have_one_floating_and_one_integer_precision(given, stored):
    graph = path(3, x=torch.ones(3, 2, dtype=given))
    assert Dataset.from_graph(graph).graph.x.dtype == stored
    assert Dataset.from_graphs([graph]).graphs.x.dtype == stored


def test_features_that_carry_autograd_are_refused():
    graph = path(3, x=torch.ones(3, 2, requires_grad=True) * 2)
    for make in (
        Dataset.from_graph,
        lambda graph: Dataset.from_graphs([graph]),
        lambda graph: Dataset("memory", graph=graph, level="node"),
        lambda graph: PackedGraphs.pack([graph]),
    ):
        with pytest.raises(DataError, match=r"`x` carries autograd.*x\.detach\(\)"):
            make(graph)


# -- the door ------------------------------------------------------------------------------------


def test_loops_take_graphs_and_labels_as_a_tuple():
    data = as_dataset_in_memory((paths(), [0, 1] * 5, {"train": [0, 1], "test": [2, 3]}))
    assert data.level == "graph" and data.labels is not None and len(data.split) == 2
    node = as_dataset_in_memory((path(4), np.array([0, 1, 2, 0])))
    assert node.level == "node" and node.kind == "multiclass"
    assert as_dataset_in_memory(tuple(paths(2))).labels is None
    assert as_dataset_in_memory(node) is node


def test_labels_that_do_not_fit_are_left_out_for_a_pretraining(pyg, caplog):
    ends = torch.tensor([[0, 1], [1, 0]])
    several = [pyg.Data(x=torch.ones(2, 1), edge_index=ends, y=torch.tensor([0, 1]))] * 3
    data = as_dataset_in_memory(several)
    assert data.level == "graph" and data.labels is None
    assert "graph 0 of `graphs` has 2 rows of `y`" in caplog.text
    with pytest.raises(DataError, match="cannot make a Graph"):
        as_dataset_in_memory([7])


def test_loops_take_a_batch_as_its_graphs_and_pairs_as_links():
    assert as_dataset_in_memory(Graph.batch(paths(3))).level == "graph"
    assert as_dataset_in_memory(path(3, pairs=torch.tensor([[0, 2]]))).level == "edge"
    assert as_dataset_in_memory(path(3)).level == "node"


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ({"base": [0]}, "names 'base'.*train"),
        ({"val": [0], "valid": [1]}, "twice"),
        ({"train": [0.5]}, "holds float64"),
        ({"train": [True]}, "1 booleans for 3 items"),
        ({"train": [[0]]}, "expected item numbers, or booleans"),
        ([0, 1], "is a list, expected item numbers"),
    ],
)
def test_a_split_of_another_form_is_refused(split, words):
    with pytest.raises(DataError, match=words):
        read_split(split, 3)


def test_a_mask_of_integers_is_a_mask():
    assert read_split({"train": np.array([0, 1, 1, 0])}, 4)["train"].tolist() == [1, 2]


def test_a_data_set_describes_itself_in_five_lines():
    labels = np.array([[0, 1], [1, np.nan], [0, 0], [1, 1]])
    data = Dataset.from_graphs(paths(4), labels, {"train": [0, 1, 2], "test": [3]})
    assert repr(data).splitlines() == [
        "Dataset memory: 4 graphs with 14 nodes, 20 edges",
        "  labels: binary, 2 columns, 12.5% missing",
        "  split: train 3, test 1",
        "  metric: rocauc",
        "  features: nodes 3 floating, edges none",
    ]
    assert len(repr(Dataset.from_graph(path(3))).splitlines()) == 5
