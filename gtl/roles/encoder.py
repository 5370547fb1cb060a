"""Encoder: a Graph to one vector per node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from gtl.graph.graph import Graph
from gtl.graph.schema import Schema
from gtl.roles.recorded import Recorded


class Encoder(Recorded, ABC, nn.Module):
    """Turns a Graph into one vector per node.

    An encoder is ``embed`` followed by ``blocks``; adapters attach to the blocks.

    Attributes:
        embed: Module, ``embed(graph) -> (n, h)``.
        blocks: Modules, each ``block(graph, h) -> (n, h)``.
        schema: What graphs must look like.
        width: Columns of the output.
        reads_edges: Whether the vector of a node depends on its neighbors.
    """

    reads_edges: ClassVar[bool] = True
    embed: nn.Module
    blocks: nn.ModuleList
    schema: Schema
    width: int

    def observe(self, graph: Graph) -> None:
        """Take from the training graph what the encoder needs of it; the default takes nothing.

        Loops call it before training. What it keeps must be in buffers; an encoder that has seen
        a graph before keeps what it has.

        Args:
            graph: The whole graph, or a batch of some.
        """

    def layers(self, graph: Graph) -> list[Tensor]:
        """Node vectors after the input embedding and after each block, each ``(n, h)``."""
        vectors = [self.embed(graph)]
        for block in self.blocks:
            vectors.append(block(graph, vectors[-1]))
        return vectors

    def relations(self, graph: Graph) -> Tensor | None:
        """Vectors of the edge types ``(r, h')``, if the encoder makes some; ``None`` by default.

        Tasks on triples of the graph find them in ``view.targets["relations"]``.

        Args:
            graph: The graph that was encoded.
        """
        return None

    @abstractmethod
    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""
