"""Embeddings of nodes without message passing: the encoder to compare all others with."""

from __future__ import annotations

from torch import Tensor, nn

from gtl.encoders.inputs import node_input
from gtl.graph import Graph, Schema
from gtl.roles import Encoder


class Embedding(Encoder):
    """The input embedding of each node and nothing else; edges are not read.

    For the entities of a knowledge graph it is the table of vectors that TransE, DistMult, ComplEx
    and RotatE train (shallow embeddings, as Hamilton et al. 2017 call them). Elsewhere it embeds
    the features and types of a node.

    Args:
        schema: What graphs look like.
        width: Columns of the vectors.
    """

    def __init__(self, schema: Schema, width: int = 128):
        super().__init__()
        self.schema, self.width = schema, width
        self.embed = node_input(schema, width)
        self.blocks = nn.ModuleList()

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If the graph does not fit the schema, or has nodes without a vector.
        """
        return self.layers(graph)[-1]
