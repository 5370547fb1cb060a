"""Packed graphs: batches equal their graphs, files survive and broken files are told apart."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import DataError, ShapeError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs

_FIELDS = ("src", "dst", "x", "e", "node_type", "edge_type", "time", "sizes")


def graph_of(nodes: int, edges: int, seed: int = 0) -> Graph:
    """A random graph with every field."""
    rng = torch.Generator().manual_seed(seed)
    src, dst = torch.randint(max(nodes, 1), (2, edges), generator=rng)
    return Graph(
        src,
        dst,
        nodes,
        x=torch.randint(5, (nodes, 3), generator=rng),
        e=torch.randn(edges, 2, generator=rng),
        node_type=torch.randint(2, (nodes,), generator=rng),
        edge_type=torch.randint(300, (edges,), generator=rng),
        time=torch.rand(edges, generator=rng),
    )


def assert_equal(a: Graph, b: Graph) -> None:
    assert a.num_nodes == b.num_nodes
    for name in _FIELDS:
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None), name
        if first is not None:
            assert first.dtype == second.dtype
            assert torch.equal(first, second), name


@pytest.fixture
def graphs() -> list[Graph]:
    """Seven graphs; the second has no edges, the fourth no nodes."""
    sizes = [(3, 5), (2, 0), (5, 11), (0, 0), (7, 2), (1, 1), (2, 3)]
    return [graph_of(n, m, seed) for seed, (n, m) in enumerate(sizes)]


@pytest.fixture
def packed(graphs) -> PackedGraphs:
    return PackedGraphs.pack(graphs)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_batch_equals_the_batch_of_its_graphs(data):
    sizes = data.draw(
        st.lists(
            st.integers(0, 7).flatmap(
                lambda n: st.tuples(st.just(n), st.integers(0, 11 if n else 0))
            ),
            min_size=1,
            max_size=9,
        )
    )
    graphs = [graph_of(n, m, seed) for seed, (n, m) in enumerate(sizes)]
    numbers = st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=12)
    index = torch.tensor(data.draw(numbers))
    expected = Graph.batch([graphs[i] for i in index])
    packed = PackedGraphs.pack(graphs)
    for store in (packed, packed.compact(), packed.subset(torch.arange(len(graphs)))):
        assert_equal(store.batch(index).validate(), expected)


def test_an_empty_batch_keeps_its_columns(packed):
    batch = packed.batch(torch.tensor([], dtype=torch.int64)).validate()
    assert (batch.num_graphs, batch.num_nodes, batch.num_edges) == (0, 0, 0)
    assert (batch.x.shape, batch.e.shape) == ((0, 3), (0, 2))


def test_single_graphs_come_out_by_number_and_one_after_the_other(packed, graphs):
    assert_equal(packed[2], graphs[2])
    assert_equal(packed[-1], graphs[-1])
    for ours, theirs in zip(packed, graphs, strict=True):
        assert_equal(ours, theirs)
    for wrong in (7, -8):
        with pytest.raises(IndexError, match=f"graph {wrong} of 7"):
            packed[wrong]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (torch.tensor([0, 7]), r"outside 0\.\.6"),
        (torch.tensor([-1]), r"outside 0\.\.6"),
        (torch.tensor([True] * 7), "graph numbers int64"),
        (torch.tensor(3), "graph numbers int64"),
        (torch.tensor([1.0]), "graph numbers int64"),
    ],
)
def test_wrong_numbers_are_refused(packed, index, message):
    for call in (packed.batch, packed.subset):
        with pytest.raises(ShapeError, match=message):
            call(index)


def test_batches_are_packed_as_their_graphs_whatever_the_order_of_edges(graphs):
    whole = Graph.batch(graphs)
    shuffled = whole.pick_edges(torch.randperm(whole.num_edges))
    packed = PackedGraphs.pack([shuffled])
    assert len(packed) == 7
    for ours, theirs in zip(packed, shuffled.unbatch(), strict=True):
        assert_equal(ours, theirs)


def test_labels_and_seeds_do_not_hinder_packing(graphs):
    labeled = graphs[0].replace(seeds=torch.tensor([1]), y=torch.tensor([0]))
    assert_equal(PackedGraphs.pack([labeled, graphs[1]])[0], graphs[0])


def test_wrong_graphs_are_not_packed():
    wrong = Graph(torch.tensor([0]), torch.tensor([5]), 3)
    with pytest.raises(DataError, match="edge 0"):
        PackedGraphs.pack([wrong])
    with pytest.raises(ShapeError, match="at least one"):
        PackedGraphs.pack([])


def test_the_schema_given_is_kept(graphs):
    schema = Schema(Columns((9, 9, 9)), Columns(width=2), 2, 400)
    packed = PackedGraphs.pack(graphs, schema)
    assert packed.schema is schema
    assert packed.subset(torch.tensor([0])).schema is schema


def test_compact_graphs_are_smaller_and_stay_so_in_subsets(packed):
    small = packed.compact()
    assert (small.src.dtype, small.x.dtype, small.edge_type.dtype) == (
        torch.uint8,
        torch.uint8,
        torch.int16,
    )
    assert small.e.dtype == torch.float32
    assert small.subset(torch.tensor([4, 0])).x.dtype == torch.uint8
    assert packed.x.dtype == torch.int64


def test_the_checksum_sees_values_not_storage(packed, graphs):
    assert packed.compact().checksum() == packed.checksum()
    assert PackedGraphs.pack(graphs).checksum() == packed.checksum()
    changed = [graphs[0].replace(time=graphs[0].time + 1), *graphs[1:]]
    assert PackedGraphs.pack(changed).checksum() != packed.checksum()
    assert packed.subset(torch.tensor([1, 0])).checksum() != packed.checksum()


def test_the_checksum_of_a_long_column_is_that_of_the_whole(packed, monkeypatch):
    whole = packed.checksum()
    monkeypatch.setattr("gtl.graph.pack._CHUNK", 2)
    assert packed.checksum() == whole


def test_half_precision_features_are_packed(tmp_path):
    graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, x=torch.ones(2, 1).bfloat16())
    packed = PackedGraphs.pack([graph, graph])
    packed.save(tmp_path / "a")
    assert PackedGraphs.load(tmp_path / "a").checksum() == packed.checksum()
    batch = packed.batch(torch.tensor([1, 0, 1]))
    assert batch.x.dtype == torch.bfloat16
    assert batch.x.shape == (6, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3, 1)}, "`x` has 3 rows, expected 20"),
        ({"time": torch.zeros(3)}, "`time` has 3 rows, expected 22"),
        ({"edge_offsets": torch.tensor([0, 22])}, "`edge_offsets`"),
    ],
)
def test_fields_that_contradict_the_offsets_are_refused(packed, change, message):
    from dataclasses import replace

    with pytest.raises(ShapeError, match=message):
        replace(packed, **change)


# -- files ---------------------------------------------------------------------------------------


def test_a_file_gives_the_same_graphs_back(packed, tmp_path):
    for store in (packed, packed.compact()):
        store.save(tmp_path / "graphs.safetensors")
        loaded = PackedGraphs.load(tmp_path / "graphs.safetensors")
        assert loaded.checksum() == packed.checksum()
        assert loaded.schema == packed.schema
        assert loaded.src.dtype == store.src.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["graphs.safetensors"]


def test_a_file_may_be_written_over_while_it_is_mapped(packed, tmp_path):
    path = tmp_path / "graphs.safetensors"
    packed.save(path)
    mapped = PackedGraphs.load(path)
    packed.subset(torch.tensor([0])).save(path)
    assert mapped.checksum() == packed.checksum()
    assert len(PackedGraphs.load(path)) == 1


def test_loading_reads_no_more_than_is_used(tmp_path):
    megabytes = 48
    nodes = megabytes * 2**20 // 64
    none = torch.zeros(0, dtype=torch.int64)
    graph = Graph(none, none, nodes, x=torch.ones(nodes, 16))
    path = tmp_path / "big.safetensors"
    halves = graph.replace(sizes=torch.tensor([nodes - 1, 1]))
    PackedGraphs.pack([halves]).save(path)
    del graph, halves
    before = _resident()
    loaded = PackedGraphs.load(path)
    batch = loaded.batch(torch.tensor([1]))
    assert batch.x.tolist() == [[1.0] * 16]
    assert _resident() - before < megabytes * 2**20 / 4


def _resident() -> int:
    from pathlib import Path

    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("the resident memory cannot be read here")
    (line,) = (row for row in status.read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_told_apart(packed, tmp_path, kept):
    path = tmp_path / "graphs.safetensors"
    packed.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"graphs.safetensors is not a readable file"):
        PackedGraphs.load(path)


def test_other_files_are_told_apart(packed, tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(3)}, tmp_path / "weights")
    save_file({"x": torch.zeros(3)}, tmp_path / "odd", {"gtl": "packed graphs", "schema": "{}"})
    (tmp_path / "text").write_text("not at all")
    for name in ("weights", "odd", "text", "missing"):
        with pytest.raises(DataError, match=f"{name} is not a readable file"):
            PackedGraphs.load(tmp_path / name)
