"""Packing piece by piece gives what packing at once gives, in whatever pieces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import DataError, ShapeError
from gtl.graph import Columns, Graph, PackedGraphs, PackedWriter, Schema
from gtl.graph.tensor_file import map_tensors


def graph_of(nodes, edges, seed, top=300):
    """A random graph with every field; the more seeds, the larger the numbers."""
    rng = torch.Generator().manual_seed(seed)
    src, dst = torch.randint(max(nodes, 1), (2, edges), generator=rng)
    return Graph(
        src,
        dst,
        nodes,
        x=torch.randint(1 + top * (seed % 3), (nodes, 3), generator=rng),
        e=torch.randn(edges, 2, generator=rng),
        node_type=torch.randint(1 + seed % 4, (nodes,), generator=rng),
        edge_type=torch.randint(1 + 9 * seed, (edges,), generator=rng),
        time=torch.rand(edges, generator=rng),
    )


def packed_in_pieces(path, whole, ends, schema=None):
    with PackedWriter(path, schema) as file:
        for index in torch.arange(len(whole)).tensor_split(ends):
            file.add(whole.subset(index))
    return PackedGraphs.load(path)


@given(
    sizes=st.lists(
        st.integers(0, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 9 if n else 0))),
        min_size=1,
        max_size=9,
    ),
    cuts=st.lists(st.integers(0, 9), max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_a_streamed_file_equals_the_graphs_packed_at_once(tmp_path_factory, sizes, cuts):
    graphs = [graph_of(n, m, seed) for seed, (n, m) in enumerate(sizes)]
    whole = PackedGraphs.pack(graphs)
    ends = sorted(min(cut, len(graphs)) for cut in cuts)
    streamed = packed_in_pieces(tmp_path_factory.mktemp("pieces") / "a", whole, ends)
    assert streamed.checksum() == whole.checksum()
    assert streamed.schema == whole.schema
    small = whole.compact()
    for name, value in streamed.tensors().items():
        assert value.dtype == getattr(small, name).dtype or not value.numel(), name


def test_graphs_packed_one_by_one_have_the_schema_of_all(tmp_path):
    graphs = [graph_of(5, 7, seed) for seed in range(7)]
    with PackedWriter(tmp_path / "a") as file:
        for graph in graphs:
            file.add(PackedGraphs.pack([graph]))
    whole = PackedGraphs.pack(graphs)
    assert PackedGraphs.load(tmp_path / "a").schema == whole.schema
    assert PackedGraphs.load(tmp_path / "a").checksum() == whole.checksum()


def test_the_schema_given_is_kept_and_must_fit(tmp_path):
    whole = PackedGraphs.pack([graph_of(5, 7, 2)])
    wide = Schema(Columns((999, 999, 999)), Columns(width=2), 9, 99)
    assert packed_in_pieces(tmp_path / "a", whole, [], wide).schema == wide
    narrow = Schema(Columns((2, 2, 2)), Columns(width=2), 9, 99)
    with pytest.raises(DataError, match="the file was built for node features"):
        packed_in_pieces(tmp_path / "b", whole, [], narrow)
    assert not (tmp_path / "b").exists()


def test_pieces_with_other_fields_or_columns_are_refused(tmp_path):
    whole = PackedGraphs.pack([graph_of(5, 7, 2)])
    others = {
        ShapeError: replace(whole, time=None),
        DataError: PackedGraphs.pack([graph_of(5, 7, 2).replace(x=torch.zeros(5, 2).long())]),
    }
    for error, other in others.items():
        with pytest.raises(error), PackedWriter(tmp_path / "a") as file:
            file.add(whole)
            file.add(other)
        assert list(tmp_path.iterdir()) == []


def test_a_writer_without_graphs_is_refused(tmp_path):
    with pytest.raises(ShapeError, match="no graphs were added"), PackedWriter(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_more_may_be_stored_beside_the_graphs(tmp_path):
    whole = PackedGraphs.pack([graph_of(2, 3, 1)])
    with PackedWriter(tmp_path / "a") as file:
        for i in range(3):
            file.add(whole, {"number": torch.tensor([i])})
        file.facts["made"] = "by hand"
    tensors, facts = map_tensors(tmp_path / "a")
    assert tensors["number"].tolist() == [0, 1, 2] and facts["made"] == "by hand"
    assert len(PackedGraphs.load(tmp_path / "a")) == 3
