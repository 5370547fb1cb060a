"""Graph transfer learning: get the most out of a pre-trained graph encoder for a small target."""

from gtl.errors import GtlError
from gtl.graph import Columns, Graph, Schema
from gtl.registry import register_encoder, register_head, register_task, register_weighting
from gtl.version import __version__

__all__ = [
    "Columns",
    "Graph",
    "GtlError",
    "Schema",
    "__version__",
    "register_encoder",
    "register_head",
    "register_task",
    "register_weighting",
]
