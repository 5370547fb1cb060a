"""Properties of graphs: rows that stay with their graphs through batches, subsets and files."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import ShapeError
from gtl.graph import Graph, PackedGraphs, PackedWriter


def path_of(nodes: int, value: float) -> Graph:
    src = torch.arange(max(nodes - 1, 0))
    properties = {
        "size": torch.tensor([[float(nodes)]]),
        "value": torch.tensor([[value, -value]]),
    }
    return Graph(src, src + 1, nodes, properties=properties)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=7), st.data())
@settings(max_examples=30, deadline=None)
def test_each_graph_keeps_its_row(sizes: list[int], data: st.DataObject) -> None:
    graphs = [path_of(n, float(i)) for i, n in enumerate(sizes)]
    packed = PackedGraphs.pack(graphs)
    index = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=5))
    for batch in (packed.batch(torch.tensor(index)), Graph.batch([graphs[i] for i in index])):
        assert batch.properties["size"].flatten().tolist() == [sizes[i] for i in index]
        assert batch.properties["value"][:, 0].tolist() == [float(i) for i in index]
        parts = batch.unbatch()
        assert [part.properties["value"].tolist() for part in parts] == [[[i, -i]] for i in index]
    chosen = packed.subset(torch.tensor(index)).properties
    assert chosen["size"].flatten().tolist() == [sizes[i] for i in index]


def test_a_file_keeps_properties_in_their_own_dtype(tmp_path) -> None:
    graphs = PackedGraphs.pack([path_of(2, 1.0), path_of(3, 2.0)])
    small = {"bits": torch.tensor([[1, 0], [255, 7]], dtype=torch.uint8)}
    graphs = replace(graphs, properties=small)
    graphs.save(tmp_path / "whole")
    with PackedWriter(tmp_path / "pieces") as file:
        for i in range(2):
            file.add(graphs.subset(torch.tensor([i])))
    for name in ("whole", "pieces"):
        read = PackedGraphs.load(tmp_path / name).properties
        assert read.keys() == {"bits"}
        assert read["bits"].dtype == torch.uint8
        assert torch.equal(read["bits"], small["bits"])


def test_pieces_with_other_properties_are_refused(tmp_path) -> None:
    graphs = PackedGraphs.pack([path_of(2, 1.0)])
    bare = PackedGraphs.pack([path_of(2, 1.0).replace(properties=None)])
    with pytest.raises(ShapeError, match="a piece has the fields"):  # noqa: SIM117
        with PackedWriter(tmp_path / "pieces") as file:
            file.add(graphs)
            file.add(bare)


def test_the_checksum_is_that_of_the_graphs() -> None:
    with_them = PackedGraphs.pack([path_of(3, 1.0)])
    without = PackedGraphs.pack([path_of(3, 1.0).replace(properties=None)])
    assert with_them.checksum() == without.checksum()


def test_properties_move_with_the_graph() -> None:
    moved = path_of(3, 1.0).to(dtype=torch.float64)
    assert moved.properties["value"].dtype == torch.float64
    assert path_of(3, 1.0).to("meta").properties["size"].device.type == "meta"


def test_parts_of_a_graph_have_no_properties_of_the_whole() -> None:
    assert path_of(3, 1.0).subgraph(torch.tensor([0, 1])).properties is None


def test_a_wrong_number_of_rows_is_named() -> None:
    with pytest.raises(ShapeError, match=r"'mass' is float32 \(2, 1\), expected \(1, d\)"):
        path_of(3, 1.0).replace(properties={"mass": torch.zeros(2, 1)})
    with pytest.raises(ShapeError, match="is of type list"):
        path_of(3, 1.0).replace(properties={"mass": [1.0]})
    graphs = PackedGraphs.pack([path_of(2, 1.0)])
    with pytest.raises(ShapeError, match=r"'mass' is \(3, 1\), expected \(1, d\)"):
        PackedGraphs(
            **{
                **graphs.tensors(),
                "schema": graphs.schema,
                "properties": {"mass": torch.ones(3, 1)},
            }
        )


def test_a_property_of_some_graphs_only_is_refused() -> None:
    bare = path_of(2, 1.0).replace(properties=None)
    with pytest.raises(ShapeError, match="`size` is present in 1 of 2 graphs"):
        Graph.batch([path_of(2, 1.0), bare])
