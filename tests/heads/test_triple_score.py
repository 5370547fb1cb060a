"""Scores of triples: the reference's numbers, the papers' formulas, and both sides alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from gtl.catalog import TRIPLE_SCORES
from gtl.errors import ConfigError, ShapeError
from gtl.heads import vector_pairs
from gtl.heads.triple_score import ComplEx, DistMult, RotatE, TransE
from gtl.heads.vector_pairs import all_distances, distances, inner_products

close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)  # noqa: E731
NAMES = TRIPLE_SCORES.names()


def vectors(score, count=7):
    torch.manual_seed(3)
    widths = (score.width, score.relation_width, score.width)
    return [torch.randn(count, width, dtype=torch.float64) for width in widths]


def as_complex(v):
    real, imaginary = v.chunk(2, 1)
    return torch.complex(real, imaginary)


def test_rotate_has_the_numbers_of_the_reference(golden):
    with np.load(golden / "earl.npz", allow_pickle=False) as file:
        numbers = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    head, relation, tail = numbers["triples"].unbind(1)
    entities, relations = numbers["entity_emb"], numbers["relation_emb"][relation]
    score = RotatE(entities.shape[1], margin=float(numbers["gamma"])).double()
    close(score(entities[head], relations, entities[tail]), numbers["score_positive"])
    tails = score.against_all(score.tail_queries(entities[head], relations), entities)
    heads = score.against_all(score.head_queries(entities[tail], relations), entities)
    close(tails, numbers["score_all_tails"])
    close(heads, numbers["score_all_heads"])


FORMULAS = {
    "transe": lambda h, r, t: 5 - (h + r - t).abs().sum(1),
    "distmult": lambda h, r, t: (h * r * t).sum(1),
    "complex": lambda h, r, t: (as_complex(h) * as_complex(r) * as_complex(t).conj()).sum(1).real,
    "rotate": lambda h, r, t: (
        5 - (as_complex(h) * torch.exp(1j * r * math.pi / (7 / 3)) - as_complex(t)).abs().sum(1)
    ),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_formula_of_its_paper_from_either_side(name):
    margin = {"margin": 5.0} if name in ("transe", "rotate") else {}
    score = TRIPLE_SCORES.build({"name": name, **margin}, 6, 0)
    h, r, t = vectors(score)
    expected = FORMULAS[name](h, r, t)
    close(score(h, r, t), expected)
    close(score.against_all(score.tail_queries(h, r), t).diagonal(), expected)
    close(score.against_all(score.head_queries(t, r), h).diagonal(), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("entities", [4, 500])
def test_candidates_have_the_scores_that_they_have_among_all(name, entities):
    score = TRIPLE_SCORES.build(name, 6, 0)
    h, r, _ = vectors(score)
    every = torch.randn(entities, 6, dtype=torch.float64)
    chosen = torch.randint(entities, (7, 5))
    queries = score.tail_queries(h, r)
    each = score.against_each(queries, every, chosen)
    close(each, score.against_all(queries, every).gather(1, chosen))


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("block", [1, 40, 1 << 18])
def test_blocks_of_any_size_give_the_same_distances_and_gradients(monkeypatch, pairs, block):
    torch.manual_seed(0)
    q, v = (torch.randn(n, 6, dtype=torch.float64, requires_grad=True) for n in (5, 11))
    chosen = torch.randint(11, (5, 3))

    def results():
        found = [all_distances(q, v, pairs), distances(q, v, chosen, pairs)]
        weighted = sum((out * torch.arange(out.numel()).view_as(out)).sum() for out in found)
        return [*found, *torch.autograd.grad(weighted, [q, v])]

    whole = results()
    monkeypatch.setattr(vector_pairs, "_CACHE", block)
    for part, expected in zip(results(), whole):
        close(part, expected)


@pytest.mark.parametrize("pairs", [True, False])
def test_distances_have_true_derivatives_of_first_and_second_order(pairs):
    torch.manual_seed(0)
    q, v = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (3, 5))
    chosen = torch.randint(5, (3, 2))
    for compute in (
        lambda a, b: all_distances(a, b, pairs),
        lambda a, b: distances(a, b, chosen, pairs),
        lambda a, b: distances((b[:3] * a).tanh(), b, chosen, pairs),  # queries from the vectors
        lambda a, b: inner_products(a, b, chosen),
    ):
        assert gradcheck(compute, (q, v), check_forward_ad=True)
        assert gradgradcheck(compute, (q, v))


def test_no_distance_has_a_finite_gradient():
    v = torch.ones(2, 4, requires_grad=True)
    for pairs in (True, False):
        (grad,) = torch.autograd.grad(all_distances(v, v, pairs).sum(), v)
        assert bool(grad.isfinite().all())


def test_own_vectors_of_relations_are_as_wide_as_the_score_needs():
    widths = {name: TRIPLE_SCORES.build(name, 6, 3).relation_vectors.shape for name in NAMES}
    assert widths == {"transe": (3, 6), "distmult": (3, 6), "complex": (3, 6), "rotate": (3, 3)}
    assert RotatE(6).relation_vectors is None
    drawn = RotatE(300, 11, margin=10.0).relation_vectors
    assert drawn.abs().max() <= 12 / 150 and drawn.std() > 0.03


def test_unusable_sizes_are_refused():
    for build in (lambda: RotatE(5), lambda: ComplEx(5, 2)):
        with pytest.raises(ConfigError, match="expected an even number"):
            build()
    with pytest.raises(ConfigError, match=r"`margin` is 0\.0"):
        TransE(4, margin=0.0)
    with pytest.raises(ConfigError, match="`width` is 0"):
        DistMult(0)
    with pytest.raises(ShapeError, match="`relations` has shape"):
        RotatE(4)(torch.ones(2, 4), torch.ones(2, 4), torch.ones(2, 4))
