"""The Graph and message passing along it (the only door to DGL)."""

from gtl.graph import ops
from gtl.graph.graph import Graph
from gtl.graph.schema import Columns, Schema

__all__ = ["Columns", "Graph", "Schema", "ops"]
