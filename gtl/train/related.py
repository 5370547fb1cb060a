"""Matching of the relations of a knowledge graph with those of training, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from gtl.data.dataset import Dataset
from gtl.data.triples import Vocabulary
from gtl.errors import DataError

_SHOWN = 5


def related(data: Dataset, names: Sequence[str]) -> Dataset:
    """The knowledge graph with relations numbered as some names are.

    Args:
        data: A knowledge graph with names.
        names: Names of the relations, in the order of their numbers; the graph may have fewer.

    Raises:
        DataError: If the graph has a relation of another name.
    """
    vocabulary, graph = data.vocabulary, data.graph
    assert vocabulary is not None and graph is not None and data.triples is not None
    if tuple(vocabulary.relations) == tuple(names):
        return data
    numbers = {name: number for number, name in enumerate(names)}
    unknown = [name for name in vocabulary.relations if name not in numbers]
    if unknown:
        shown = ", ".join(map(repr, unknown[:_SHOWN]))
        raise DataError(
            f"{data.spec} has relations that the model was not trained on: {shown} "
            f"({len(unknown)} of {len(vocabulary.relations)}); rename them in the files, or leave "
            "out their triples"
        )
    table = torch.tensor([numbers[name] for name in vocabulary.relations], dtype=torch.int64)
    triples = data.triples.clone()
    triples[:, 1] = table[triples[:, 1]]
    edge_type = None if graph.edge_type is None else table[graph.edge_type]
    return replace(
        data,
        graph=graph.replace(edge_type=edge_type),
        triples=triples,
        vocabulary=Vocabulary(vocabulary.entities, tuple(names)),
    )
