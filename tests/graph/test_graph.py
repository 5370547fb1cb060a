"""The Graph: checks, batches, subgraphs and what it remembers."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor

from gtl.errors import DataError, ShapeError
from gtl.graph import Graph, ops


def ints(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def triangle(**fields) -> Graph:
    return Graph(ints(0, 1, 2), ints(1, 2, 0), 3, **fields)


def full_graph() -> Graph:
    """Five nodes, three edges, every field but labels."""
    return Graph(
        ints(0, 3, 1),
        ints(1, 4, 2),
        5,
        x=torch.arange(10.0).reshape(5, 2),
        e=torch.arange(3).unsqueeze(1),
        node_type=ints(0, 1, 0, 1, 0),
        edge_type=ints(2, 0, 1),
        time=torch.tensor([0.5, 1.5, 2.5]),
        sizes=ints(3, 2),
    )


# -- the constructor -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"src": ints(0, 1, 2).int()}, r"`src` is int32 \(3,\), expected a one-dimensional int64"),
        ({"src": [0, 1, 2]}, "`src` is of type list, expected a tensor"),
        ({"dst": ints(1, 2)}, r"`dst` is int64 \(2,\), expected 3 rows, one per edge of `src`"),
        ({"x": torch.zeros(4, 2)}, r"`x` is float32 \(4, 2\), expected 3 rows, one per node"),
        ({"x": torch.zeros(3)}, "expected two dimensions; add a column axis"),
        ({"x": torch.zeros(3, 1, dtype=torch.bool)}, "`x` is bool .* expected floats or integers"),
        ({"e": torch.zeros(2, 1)}, r"`e` is float32 \(2, 1\), expected 3 rows, one per edge"),
        ({"time": torch.zeros(3, 1)}, r"`time` is float32 \(3, 1\), expected one dimension"),
        ({"node_type": torch.zeros(3)}, "`node_type` is float32"),
        ({"num_nodes": -1}, "`num_nodes` is -1"),
        ({"y": torch.zeros(2, 1)}, r"`y` is float32 \(2, 1\), expected 1 rows, one per graph"),
        ({"y": torch.tensor(1.0)}, r"`y` is float32 \(\), expected 1 rows"),
        ({"y": ints(1), "seeds": ints(0, 2)}, "expected 2 rows, one per seed"),
    ],
)
def test_a_field_of_the_wrong_form_is_named(fields, message):
    given = {"src": ints(0, 1, 2), "dst": ints(1, 2, 0), "num_nodes": 3, **fields}
    with pytest.raises(ShapeError, match=message):
        Graph(**given)


def test_numbers_of_nodes_may_come_from_numpy_but_not_as_fractions():
    import numpy as np

    graph = Graph(ints(), ints(), np.int64(3))
    assert type(graph.num_nodes) is int
    with pytest.raises(TypeError):
        Graph(ints(), ints(), 3.0)


# -- the door ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (
            Graph(ints(0, 1, 7), ints(1, 2, 0), 3),
            r"edge 2 \(7 -> 0\) is out of range: `src` must lie in 0..2 \(`num_nodes` is 3\)",
        ),
        (Graph(ints(0, 9), ints(-1, 0), 3), r"edge 0 \(0 -> -1\) is out of range: `dst`"),
        (Graph(ints(0), ints(0), 0), r"edge 0 \(0 -> 0\) is out of range: .*`num_nodes` is 0"),
        (
            triangle(x=torch.tensor([[0.0, 1], [1, torch.nan], [torch.inf, 0]])),
            "`x` of node 1, column 1, is nan",
        ),
        (triangle(e=ints(0, 1, -2).unsqueeze(1)), "`e` of edge 2, column 0, is -2"),
        (triangle(time=torch.tensor([0, torch.inf, 1])), "`time` of edge 1 is inf"),
        (triangle(node_type=ints(0, -1, 0)), "`node_type` of node 1 is -1"),
        (triangle(edge_type=ints(0, 0, -3)), "`edge_type` of edge 2 is -3"),
        (triangle(sizes=ints(2, 2)), r"`sizes` .* sum to `num_nodes` \(3\), they sum to 4"),
        (triangle(sizes=ints(4, -1)), "`sizes` must be non-negative"),
        (triangle(sizes=ints(2, 1)), r"edge 1 \(1 -> 2\) joins two graphs of the batch"),
        (triangle(seeds=ints(0, 3)), "`seeds` must lie in 0..2, they lie in 0..3"),
    ],
)
def test_validate_names_the_first_thing_that_is_wrong(graph, message):
    with pytest.raises(DataError, match=message):
        graph.validate()


def test_a_good_graph_comes_back_as_it_is():
    graph = full_graph()
    assert graph.validate() is graph


def test_a_graph_made_wrong_by_replace_is_checked_again():
    graph = triangle().validate()
    with pytest.raises(DataError, match="edge 0"):
        graph.replace(num_nodes=1, x=None).validate()


# -- nothing at all ------------------------------------------------------------------------------


def test_an_empty_graph_is_a_graph():
    empty = Graph(ints(), ints(), 0, x=torch.zeros(0, 3)).validate()
    assert empty.in_degrees().tolist() == []
    assert empty.with_self_loops().num_edges == 0
    assert empty.subgraph(ints()).num_nodes == 0
    assert [g.num_nodes for g in Graph.batch([empty, triangle(x=torch.ones(3, 3))]).unbatch()] == [
        0,
        3,
    ]


def test_a_batch_of_no_graphs_has_no_graphs():
    nothing = Graph(ints(), ints(), 0, sizes=ints()).validate()
    assert nothing.num_graphs == 0
    assert nothing.unbatch() == []
    assert nothing.graph_ids().tolist() == []


def test_in_degrees_count_incoming_edges():
    graph = Graph(ints(0, 1, 1, 3), ints(2, 2, 0, 2), 5)
    assert graph.in_degrees().tolist() == [1, 0, 3, 0, 0]


# -- what is remembered --------------------------------------------------------------------------


def test_a_value_is_computed_once():
    calls = []
    graph = triangle()
    for _ in range(2):
        assert graph.remember("key", lambda: calls.append(1) or 7) == 7
    assert len(calls) == 1


def test_replace_keeps_what_does_not_depend_on_the_change():
    graph = triangle(x=torch.ones(3, 1))
    graph.remember("structure", lambda: 1)
    graph.remember("features", lambda: 2, ("x",))
    changed = graph.replace(x=torch.zeros(3, 1))
    assert changed.remember("structure", lambda: "again") == 1
    assert changed.remember("features", lambda: "again", ("x",)) == "again"
    assert graph.remember("features", lambda: "again", ("x",)) == 2


def test_what_a_copy_computes_later_the_original_need_not():
    graph = triangle(x=torch.ones(3, 1))
    graph.remember("before", lambda: 0, ("src", "x"))  # the dependency is known by now
    first = graph.replace(seeds=ints(0), y=ints(1))
    first.remember("sorted", lambda: 1)
    first.remember("codes", lambda: 2, ("src", "x"))
    second = graph.replace(seeds=ints(1), y=ints(1))
    assert second.remember("sorted", lambda: "again") == 1
    assert second.remember("codes", lambda: "again", ("src", "x")) == 2


def test_a_copy_with_other_edges_does_not_disturb_the_original():
    graph = triangle()
    turned = graph.reverse().drop_edges(torch.tensor([True, False, False]))
    assert turned.in_degrees().tolist() == [0, 1, 1]
    assert graph.in_degrees().tolist() == [1, 1, 1]


def test_what_was_computed_while_predicting_serves_training():
    graph = triangle()
    with torch.inference_mode():
        ops.mean_neighbors(graph, torch.ones(3, 2))
    h = torch.ones(3, 2, requires_grad=True)
    (ops.mean_neighbors(graph, h) * graph.in_degrees().unsqueeze(1)).sum().backward()
    assert h.grad.tolist() == [[1, 1]] * 3


def test_handles_of_kernels_are_not_pickled():
    graph = full_graph()
    graph.remember("handle", lambda: lambda: None)  # a function cannot be pickled
    for twin in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert_equal(twin, graph)


# -- other devices and dtypes --------------------------------------------------------------------


def test_to_changes_floating_values_only_and_keeps_the_structure():
    graph = full_graph()
    graph.remember("handle", lambda: "kept")
    wide = graph.to(dtype=torch.float64)
    assert (wide.x.dtype, wide.time.dtype, wide.e.dtype) == (*[torch.float64] * 2, torch.int64)
    assert wide.remember("handle", lambda: "made again") == "kept"
    assert graph.to("cpu") is graph
    assert graph.to(torch.device("cpu"), torch.float32) is graph


def test_nothing_remembered_moves_to_another_device():
    graph = triangle()
    graph.graph_ids()
    moved = graph.to("meta")
    assert moved.device.type == "meta"
    assert moved.graph_ids().device.type == "meta"


def test_tensors_on_two_devices_are_refused():
    with pytest.raises(ShapeError, match="`x` is on meta, `src` on cpu"):
        triangle(x=torch.zeros(3, 1, device="meta"))


# -- structure -----------------------------------------------------------------------------------


def test_self_loops_come_after_the_edges():
    graph = Graph(ints(1), ints(0), 2).with_self_loops()
    assert (graph.src.tolist(), graph.dst.tolist()) == ([1, 0, 1], [0, 0, 1])


@pytest.mark.parametrize("name", ["e", "edge_type", "time"])
def test_self_loops_without_a_value_are_refused(name):
    value = {"e": torch.ones(3, 1), "edge_type": ints(0, 0, 0), "time": torch.ones(3)}[name]
    with pytest.raises(ShapeError, match=f"`{name}` has no value for self-loops"):
        triangle(**{name: value}).with_self_loops()


def test_dropped_edges_take_their_values_along():
    graph = full_graph().drop_edges(torch.tensor([False, True, False]))
    assert graph.src.tolist() == [0, 1]
    assert graph.e.flatten().tolist() == [0, 2]
    assert graph.time.tolist() == [0.5, 2.5]
    assert graph.sizes.tolist() == [3, 2]


def test_a_list_of_numbers_is_no_mask():
    with pytest.raises(ShapeError, match=r"expected a boolean tensor \(3,\)"):
        triangle().drop_edges(ints(0, 1))


def test_edges_can_be_picked_in_another_order():
    graph = full_graph().pick_edges(ints(2, 0))
    assert (graph.src.tolist(), graph.edge_type.tolist()) == ([1, 0], [1, 2])


def test_a_subgraph_renumbers_in_the_order_given():
    graph = triangle(x=torch.tensor([[0.0], [1], [2]]), edge_type=ints(5, 6, 7))
    part = graph.subgraph(ints(2, 0))
    assert part.x.flatten().tolist() == [2, 0]
    assert (part.src.tolist(), part.dst.tolist()) == ([0], [1])
    assert part.edge_type.tolist() == [7]


def test_a_subgraph_of_a_batch_keeps_graphs_that_lost_all_nodes():
    part = full_graph().subgraph(torch.tensor([False, False, False, True, True]))
    assert part.sizes.tolist() == [0, 2]
    assert (part.src.tolist(), part.dst.tolist()) == ([0], [1])


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (ints(0, 0), "repeats"),
        (ints(-1), "must lie in 0..4"),
        (ints(5), "must lie in 0..4"),
        (torch.tensor([True, False]), r"`nodes` is bool \(2,\)"),
        (torch.tensor([0.0]), "`nodes` is float32"),
        (ints(3, 0), "ordered by graph"),
    ],
)
def test_a_subgraph_of_wrong_nodes_is_refused(nodes, message):
    with pytest.raises(ShapeError, match=message):
        full_graph().subgraph(nodes)


# -- batches -------------------------------------------------------------------------------------


def test_unbatch_undoes_batch():
    one = Graph(
        ints(1),
        ints(0),
        2,
        x=torch.ones(2, 2),
        e=ints(4).unsqueeze(1),
        node_type=ints(0, 1),
        edge_type=ints(3),
        time=torch.tensor([0.5]),
        y=torch.tensor([[1.0]]),
    )
    two = Graph(
        ints(),
        ints(),
        3,
        x=torch.zeros(3, 2),
        e=ints().reshape(0, 1),
        node_type=ints(1, 1, 0),
        edge_type=ints(),
        time=torch.zeros(0),
        y=torch.tensor([[torch.nan]]),
    )
    batch = Graph.batch([one, two, one])
    assert batch.sizes.tolist() == [2, 3, 2]
    assert batch.src.tolist() == [1, 6]
    for before, after in zip((one, two, one), batch.unbatch()):
        assert_equal(after, before)


def test_batches_in_a_batch_are_flattened():
    pair = Graph.batch([triangle(), triangle()])
    assert Graph.batch([pair, triangle()]).sizes.tolist() == [3, 3, 3]


def test_edges_in_any_order_find_their_graph():
    batch = full_graph()  # its second edge belongs to the second graph, its third to the first
    first, second = batch.unbatch()
    assert (first.src.tolist(), first.dst.tolist(), first.time.tolist()) == (
        [0, 1],
        [1, 2],
        [0.5, 2.5],
    )
    assert (second.src.tolist(), second.dst.tolist(), second.time.tolist()) == ([0], [1], [1.5])


def test_seeds_are_shifted_with_their_graph():
    graph = triangle(seeds=ints(2, 0), y=ints(1, 0))
    batch = Graph.batch([graph, graph])
    assert batch.seeds.tolist() == [2, 0, 5, 3]
    assert batch.y.tolist() == [1, 0, 1, 0]
    with pytest.raises(ShapeError, match="seeds"):
        batch.unbatch()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (triangle(), "`x` is present in 1 of 2 graphs"),
        (
            triangle(x=torch.ones(3, 2)),
            r"`x` is float32 \(3, 1\) in one graph and float32 \(3, 2\)",
        ),
        (triangle(x=torch.ones(3, 1).long()), "float32 .* and int64"),
    ],
)
def test_graphs_of_different_form_do_not_make_a_batch(other, message):
    with pytest.raises(ShapeError, match=message):
        Graph.batch([triangle(x=torch.ones(3, 1)), other])


def test_no_graphs_make_no_batch():
    with pytest.raises(ShapeError, match="at least one"):
        Graph.batch([])


def assert_equal(a: Graph, b: Graph) -> None:
    assert repr(a) == repr(b)
    for name in ("src", "dst", "x", "e", "node_type", "edge_type", "time", "sizes", "y", "seeds"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), equal_nan=True)


# -- pairs of nodes ------------------------------------------------------------------------------


def test_pairs_are_what_labels_speak_of_and_shift_in_a_batch() -> None:
    pairs = torch.tensor([[0, 2], [1, 0]])
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 3, pairs=pairs, y=torch.ones(2, 1))
    assert graph.num_items == 2
    both = Graph.batch([graph, graph])
    assert both.pairs.tolist() == [[0, 2], [1, 0], [3, 5], [4, 3]] and both.num_items == 4
    assert graph.subgraph(torch.tensor([0, 1])).pairs is None
    bare = graph.unlabeled()
    assert bare.pairs is None and bare.y is None and bare.num_items == 1
    assert "pairs=int64 (2, 2)" in repr(graph)
    with pytest.raises(ShapeError, match="`pairs` cannot be taken apart"):
        both.unbatch()
    with pytest.raises(DataError, match=r"`pairs` must lie in 0\.\.2, they lie in 1\.\.3"):
        graph.replace(pairs=pairs + 1).validate()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pairs": torch.tensor([0, 1])}, "two-dimensional int64"),
        ({"pairs": torch.tensor([[0.0, 1.0]])}, "two-dimensional int64"),
        ({"pairs": torch.tensor([[0, 1, 2]])}, "two nodes a row"),
        ({"pairs": torch.tensor([[0, 1]]), "seeds": torch.tensor([0])}, "two sets of items"),
        ({"pairs": torch.tensor([[0, 1]]), "y": torch.ones(2, 1)}, "1 rows, one per pair"),
    ],
)
def test_pairs_of_another_form_are_refused(fields, words) -> None:
    with pytest.raises(ShapeError, match=words):
        Graph(torch.tensor([0]), torch.tensor([1]), 3, **fields)
