"""The Graph and message passing along it; the only package that imports DGL."""

from gtl.graph import ops
from gtl.graph.convert import as_graph, to_dgl, to_networkx, to_pyg, to_scipy
from gtl.graph.graph import Graph
from gtl.graph.neighbors import sample_neighbors
from gtl.graph.pack import PackedGraphs
from gtl.graph.pack_writer import PackedWriter
from gtl.graph.schema import Columns, Schema

__all__ = [
    "Columns",
    "Graph",
    "PackedGraphs",
    "PackedWriter",
    "Schema",
    "as_graph",
    "ops",
    "sample_neighbors",
    "to_dgl",
    "to_networkx",
    "to_pyg",
    "to_scipy",
]
