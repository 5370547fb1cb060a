"""EARL on a graph with other relations."""

from __future__ import annotations

import pytest
import torch

from gtl.encoders.earl import EARL
from gtl.encoders.relation_transfer import with_relations
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema


def triples(entities: int, relations: int, count: int, seed: int) -> Graph:
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randint(entities, (2, count), generator=rng)
    kinds = torch.randint(relations, (count,), generator=rng)
    return Graph(*ends, entities, edge_type=kinds)


@pytest.fixture
def encoder():
    made = EARL(Schema(edge_types=4), width=6, reserved=5, nearest=3).double()
    made.observe(triples(19, 4, 60, seed=0))
    return made.eval()


def test_renumbered_relations_give_the_same_vectors(encoder):
    other, order = triples(23, 4, 70, seed=1), torch.tensor([2, 0, 3, 1])
    numbered = other.replace(edge_type=order[other.edge_type])
    mapped = with_relations(encoder, order.argsort().tolist())
    torch.testing.assert_close(mapped(numbered), encoder(other))
    torch.testing.assert_close(mapped.relations(numbered)[order], encoder.relations(other))


def test_new_relations_start_from_the_mean_and_can_be_trained(encoder):
    other = triples(23, 3, 70, seed=1)
    wider = with_relations(encoder, [3, None, 1])
    table = encoder.relation_vectors.vectors
    torch.testing.assert_close(wider.relation_vectors.vectors[1], table.mean(0))
    torch.testing.assert_close(wider.relation_vectors.vectors[2], table[1])
    profiles = wider.embed.reserved.profiles
    assert profiles.shape == (5, 6)
    assert not profiles[:, [1, 4]].any()
    wider(other).square().sum().backward()
    assert wider.relation_vectors.vectors.grad[1].abs().sum() > 0
    assert wider.embed.reserved.drawn == 5


def test_the_trained_encoder_stays_as_it_was(encoder):
    other = triples(23, 4, 70, seed=1)
    before = encoder(other)
    with_relations(encoder, [0, None])
    assert encoder.schema.edge_types == 4
    assert torch.equal(encoder(other), before)


@pytest.mark.parametrize("relations", [[], [4], [0, -1]])
def test_relations_that_the_encoder_does_not_have_are_refused(encoder, relations):
    with pytest.raises(ConfigError, match="`relations`"):
        with_relations(encoder, relations)
