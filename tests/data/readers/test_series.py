"""series: the three published sets as DATA.md counts them, and files that are refused."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl.data import Series
from gtl.errors import ConfigError, DataError


def test_chickenpox(shared_data):
    data = gtl.load("series:chickenpox", root=shared_data)
    assert isinstance(data, Series)
    assert data.values.shape == (521, 20, 1)
    assert data.graph.num_edges + 20 == 102  # each county has a loop in the file
    assert (data.period, data.step, data.names[:2]) == (52, "week", ("BACS", "BARANYA"))
    assert data.values[0, 1, 0].item() == pytest.approx(-0.711136085)


def test_england_covid_has_a_graph_a_day(shared_data):
    data = gtl.load("series:england_covid", root=shared_data)
    assert data.values.shape == (61, 129, 1)
    assert len(data.graphs) == 61
    assert data.values[0, :4, 0].tolist() == [4.0, 1.0, 0.0, 2.0]
    edges = data.graphs.edge_offsets.diff()
    assert (edges[34].item() + 129, edges[50].item() + 129) == (1371, 1048)
    assert data.schema.edge.width == 1
    low, high = data.graphs.e.aminmax()
    assert low.item() == 1  # days tell of 10 trips and more
    assert high.item() < 6


def test_los_loop(shared_data):
    data = gtl.load("series:los_loop", root=shared_data, fractions=(0.7, 0.1, 0.2))
    assert data.values.shape == (2016, 207, 1)
    assert data.graph.num_edges + 207 == 2833
    assert data.split["test"] == (1613, 2016)
    assert data.names[0] == "773869"
    backwards = data.graph.reverse()
    code = lambda graph: set(zip(graph.src.tolist(), graph.dst.tolist()))  # noqa: E731
    assert code(backwards) == code(data.graph)
    assert data.options == {"seed": 0, "fractions": (0.7, 0.1, 0.2)}


def test_edge_weights_can_be_left_out(shared_data):
    assert gtl.load("series:los_loop", root=shared_data, weights=False).schema.edge is None


def chickenpox(tmp_path, **changes) -> str:
    content = {"edges": [[0, 1], [1, 1]], "node_ids": {"b": 1, "a": 0}, "FX": [[1.0, 2.0]] * 5}
    (tmp_path / "chickenpox.json").write_text(json.dumps({**content, **changes}))
    return tmp_path


def covid(tmp_path, index, weight):
    mapping = {"edge_index": index, "edge_weight": weight}
    content = {"edge_mapping": mapping, "y": [[1, 2]] * 5}
    (tmp_path / "england_covid.json").write_text(json.dumps(content))
    return tmp_path


def test_a_file_may_lie_in_the_root_itself(tmp_path):
    data = gtl.load("series:chickenpox", root=chickenpox(tmp_path))
    assert data.names == ("a", "b")
    assert (data.graph.src.tolist(), data.graph.dst.tolist()) == ([0], [1])
    assert data.split == {"train": (0, 3), "valid": (3, 4), "test": (4, 5)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"FX": [[1.0, 2.0], [1.0]]}, "'FX' is no table of numbers without gaps"),
        ({"FX": [[1.0, None]] * 5}, "'FX' is no table of numbers without gaps"),
        ({"FX": []}, r"'FX' has shape \(0,\)"),
        ({"edges": [[0, 2]]}, r"edges name nodes outside 0\.\.1"),
        ({"edges": [[0, 1, 1], [1, 0, 0]]}, "edges are no pairs of node numbers"),
        ({"edges": [[0.9, 1.7]]}, "edges are no pairs of node numbers"),
        ({"edges": [["a", "b"]]}, "edges are no pairs of node numbers"),
        ({"edges": [[0, 1], [1]]}, "edges are no pairs of node numbers"),
        ({"edges": [0, 1]}, "edges are no pairs of node numbers"),
        ({"edges": [[True, False]]}, "edges are no pairs of node numbers"),
        ({"edges": {"0": 1}}, "edges are no pairs of node numbers"),
        ({"edges": [[0, 1e400]]}, "edges are no pairs of node numbers"),
        ({"edges": [[0, 2**70]]}, "edges are no pairs of node numbers"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, changes, words):
    with pytest.raises(DataError, match=words):
        gtl.load("series:chickenpox", root=chickenpox(tmp_path, **changes))


def test_a_day_without_a_graph_is_a_gap(tmp_path):
    days = {str(t): [[0, 1]] for t in range(5) if t != 3}
    weights = {day: [12.0] for day in days}
    with pytest.raises(DataError, match="no graph for day 3"):
        gtl.load("series:england_covid", root=covid(tmp_path, days, weights))
    days["3"], weights["3"] = [[0, 1]], [12.0, 13.0]
    with pytest.raises(DataError, match="day 3 has 1 edges and 2 weights"):
        gtl.load("series:england_covid", root=covid(tmp_path, days, weights))


def test_a_day_may_have_no_edges(tmp_path):
    days: dict = {str(t): [[0, 1]] for t in range(5)}
    weights: dict = {day: [12.0] for day in days}
    days["3"], weights["3"] = [], []
    data = gtl.load("series:england_covid", root=covid(tmp_path, days, weights))
    assert data.graphs.edge_offsets.diff().tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("weight", [["a"], [[12.0], [13.0, 14.0]], None, [None]])
def test_weights_that_are_no_numbers_are_refused(tmp_path, weight):
    days = {str(t): [[0, 1]] for t in range(5)}
    weights = {day: weight for day in days}
    with pytest.raises(DataError, match="weights of day 0 are no numbers"):
        gtl.load("series:england_covid", root=covid(tmp_path, days, weights))


def test_files_that_are_no_series_are_refused(tmp_path):
    (tmp_path / "chickenpox.json").write_text("[]")
    with pytest.raises(DataError, match="has no 'edges'"):
        gtl.load("series:chickenpox", root=tmp_path)
    (tmp_path / "chickenpox.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read as JSON"):
        gtl.load("series:chickenpox", root=tmp_path)
    folder = tmp_path / "los_loop"
    folder.mkdir()
    (folder / "los_speed.csv").write_text("a,b\n1.0,2.0\n3.0,\n")
    (folder / "los_adj.csv").write_text("1.0,0.5\n0.5,1.0\n")
    with pytest.raises(DataError, match="node 1 has no value at step 1"):
        gtl.load("series:los_loop", root=tmp_path)
    (folder / "los_adj.csv").write_text("1.0,0.5\n")
    with pytest.raises(DataError, match="has 1 rows, expected 2"):
        gtl.load("series:los_loop", root=tmp_path)


def test_an_unknown_series_offers_the_nearest(tmp_path):
    with pytest.raises(DataError, match=r"unknown series 'los_lop'; did you mean 'los_loop'\?"):
        gtl.load("series:los_lop", root=tmp_path)
    with pytest.raises(DataError, match="there is no spatio-temporal/chickenpox"):
        gtl.load("series:chickenpox", root=tmp_path)


def test_a_series_is_no_dataset():
    steps = torch.zeros(5, 1, 1)
    graph = gtl.Graph(*torch.zeros(2, 0, dtype=torch.int64), 1)
    with pytest.raises(ConfigError, match="is a series; forecast it"):
        gtl.pretrain("gin", Series("memory", steps, graph), epochs=1)
