"""tu: three hand-made graphs, the published sets, and files that do not fit together."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data import load
from gtl.errors import ConfigError, DataError
from gtl.graph import Columns, Schema

# Graphs of 3, 1 and 2 nodes. Edge 1 -> 2 is listed twice, 4 has a loop.
TEXTS = {
    "A": "2, 1\n1, 2\n2, 3\n1, 2\n4, 4\n5, 6\n6, 5\n",
    "graph_indicator": "1\n1\n1\n2\n3\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "3\n7\n3\n5\n5\n3\n",
    "edge_labels": "0\n1\n2\n2\n0\n1\n1\n",
    "node_attributes": " 1.0, 5\n 2.0, 5\n 3.0, 5\n 3.0, 5\n 2.0, 5\n 1.0, 5\n",
    "edge_attributes": "0.5\n1.5\n0\n0\n0\n0\n1\n",
}
BARE = ("A", "graph_indicator", "graph_labels")
LABELED = (*BARE, "node_labels", "edge_labels")


def write(folder, *what, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**{name: TEXTS[name] for name in what}, **texts}.items():
        (folder / f"TINY_{name}.txt").write_text(text)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Read the three graphs without the split that needs more of them."""
    monkeypatch.setattr("gtl.data.readers.tu._split", lambda *_: {})

    def read(*what, texts=None, **options):
        folder = tmp_path / "tu" / "TINY" / "raw"
        write(folder, *what, **(texts or {}))
        return load("tu:TINY", root=tmp_path, **options)

    return read


def edges(graph):
    return list(zip(graph.src.tolist(), graph.dst.tolist()))


def test_labels_are_categories_and_edges_are_kept_once_without_loops(tiny):
    graphs = tiny(*LABELED).graphs
    first, second, third = (graph.validate() for graph in graphs)
    assert [graph.num_nodes for graph in graphs] == [3, 1, 2]
    assert edges(first) == [(0, 1), (1, 0), (1, 2)]
    assert first.e.tolist() == [[1], [0], [2]]  # 1 -> 2 as it was listed first
    assert edges(second) == []
    assert edges(third) == [(0, 1), (1, 0)]
    assert first.x.tolist() == [[0], [2], [0]] and second.x.tolist() == [[1]]
    assert graphs.schema == Schema(Columns((3,)), Columns((3,)))


def test_two_classes_are_a_binary_column_and_more_are_classes(tiny):
    data = tiny(*LABELED)
    assert data.labels.tolist() == [[1.0], [0.0], [1.0]]
    assert (data.level, data.kind, data.metric) == ("graph", "binary", "acc")
    assert data.class_names == ("-1", "1")
    data = tiny(texts={"graph_labels": "9\n2\n4\n"})
    assert data.labels.tolist() == [2, 0, 1]
    assert (data.kind, data.metric, data.class_names) == ("multiclass", "acc", ("2", "4", "9"))


def test_a_class_has_the_name_of_its_value_whichever_others_a_file_has(tiny):
    whole = tiny(*BARE, texts={"graph_labels": "2\n5\n7\n"})
    part = tiny(*BARE, texts={"graph_labels": "7\n5\n7\n"})
    assert [whole.class_names[i] for i in whole.labels.tolist()] == ["2", "5", "7"]
    assert [part.class_names[int(i)] for i in part.labels[:, 0]] == ["7", "5", "7"]


def test_labels_and_attributes_become_floats_side_by_side(tiny):
    graphs = tiny(*TEXTS, normalize=False).graphs
    assert graphs[0].x.tolist() == [[1, 0, 0, 1, 5], [0, 0, 1, 2, 5], [1, 0, 0, 3, 5]]
    assert graphs[0].e.tolist() == [[0, 1, 0, 1.5], [1, 0, 0, 0.5], [0, 0, 1, 0]]
    assert graphs.schema == Schema(Columns(width=5), Columns(width=4))
    assert tiny(*TEXTS, attributes=False).graphs.schema == tiny(*LABELED, attributes=False).schema


