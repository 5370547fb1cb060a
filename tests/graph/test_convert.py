"""Graphs in and out: every kind by hand, round trips, and clear refusals."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
import scipy.sparse
import torch

from gtl.data.in_memory import as_dataset_in_memory
from gtl.errors import DataError, MissingDependencyError, ShapeError
from gtl.graph import Graph, as_graph, to_dgl, to_networkx, to_pyg, to_scipy


@pytest.fixture
def dgl(monkeypatch):
    monkeypatch.setenv("DGLBACKEND", "pytorch")
    return pytest.importorskip("dgl", reason="DGL has no wheel here")


@pytest.fixture
def pyg():
    return pytest.importorskip("torch_geometric.data", reason="PyG is not installed")


@pytest.fixture
def networkx():
    return pytest.importorskip("networkx", reason="networkx is not installed")


def typed_batch() -> Graph:
    """Two graphs of 3 and 2 nodes with every field but labels."""
    return Graph(
        torch.tensor([0, 1, 4]),
        torch.tensor([1, 1, 3]),
        5,
        x=torch.arange(10.0).reshape(5, 2),
        e=torch.tensor([[3], [4], [5]]),
        node_type=torch.tensor([0, 1, 0, 1, 0]),
        edge_type=torch.tensor([2, 0, 1]),
        time=torch.tensor([0.5, 1.5, 2.5]),
        sizes=torch.tensor([3, 2]),
    )


def assert_equal(a: Graph, b: Graph) -> None:
    assert a.num_nodes == b.num_nodes
    for name in ("src", "dst", "x", "e", "node_type", "edge_type", "time", "sizes"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), msg=name)


# -- Graph and what is no graph ------------------------------------------------------------------


def test_a_graph_comes_back_itself_but_checked():
    graph = typed_batch()
    assert as_graph(graph) is graph
    with pytest.raises(DataError, match="edge 0"):
        as_graph(Graph(torch.tensor([0]), torch.tensor([4]), 2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, r"cannot make a Graph of builtins.NoneType; expected a Graph, DGLGraph"),
        (np.eye(3), "numpy.ndarray"),
        ([typed_batch()], "builtins.list.*use Graph.batch"),
    ],
)
def test_what_is_no_graph_is_named(value, message):
    with pytest.raises(DataError, match=message):
        as_graph(value)


# -- scipy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["csr_matrix", "csc_array", "coo_matrix", "lil_matrix"])
def test_an_adjacency_goes_from_row_to_column(form):
    matrix = getattr(scipy.sparse, form)(np.array([[0, 1, 0], [0, 0, 0], [1, 1, 0]]))
    graph = as_graph(matrix)
    pairs = sorted(zip(graph.src.tolist(), graph.dst.tolist()))
    assert pairs == [(0, 1), (2, 0), (2, 1)]
    assert graph.num_nodes == 3
    assert graph.e is None


def test_weights_of_an_adjacency_become_a_column_and_zeros_are_no_edges():
    matrix = scipy.sparse.coo_matrix(([0.5, 0.0, 2.0], ([0, 1, 1], [1, 0, 1])), (2, 2))
    graph = as_graph(matrix)
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1], [1, 1])
    assert graph.e.tolist() == [[0.5], [2.0]]
    assert graph.e.dtype == torch.float32
    assert matrix.nnz == 3


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
def test_an_adjacency_is_the_same_graph_in_every_format(form):
    rows, columns = [2, 0, 0, 1, 1], [0, 1, 1, 0, 2]
    matrix = scipy.sparse.coo_matrix(([2, 3, 4, 5, 0], (rows, columns)), (3, 3))
    graph = as_graph(matrix.asformat(form))
    assert list(zip(graph.src.tolist(), graph.dst.tolist())) == [(0, 1), (1, 0), (2, 0)]
    assert graph.e.tolist() == [[7.0], [5.0], [2.0]]
    twice = scipy.sparse.coo_matrix(([1, 1], ([0, 0], [1, 1])), (2, 2)).asformat(form)
    assert as_graph(twice).e.tolist() == [[2.0]]


def test_an_adjacency_must_be_square():
    with pytest.raises(DataError, match=r"square, this one is \(2, 3\)"):
        as_graph(scipy.sparse.csr_matrix((2, 3)))


def test_scipy_and_back():
    graph = typed_batch()
    again = as_graph(to_scipy(graph))
    assert (again.src.tolist(), again.dst.tolist()) == (graph.src.tolist(), graph.dst.tolist())
    doubled = Graph(torch.tensor([0, 0]), torch.tensor([1, 1]), 2)
    assert to_scipy(doubled).toarray().tolist() == [[0, 2], [0, 0]]
    weighted = to_scipy(doubled, torch.tensor([0.5, 2.0], requires_grad=True))
    assert weighted.toarray().tolist() == [[0, 2.5], [0, 0]]
    with pytest.raises(ShapeError, match=r"`weight` has shape \(1,\), expected \(2,\)"):
        to_scipy(doubled, torch.ones(1))


# -- networkx ------------------------------------------------------------------------------------


def test_an_undirected_graph_goes_both_ways_and_loops_once(networkx):
    value = networkx.Graph()
    value.add_nodes_from(["b", "a"])
    value.add_edge("b", "a", e=[1.0, 2.0])
    value.add_edge("a", "a", e=[3.0, 4.0])
    graph = as_graph(value)
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1, 1], [1, 0, 1])
    assert graph.e.tolist() == [[1, 2], [1, 2], [3, 4]]


def test_a_directed_graph_goes_one_way_and_parallel_edges_stay(networkx):
    value = networkx.MultiDiGraph([(0, 1), (0, 1), (1, 0)])
    graph = as_graph(value)
    assert sorted(zip(graph.src.tolist(), graph.dst.tolist())) == [(0, 1), (0, 1), (1, 0)]


def test_attributes_become_features(networkx):
    value = networkx.path_graph(3, create_using=networkx.DiGraph)
    networkx.set_node_attributes(value, {0: 5, 1: 6, 2: 7}, "age")
    networkx.set_edge_attributes(value, 0.5, "weight")
    networkx.set_edge_attributes(value, np.float64(2), "time")
    graph = as_graph(value, x="age", e="weight")
    assert graph.x.tolist() == [[5], [6], [7]]
    assert graph.x.dtype == torch.int64
    assert graph.e.tolist() == [[0.5], [0.5]]
    assert graph.time.tolist() == [2, 2]
    assert as_graph(value).x is None


def test_attributes_that_only_some_nodes_have_are_refused(networkx):
    value = networkx.path_graph(3)
    value.nodes[0]["x"] = 1.0
    with pytest.raises(DataError, match="node 1 has no 'x', others have"):
        as_graph(value)


@pytest.mark.parametrize("values", [[[1.0], [1.0, 2.0]], ["red", "blue"]])
def test_attributes_that_are_no_numbers_are_refused(networkx, values):
    value = networkx.Graph()
    value.add_nodes_from([(i, {"x": x}) for i, x in enumerate(values)])
    with pytest.raises(DataError, match="'x' of nodes cannot become numbers"):
        as_graph(value)


def test_a_name_that_is_not_there_is_reported(networkx):
    with pytest.raises(DataError, match="`x` is 'color', but the graph has no field"):
        as_graph(networkx.path_graph(3), x="color")


def test_a_networkx_graph_without_anything(networkx):
    graph = as_graph(networkx.Graph())
    assert (graph.num_nodes, graph.num_edges) == (0, 0)


def test_networkx_and_back(networkx):
    graph = typed_batch()
    value = to_networkx(graph)
    assert value.nodes[3] == {"x": [6, 7], "node_type": 1, "graph": 1}
    assert as_graph(value).num_edges == 3
    order = sorted(range(3), key=lambda i: int(graph.src[i]))
    assert_equal(as_graph(value), graph.pick_edges(torch.tensor(order)).replace(sizes=None))


# -- DGL -----------------------------------------------------------------------------------------


def test_dgl_and_back(dgl):
    assert_equal(as_graph(to_dgl(typed_batch())), typed_batch())
    bare = Graph(torch.tensor([1]), torch.tensor([0]), 3)
    assert_equal(as_graph(to_dgl(bare)), bare)


def test_a_batch_with_edges_out_of_order_is_a_batch_in_dgl_too(dgl):
    graph = typed_batch().pick_edges(torch.tensor([2, 0, 1]))
    first, second = dgl.unbatch(to_dgl(graph, x="h"))
    assert first.edges()[1].tolist() == [1, 1]
    assert second.edges()[0].tolist() == [1]
    assert second.ndata["h"].tolist() == [[6, 7], [8, 9]]


def test_names_of_features_can_be_given(dgl):
    value = dgl.graph(([0, 1], [1, 2]), idtype=torch.int32)
    value.ndata["x"], value.ndata["h"] = torch.ones(3, 2), torch.zeros(3, 4)
    value.edata["feat"] = torch.ones(2, dtype=torch.bool)
    graph = as_graph(value, x="h")
    assert graph.src.dtype == torch.int64
    assert graph.x.shape == (3, 4)
    assert graph.e.tolist() == [[1.0], [1.0]]
    assert as_graph(value).x.shape == (3, 2)
    with pytest.raises(DataError, match="`e` is 'weight'"):
        as_graph(value, e="weight")


def bibliography(dgl, papers: int = 3, features: bool = True):
    """Authors write papers, papers cite papers."""
    value = dgl.heterograph(
        {
            ("author", "writes", "paper"): ([0, 1, 1], [0, 0, papers - 1]),
            ("paper", "cites", "paper"): ([papers - 1], [0]),
        },
        num_nodes_dict={"author": 2, "paper": papers},
    )
    if features:
        value.nodes["author"].data["x"] = torch.tensor([[1.0], [2.0]])
        value.nodes["paper"].data["x"] = torch.arange(2.0 * papers).reshape(papers, 2) + 10
    return value


def test_a_heterogeneous_graph_becomes_a_typed_one(dgl):
    value = bibliography(dgl)
    graph = as_graph(value)
    assert value.ntypes == ["author", "paper"]
    assert value.etypes == ["writes", "cites"]
    assert graph.node_type.tolist() == [0, 0, 1, 1, 1]
    assert graph.edge_type.tolist() == [0, 0, 0, 1]
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1, 1, 4], [2, 2, 4, 2])
    expected = [[1, 0, 0], [2, 0, 0], [0, 10, 11], [0, 12, 13], [0, 14, 15]]
    assert graph.x.tolist() == expected


def test_types_agree_with_those_of_dgl(dgl):
    value = bibliography(dgl, features=False)
    graph, theirs = as_graph(value), dgl.to_homogeneous(value)
    assert graph.node_type.tolist() == theirs.ndata[dgl.NTYPE].tolist()
    assert graph.edge_type.tolist() == theirs.edata[dgl.ETYPE].tolist()
    assert torch.equal(torch.stack(theirs.edges()), torch.stack([graph.src, graph.dst]))
    assert_equal(as_graph(theirs), graph)


def test_types_of_one_width_share_columns_and_types_without_features_are_zero(dgl):
    value = bibliography(dgl, features=False)
    value.nodes["paper"].data["x"] = torch.ones(3, 2)
    assert as_graph(value).x.tolist() == [[0, 0]] * 2 + [[1, 1]] * 3
    value.nodes["author"].data["x"] = torch.full((2, 2), 5.0, dtype=torch.float64)
    assert as_graph(value).x.tolist() == [[5, 5]] * 2 + [[1, 1]] * 3
    value.edges["cites"].data["e"] = torch.tensor([[7.0]])
    assert as_graph(value).e.flatten().tolist() == [0, 0, 0, 7]


def test_categories_that_some_types_lack_are_refused(dgl):
    value = bibliography(dgl, features=False)
    value.nodes["paper"].data["x"] = torch.ones(3, 2, dtype=torch.int64)
    with pytest.raises(DataError, match="`x` differs in form between types"):
        as_graph(value)


def test_a_batch_of_heterogeneous_graphs_equals_its_graphs(dgl):
    parts = [bibliography(dgl, papers) for papers in (3, 1, 2)]
    batch = as_graph(dgl.batch(parts))
    assert batch.sizes.tolist() == [5, 3, 4]
    assert batch.node_type.tolist() == [0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 1, 1]
    for ours, part in zip(batch.unbatch(), parts, strict=True):
        assert_equal(ours, as_graph(part))


def test_a_block_is_refused(dgl):
    with pytest.raises(DataError, match="block"):
        as_graph(dgl.to_block(dgl.graph(([0, 1], [1, 2]))))


# -- PyG -----------------------------------------------------------------------------------------


def test_pyg_and_back(pyg):
    assert_equal(as_graph(to_pyg(typed_batch())), typed_batch())
    bare = Graph(torch.tensor([1]), torch.tensor([0]), 3)
    assert_equal(as_graph(to_pyg(bare)), bare)


def test_a_batch_of_pyg_keeps_its_sizes(pyg):
    parts = [
        pyg.Data(x=torch.ones(n, 2), edge_index=torch.tensor([[0], [n - 1]]), pos=torch.ones(n, 3))
        for n in (3, 1, 2)
    ]
    batch = as_graph(pyg.Batch.from_data_list(parts))
    assert batch.sizes.tolist() == [3, 1, 2]
    for ours, part in zip(batch.unbatch(), parts, strict=True):
        assert_equal(ours, as_graph(part))
    assert as_graph(parts[0], x="pos").x.shape == (3, 3)


def test_a_batch_of_pyg_may_have_the_graph_of_each_node_alone(pyg):
    ends = torch.tensor([[0, 3], [1, 2]])
    value = pyg.Data(edge_index=ends, num_nodes=4, batch=torch.tensor([0, 0, 2, 2]))
    assert as_graph(value).sizes.tolist() == [2, 0, 2]
    assert as_dataset_in_memory(value).level == "graph"
    value.batch = torch.tensor([0, 1, 0, 1])
    with pytest.raises(DataError, match=r"`batch` of the PyG data does not ascend.*sort the nodes"):
        as_graph(value)


def test_a_batch_of_heterogeneous_data_is_a_set_of_graphs(pyg):
    value = pyg.HeteroData()
    value["a"].x, value["b"].num_nodes = torch.ones(2, 1), 3
    value["a", "to", "b"].edge_index = torch.tensor([[0, 1], [2, 0]])
    found = as_dataset_in_memory(pyg.Batch.from_data_list([value, value]))
    assert (found.level, len(found)) == ("graph", 2)
    assert as_dataset_in_memory(value).level == "node"


def test_sparse_features_of_pyg_become_dense(pyg):
    value = pyg.Data(x=torch.eye(3).to_sparse(), edge_index=torch.tensor([[0], [1]]))
    assert as_graph(value).x.equal(torch.eye(3))


def test_edges_of_pyg_that_end_at_an_unknown_type_are_named(pyg):
    value = pyg.HeteroData()
    value["a"].x = torch.ones(2, 1)
    value["a", "to", "b"].edge_index = torch.tensor([[0, 1], [2, 0]])
    with pytest.raises(DataError, match=r"nodes of type 'b', .* set data\['b'\].num_nodes"):
        as_graph(value)


def test_pyg_data_without_edges_is_a_graph(pyg):
    assert as_graph(pyg.Data(x=torch.ones(4, 1))).num_edges == 0


def test_heterogeneous_data_become_a_typed_graph(pyg):
    parts = []
    for papers in (3, 2):
        data = pyg.HeteroData()
        data["author"].x = torch.ones(2, 1)
        data["paper"].x = torch.full((papers, 1), 2.0)
        data["author", "writes", "paper"].edge_index = torch.tensor([[0, 1], [0, papers - 1]])
        data["author", "writes", "paper"].edge_attr = torch.tensor([0.5, 0.25])
        parts.append(data)
    graph = as_graph(parts[0])
    assert graph.node_type.tolist() == [0, 0, 1, 1, 1]
    assert (graph.src.tolist(), graph.dst.tolist()) == ([0, 1], [2, 4])
    assert graph.x.flatten().tolist() == [1, 1, 2, 2, 2]
    assert graph.e.flatten().tolist() == [0.5, 0.25]
    batch = as_graph(pyg.Batch.from_data_list(parts))
    for ours, part in zip(batch.unbatch(), parts, strict=True):
        assert_equal(ours, as_graph(part))


# -- what is not installed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("convert", "package"),
    [(to_dgl, "dgl"), (to_pyg, "torch_geometric"), (to_networkx, "networkx")],
)
def test_a_missing_library_is_named(convert, package, monkeypatch):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name.partition(".")[0] == package:
            raise ImportError(f"No module named {package!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(MissingDependencyError, match=f"{package}.*install"):
        convert(typed_batch())
