"""A trained EARL for a graph with other relations: known ones keep their parameters."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from gtl.encoders.earl import EARL
from gtl.errors import ConfigError


def with_relations(encoder: EARL, relations: Sequence[int | None]) -> EARL:
    """A copy of an encoder that reads relations by other numbers.

    What is learned beside relations stays, reserved entities included: their profiles have the
    columns of the relations that are known, and zero in those of new ones. The graph that they are
    from is another one for the copy, so all entities are encoded by their relations.

    Args:
        encoder: A trained encoder of ``r`` relations.
        relations: For each relation of the new graph, in order, the number that it had; ``None``
            for a new one, which starts from the mean of all that the encoder knows. With a few
            steps of training it gets a vector of its own.

    Raises:
        ConfigError: If a number is outside ``0..r - 1``, or there are none.

    Example:
        >>> from gtl.graph import Schema
        >>> trained = EARL(Schema(edge_types=2), width=8)
        >>> other = with_relations(trained, [1, None, 0])
        >>> other.schema.edge_types, other.relation_vectors.vectors.shape[0]
        (3, 3)
    """
    known = len(encoder.relation_vectors.vectors)
    for number in relations:
        if number is not None and not 0 <= number < known:
            raise ConfigError(
                f"`relations` has {number}, expected 0..{known - 1}, the relations of the encoder, "
                "or None for a new one"
            )
    if not relations:
        raise ConfigError("`relations` is empty, expected an entry for each relation of the graph")
    found = copy.deepcopy(encoder)
    count = len(relations)
    found.schema = replace(encoder.schema, edge_types=count)
    tables: list[tuple[nn.Module, str]] = [(found.relation_vectors, "vectors")]
    if found.embed.connected is not None:
        tables += [(found.embed.connected, "head"), (found.embed.connected, "tail")]
    for module, name in tables:
        setattr(module, name, nn.Parameter(_rows(getattr(module, name).detach(), relations)))
    for part in (found.embed, found.embed.reserved, found.embed.connected, *found.blocks):
        if part is not None and hasattr(part, "relations"):
            part.relations = count
    _map_profiles(found, relations)
    return found


def _rows(table: Tensor, relations: Sequence[int | None]) -> Tensor:
    """Row of each relation; the mean row for a new one."""
    mean = table.mean(0)
    return torch.stack([mean if number is None else table[number] for number in relations])


def _map_profiles(encoder: EARL, relations: Sequence[int | None]) -> None:
    reserved = encoder.embed.reserved
    sent, received = reserved.profiles.chunk(2, 1)
    zero = torch.zeros_like(sent[:, 0])
    columns = [
        zero if number is None else side[:, number]
        for side in (sent, received)
        for number in relations
    ]
    reserved.profiles = torch.stack(columns, 1)
    reserved.sketch.zero_()
    reserved.graph_size.fill_(-1)
    reserved.stamp()