def test_attributes_are_brought_to_one_scale(tiny):
    x = tiny(*TEXTS).graphs.x
    assert x.dtype == torch.float32
    assert x[:, :3].sum(1).tolist() == [1] * 6
    assert x[:, 3].double().mean() == pytest.approx(0, abs=1e-7)
    assert x[:, 3].double().square().mean() == pytest.approx(1, abs=1e-6)
    assert x[:, 4].tolist() == [0] * 6  # the same everywhere: nothing to scale


def test_attributes_alone_are_floating(tiny):
    graphs = tiny(*BARE, "node_attributes", normalize=False).graphs
    assert graphs[2].x.tolist() == [[2, 5], [1, 5]]
    assert graphs.e is None


def test_nodes_without_features_get_their_degree_up_to_a_highest(tiny):
    graphs = tiny(*BARE).graphs
    assert graphs.x.flatten().tolist() == [1, 1, 1, 0, 1, 1]
    assert graphs.schema == Schema(Columns((256,)))
    star = {"A": "1,3\n2,3\n", "graph_labels": "1\n0\n1\n"}
    graphs = tiny(*BARE, texts=star, max_degree=1).graphs
    assert graphs.x.flatten().tolist() == [0, 0, 1, 0, 0, 0]
    assert graphs.schema == Schema(Columns((2,)))
    assert tiny(*BARE, "node_attributes", attributes=False).graphs.schema.node == Columns((256,))


def test_a_graph_without_nodes_is_one_all_the_same(tiny):
    graphs = tiny(*BARE, texts={"graph_labels": "0\n1\n0\n1\n"}).graphs
    assert [graph.num_nodes for graph in graphs] == [3, 1, 2, 0]


def test_the_files_are_found_in_any_of_the_usual_places(tmp_path):
    for place in ("tu/TINY", "TINY/raw", "TINY", "."):
        folder = tmp_path / place.replace("/", "-") / place
        write(folder, "A", "graph_indicator", graph_labels="0\n0\n0\n")
        root = tmp_path / place.replace("/", "-")
        assert len(load("tu:TINY", root=root, fractions=(0.5, 0.5))) == 3
    assert len(load(f"tu:{tmp_path / 'TINY' / 'TINY'}", fractions=(0.5, 0.5))) == 3


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_was_written_is_read(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=4, max_size=8))
    text, indicator, expected, start = "", "", [], 1
    for i, n in enumerate(sizes):
        pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
        ends = data.draw(st.lists(pair, min_size=int(i == 0), max_size=6))
        text += "".join(f"{a + start}, {b + start}\n" for a, b in ends)
        indicator += f"{i + 1}\n" * n
        expected.append(sorted({(a, b) for a, b in ends if a != b}))
        start += n
    with tempfile.TemporaryDirectory() as folder:
        labels = "".join(f"{i % 2}\n" for i in range(len(sizes)))
        write(Path(folder), A=text, graph_indicator=indicator, graph_labels=labels)
        read = load("tu:TINY", root=folder, fractions=(0.5, 0.5))
        assert len(list(Path(folder).iterdir())) == 3
    assert [graph.num_nodes for graph in read.graphs] == sizes
    assert [edges(graph) for graph in read.graphs] == expected


# -- files that do not fit -------------------------------------------------------------------------


