"""Indexes of triples agree with plain sets, and draws avoid what is known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.triples import Completions, TripleIndex, triple_index, triples_of, without_triples

ENTITIES, RELATIONS = 7, 3
TRIPLE = st.tuples(
    st.integers(0, ENTITIES - 1), st.integers(0, RELATIONS - 1), st.integers(0, ENTITIES - 1)
)


def index_of(triples) -> TripleIndex:
    return TripleIndex.of(
        torch.tensor(triples, dtype=torch.int64).reshape(-1, 3), ENTITIES, RELATIONS
    )


@given(st.lists(TRIPLE, max_size=60))
@settings(deadline=None, max_examples=60)
def test_the_index_equals_a_plain_set(triples):
    index = index_of(triples)
    queries = torch.arange(ENTITIES * RELATIONS)
    for side, own, other in ((index.tails, 0, 2), (index.heads, 2, 0)):
        row, entity = side.known(queries)
        found = {(int(q), int(e)) for q, e in zip(row, entity)}
        expected = {(t[own] * RELATIONS + t[1], t[other]) for t in triples}
        assert found == expected and len(row) == len(expected)
        counts = [sum(row[0] == query for row in expected) for query in queries.tolist()]
        assert side.counts(queries).tolist() == counts


@given(st.lists(TRIPLE, max_size=60), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_draws_never_complete_a_known_triple(triples, seed):
    index, known = index_of(triples).tails, {(h, r, t) for h, r, t in triples}
    queries = torch.arange(ENTITIES * RELATIONS)
    drawn, some = index.draw_others(queries, 5, torch.Generator().manual_seed(seed))
    for query, row, has_some in zip(queries.tolist(), drawn.tolist(), some.tolist()):
        of_query = {t for h, r, t in known if h * RELATIONS + r == query}
        assert has_some == (len(of_query) < ENTITIES)
        assert not has_some or not of_query & set(row)
        assert all(0 <= entity < ENTITIES for entity in row)


def test_every_other_entity_is_drawn_equally_often():
    known = [(0, 0, 0), (0, 0, 3), (0, 0, 4), (0, 0, 6), (1, 0, 1)]
    side = index_of(known).tails
    drawn, _ = side.draw_others(torch.tensor([0]), 30_000, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn.flatten(), minlength=ENTITIES) / 30_000
    assert share[[0, 3, 4, 6]].sum() == 0
    assert (share[[1, 2, 5]] - 1 / 3).abs().max() < 0.02


def test_too_many_entities_are_refused():
    none = torch.empty(0, dtype=torch.int64)
    with pytest.raises(DataError, match="cannot be numbered by 64 bits"):
        Completions.of(none, none, none, 2**32, 4)


def graph() -> Graph:
    src, dst = torch.tensor([0, 0, 1, 2, 0]), torch.tensor([1, 1, 0, 2, 1])
    return Graph(src, dst, 3, edge_type=torch.tensor([0, 1, 0, 1, 0]))


def test_exactly_the_given_triples_are_taken_out_and_parallel_ones_with_them():
    rest = without_triples(graph(), torch.tensor([[0, 0, 1], [2, 0, 2], [2, 1, 0]]))
    assert triples_of(rest).tolist() == [[0, 1, 1], [1, 0, 0], [2, 1, 2]]
    assert without_triples(graph(), torch.empty(0, 3, dtype=torch.int64)).num_edges == 5


def test_a_relation_beyond_those_of_the_edges_names_no_edge():
    assert without_triples(graph(), torch.tensor([[0, 9, 1], [1, 3, 0]])).num_edges == 5


def test_a_graph_without_types_has_one_relation():
    plain = graph().replace(edge_type=None)
    assert triples_of(plain)[:, 1].tolist() == [0] * 5
    assert triple_index(plain, 1).tails.counts(torch.tensor([0, 1, 2])).tolist() == [1, 1, 1]


def test_the_index_of_a_graph_is_made_once_and_anew_when_edges_change():
    one = graph()
    assert triple_index(one, 2) is triple_index(one.replace(pairs=torch.tensor([[0, 1]])), 2)
    assert triple_index(one, 2) is not triple_index(one.drop_edges(torch.arange(5) == 0), 2)
