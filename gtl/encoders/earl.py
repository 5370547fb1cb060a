"""Entity-agnostic encoder of knowledge graphs (EARL, Chen et al. 2023).

"Entity-Agnostic Representation Learning for Parameter-Efficient Knowledge Graph Embedding", AAAI.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gtl.encoders.block import require
from gtl.encoders.inputs import EdgeTable, node_input
from gtl.encoders.relation_profile import Profiles, profiles_of
from gtl.encoders.relational_hop import RelationalHop, RelationVectors
from gtl.encoders.reserved import Reserved
from gtl.graph import Graph, Schema
from gtl.roles import Encoder


class EARL(Encoder):
    """Entity-agnostic encoder: vectors of entities from their relations, not from a table.

    What is learned has a size that does not grow with the number of entities, and any graph with
    the same relations can be encoded, entities included that training has never seen:

    - the *connected relations* of an entity: the mean of a vector for each relation that it is
      head or tail of, and an MLP (Eq. 2 and 3);
    - the ``nearest`` of some *reserved* entities, which have a vector each, by the cosine of
      relational profiles (Eq. 4 to 6). Both together are mapped by an MLP;
    - ``depth`` layers of relational message passing (:class:`RelationalHop`).

    In the graph that they were drawn from, with edges more or less, reserved entities start from
    their own vector instead. That graph is the one that :meth:`observe` was given, which the loops
    of gtl do; without it, entities are reserved at the first pass in train mode, for others alone.

    A graph without edge types has one relation. Features and types of nodes and features of edges,
    which the paper does not have, are added to the input; the number of a node is no feature here.
    In a sampled graph (``fan_out``) profiles count the edges that were drawn.

    Relations are updated as well: :meth:`relations` gives them to a head that scores triples.

    Args:
        schema: What graphs look like.
        width: Columns of entity vectors. Heads that read them as complex numbers need an even one.
        depth: Number of layers; 0 for no message passing.
        dropout: Probability of dropping a value after each layer.
        reserved: Number of reserved entities; about a tenth of the entities in the paper.
        nearest: Neighbors among them that each entity has; 0 leaves this part out.
        temperature: Of the softmax over their similarities.
        connected: Whether connected relations are used.
        relation_width: Columns of relation vectors; by default half of ``width``, one angle for
            each complex number.

    Raises:
        ConfigError: If an option is outside its range.
    """

    embed: EARLInput

    def __init__(
        self,
        schema: Schema,
        width: int = 128,
        depth: int = 2,
        dropout: float = 0.0,
        reserved: int = 256,
        nearest: int = 10,
        temperature: float = 0.2,
        connected: bool = True,
        relation_width: int | None = None,
    ):
        super().__init__()
        inner = max(width // 2, 1) if relation_width is None else relation_width
        require(width >= 1, "width", width, "at least 1")
        require(depth >= 0, "depth", depth, "0 or more")
        require(0 <= dropout < 1, "dropout", dropout, "at least 0 and below 1")
        require(reserved >= 1, "reserved", reserved, "at least 1")
        require(nearest >= 0, "nearest", nearest, "0 or more")
        require(nearest > 0 or connected, "nearest", nearest, "at least 1 without `connected`")
        require(temperature > 0, "temperature", temperature, "above 0")
        require(inner >= 1, "relation_width", inner, "at least 1")
        self.schema, self.width = schema, width
        kinds = schema.edge_types
        found = Reserved(kinds, width, reserved, nearest, temperature)
        self.embed = EARLInput(schema, width, found, connected)
        self.relation_vectors = RelationVectors(kinds, inner, depth)
        self.blocks = nn.ModuleList(
            RelationalHop(kinds, self.relation_vectors, i, width, dropout) for i in range(depth)
        )

    def observe(self, graph: Graph) -> None:
        """Reserve entities of the training graph, once; a trained encoder keeps those it has.

        Args:
            graph: The whole graph, or a batch of some.
        """
        if not self.embed.reserved.drawn:
            self.embed.reserved.draw(graph, whole=True)

    def relations(self, graph: Graph) -> Tensor:
        """Vectors of the relations after the last layer, ``(r, relation_width)``.

        Args:
            graph: The graph that was encoded; they are the same for any.
        """
        vectors: Tensor = self.relation_vectors(len(self.blocks))
        return vectors

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``.

        Raises:
            DataError: If the graph does not fit the schema.
        """
        return self.layers(graph)[-1]


class EARLInput(nn.Module):
    """Vectors of entities before message passing.

    Args:
        schema: What graphs look like.
        width: Columns of the vectors.
        reserved: Reserved entities.
        connected: Whether connected relations are used.
    """

    def __init__(self, schema: Schema, width: int, reserved: Reserved, connected: bool):
        super().__init__()
        self.relations = schema.edge_types
        self.reserved = reserved
        self.connected = ConnectedRelations(self.relations, width) if connected else None
        parts = int(connected) + (reserved.nearest > 0)
        self.project = _mlp(parts * width, width)
        named = schema.node is not None and not schema.node.identity
        plain = Schema(schema.node if named else None, node_types=schema.node_types)
        has_features = named or schema.node_types > 1
        self.features = node_input(plain, width) if has_features else None
        self.edges = None if schema.edge is None else EdgeTable(schema.edge, width, loops=False)

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``; equal for nodes of one profile, if they are not reserved."""
        if self.training and not self.reserved.drawn:
            self.reserved.draw(graph, whole=False)
        profiles = profiles_of(graph, self.relations)
        vectors = self.project(torch.cat(self._parts(graph, profiles), 1))  # (u, width)
        rows = self.reserved.own_rows(graph)
        if rows is None:
            rows = profiles.row
        else:
            vectors = torch.cat([vectors, self.reserved.vectors])
        h = vectors.index_select(0, rows)
        if self.features is not None:
            h = h + self.features(graph)
        return h if self.edges is None else self.edges.add_sums(graph, h)

    def _parts(self, graph: Graph, profiles: Profiles) -> list[Tensor]:
        parts = [self.reserved(graph)] if self.reserved.nearest else []
        return parts if self.connected is None else [*parts, self.connected(profiles)]


class ConnectedRelations(nn.Module):
    """What the relations of an entity say about it: a mean over its edges, and an MLP.

    Args:
        relations: Number of relations, 0 if untyped.
        width: Columns of the vectors.
    """

    def __init__(self, relations: int, width: int):
        super().__init__()
        self.head = nn.Parameter(torch.empty(max(relations, 1), width))
        self.tail = nn.Parameter(torch.empty(max(relations, 1), width))
        for table in (self.head, self.tail):
            nn.init.xavier_normal_(table, gain=nn.init.calculate_gain("relu"))
        self.mlp = _mlp(width, width)

    def forward(self, profiles: Profiles) -> Tensor:
        """Vectors of the ``u`` distinct profiles, ``(u, width)``."""
        vectors: Tensor = self.mlp(profiles.means(torch.cat([self.head, self.tail])))
        return vectors


def _mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