def test_a_missing_set_is_told_with_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no tu/MUTAG/raw or .*; put the files MUTAG_\*\.txt ther"):
        load("tu:MUTAG", root=tmp_path)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"A": "1, 2\n1, 9\n"}, r"_A\.txt row 2 joins nodes \[1, 9\], expected two nodes of one"),
        ({"A": "1, 2\n0, 1\n"}, r"_A\.txt row 2 joins nodes \[0, 1\]"),
        ({"A": "3, 4\n"}, r"_A\.txt row 1 joins nodes \[3, 4\]"),
        ({"A": "1\n2\n"}, r"_A\.txt has 1 columns, expected 2"),
        ({"A": "1, 2\n1, 2, 3\n"}, r"_A\.txt cannot be read"),
        ({"A": "1, b\n"}, r"_A\.txt cannot be read"),
        ({"A": ""}, r"_A\.txt cannot be read"),
        (
            {"graph_indicator": "1\n1\n1\n3\n2\n2\n"},
            r"graph_indicator\.txt must name graphs 1\.\.3",
        ),
        (
            {"graph_indicator": "1\n1\n1\n2\n3\n4\n"},
            r"graph_indicator\.txt must name graphs 1\.\.3",
        ),
        (
            {"graph_indicator": "0\n1\n1\n2\n3\n3\n"},
            r"graph_indicator\.txt must name graphs 1\.\.3",
        ),
        ({"node_labels": "0\n" * 5}, r"node_labels\.txt has 5 rows, expected 6, one for each node"),
        ({"edge_labels": "0\n" * 6}, r"edge_labels\.txt has 6 rows, expected 7, one for each edge"),
        ({"node_labels": "0.5\n" * 6}, r"node_labels\.txt cannot be read"),
        ({"node_attributes": "1\n2\nnan\n4\n5\n6\n"}, r"attributes\.txt row 3 is not all numbers"),
        ({"node_attributes": "1, 2\n" * 5 + "1\n"}, r"attributes\.txt row 6 is not all numbers"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(tiny, texts, words):
    with pytest.raises(DataError, match=f"{words}.*copy the data set again") as caught:
        tiny(*LABELED, texts=texts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["graph_indicator", "graph_labels"])
def test_a_missing_file_is_named(tiny, what):
    with pytest.raises(DataError, match=rf"TINY_{what}\.txt is missing; copy the data set again"):
        tiny(*(name for name in BARE if name != what))


def test_options_that_cannot_be_are_refused(tmp_path):
    write(tmp_path, *BARE)
    for options, words in (
        ({"max_degree": -1}, "`max_degree` is -1, expected 0 or more"),
        ({"fold": 1}, "`fold` is 1 but `folds` is not given"),
        ({"folds": 10, "fractions": (0.5, 0.5)}, "two ways to split; give one"),
        ({"folds": 10, "fold": 10}, "`folds` is 10 and `fold` 10"),
    ):
        with pytest.raises(ConfigError, match=words):
            load("tu:TINY", root=tmp_path, **options)
    with pytest.raises(DataError, match="3 items cannot be split by class"):
        load("tu:TINY", root=tmp_path)


# -- as published ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "schema"),
    [
        ("MUTAG", (188, 3371, 7442), Schema(Columns((7,)), Columns((4,)))),
        ("PTC_MR", (344, 4915, 10108), Schema(Columns((18,)), Columns((4,)))),
        ("PROTEINS", (1113, 43471, 162088), Schema(Columns(width=4))),
        ("IMDB-BINARY", (1000, 19773, 193062), Schema(Columns((256,)))),
    ],
)
def test_the_published_sets_have_their_sizes(shared_data, name, sizes, schema):
    data = load(f"tu:{name}", root=shared_data)
    graphs = data.graphs
    assert (len(graphs), len(graphs.x), len(graphs.src)) == sizes
    assert graphs.schema == schema
    assert (data.kind, data.num_outputs, data.metric) == ("binary", 1, "acc")
    whole = graphs.batch(torch.arange(len(graphs))).validate()
    there = whole.src * whole.num_nodes + whole.dst
    assert torch.equal((whole.dst * whole.num_nodes + whole.src).sort().values, there)
    assert sum(map(len, data.split.values())) == len(data)


def test_proteins_without_attributes_have_three_categories(shared_data):
    data = load("tu:PROTEINS", root=shared_data, attributes=False)
    assert data.graphs.schema == Schema(Columns((3,)))
    assert data.graphs.x.flatten().bincount().tolist() == [21151, 20931, 1389]


def test_ten_folds_of_mutag_test_every_graph_once(shared_data):
    tested = []
    for fold in range(10):
        data = load("tu:MUTAG", root=shared_data, folds=10, fold=fold)
        held = data.split["test"]
        assert data.labels[held].sum() in (12, 13)  # of 125 mutagens
        tested += held.tolist()
    assert sorted(tested) == list(range(188))
