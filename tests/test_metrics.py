"""Rankings of pairs: values by hand, and OGB's evaluators as referees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.errors import DataError
from gtl.metrics import score, score_by_ogb
from gtl.optional import without_version_check


def evaluator(name):
    with without_version_check():
        from ogb.linkproppred import Evaluator
    return Evaluator(name)


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_hits_count_the_links_above_the_kth_best_other():
    labels = column(1, 0, 1, 0, 1, 0)
    outputs = column(0.9, 0.8, 0.8, 0.5, 0.6, 0.1)
    assert score("hits@1", labels, outputs) == pytest.approx(1 / 3)
    assert score("hits@2", labels, outputs) == 1
    assert score("hits@3", labels, outputs) == 1


def test_mrr_ranks_each_link_among_the_others_of_its_query():
    labels = column(1, 0, 0, 1, 0, 0, 0)
    outputs = column(5, 7, 3, 2, 2, 9, 1)
    queries = np.array([4, 4, 4, 0, 0, 0, 0])
    assert score("mrr", labels, outputs, queries) == pytest.approx((1 / 2 + 1 / 2.5) / 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_hits_equal_those_of_ogb(seed, ties):
    rng = np.random.default_rng(seed)
    labels = (rng.random((67, 1)) < 0.4).astype(float)
    labels[:21], labels[21] = 0, 1
    outputs = rng.normal(size=(67, 1)).round(1 if ties else 9)
    theirs = evaluator("ogbl-ddi").eval(
        {"y_pred_pos": outputs[labels == 1], "y_pred_neg": outputs[labels == 0]}
    )["hits@20"]
    assert score("hits@20", labels, outputs) == theirs
    assert score_by_ogb("ogbl-ddi", "hits@20", labels, outputs) == theirs


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_mrr_equals_that_of_ogb(seed, ties):
    rng = np.random.default_rng(seed)
    links = rng.normal(size=11).round(1 if ties else 9)
    others = rng.normal(size=(11, 7)).round(1 if ties else 9)
    sources = rng.permutation(31)[:11]
    theirs = evaluator("ogbl-citation2").eval(
        {"y_pred_pos": torch.from_numpy(links), "y_pred_neg": torch.from_numpy(others)}
    )["mrr_list"]
    order = rng.permutation(11 * 8)
    labels = np.concatenate([np.ones(11), np.zeros(77)])[order, None]
    outputs = np.concatenate([links, others.flatten()])[order, None]
    queries = np.concatenate([sources, sources.repeat(7)])[order]
    ours = score("mrr", labels, outputs, queries)
    assert ours == pytest.approx(float(theirs.double().mean()), abs=1e-7)
    ogbs = score_by_ogb("ogbl-citation2", "mrr", labels, outputs, queries)
    assert ogbs == pytest.approx(float(theirs.mean()), abs=1e-7)


def test_what_cannot_be_ranked_says_so():
    labels, outputs = column(1, 0, 0), column(1, 2, 3)
    with pytest.raises(DataError, match="2 pairs without a link; use a smaller K"):
        score("hits@3", labels, outputs)
    with pytest.raises(DataError, match="no links"):
        score("hits@1", labels * 0, outputs)
    with pytest.raises(DataError, match="shares its first node with no other"):
        score("mrr", labels, outputs, np.array([1, 2, 2]))
    with pytest.raises(DataError, match="not both links and other pairs"):
        score_by_ogb("ogbl-ddi", "hits@20", labels[:1], outputs[:1])
    with pytest.raises(DataError, match="same number of others"):
        score_by_ogb(
            "ogbl-citation2", "mrr", column(1, 1, 0, 0), column(1, 2, 3, 4), np.array([0, 1, 1, 1])
        )


def test_node_sets_are_judged_by_the_evaluator_of_node_sets():
    outputs = np.eye(40)[[3, 5, 39, 0]]
    assert score_by_ogb("ogbn-arxiv", "acc", np.array([3, 5, 0, -1]), outputs) == 2 / 3
    rng = np.random.default_rng(0)
    labels, outputs = rng.integers(0, 2, (53, 112)).astype(float), rng.normal(size=(53, 112))
    ours = score("rocauc", labels, outputs)
    assert score_by_ogb("ogbn-proteins", "rocauc", labels, outputs) == pytest.approx(ours)
