"""NodePiece of pykeen (Galkin et al. 2022) as an encoder of gtl: one loop trains all sides."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.graph import Graph, Schema
from gtl.roles import Encoder


class NodePiece(Encoder):
    """Vectors of entities from the relations around them, by pykeen's tokens and their MLP.

    Args:
        schema: Of a knowledge graph.
        width: Columns of a token and of the output.
        tokens: Relations of an entity, inverse ones among them; drawn where it has more.
    """

    reads_edges = False  # what it knows of them was taken at the beginning

    def __init__(self, schema: Schema, width: int = 16, tokens: int = 10):
        super().__init__()
        self.schema, self.width, self.tokens = schema, width, tokens
        self.embed, self.blocks = _Table(), nn.ModuleList()

    def forward(self, graph: Graph) -> Tensor:
        """Vectors of all entities ``(n, width)``."""
        return self.embed(graph)

    def observe(self, graph: Graph) -> None:
        """Draw the tokens of each entity from the training graph."""
        from pykeen.nn.node_piece import NodePieceRepresentation, RelationTokenizer
        from pykeen.triples import CoreTriplesFactory

        if self.embed.table is not None or graph.edge_type is None:
            return
        known = CoreTriplesFactory.create(
            torch.stack([graph.src, graph.edge_type, graph.dst], 1),
            num_entities=graph.num_nodes,
            num_relations=self.schema.edge_types,
            create_inverse_triples=True,
        )
        self.embed.table = NodePieceRepresentation(
            triples_factory=known,
            tokenizers=RelationTokenizer(),
            num_tokens=self.tokens,
            token_representations="Embedding",
            token_representations_kwargs={"shape": (self.width,)},
            aggregation="mlp",
        )


class _Table(nn.Module):
    """All vectors, whatever the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.table: nn.Module | None = None

    def forward(self, graph: Graph) -> Tensor:
        assert self.table is not None
        return self.table()
