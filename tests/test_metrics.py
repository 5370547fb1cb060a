"""Metrics: values by hand, and scikit-learn and OGB's evaluators as references."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

import gtl
from gtl.errors import DataError, ShapeError
from gtl.metrics import METRICS, direction, is_better, score, score_by_ogb, scores_by_column
from gtl.optional import without_version_check


def evaluator(name):
    with without_version_check():
        from ogb.linkproppred import Evaluator
    return Evaluator(name)


def column(*values):
    return np.array(values, dtype=float)[:, None]


BINARY = {
    "rocauc": reference.roc_auc_score,
    "ap": reference.average_precision_score,
    "acc": lambda truth, guess: reference.accuracy_score(truth, guess > 0),
    "f1": lambda truth, guess: reference.f1_score(truth, guess > 0),
    "mcc": lambda truth, guess: reference.matthews_corrcoef(truth, guess > 0),
    "balanced_acc": lambda truth, guess: reference.balanced_accuracy_score(truth, guess > 0),
}
VALUES = {
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
    "r2": reference.r2_score,
}
CLASSES = {
    "acc": reference.accuracy_score,
    "f1": lambda truth, guess: reference.f1_score(truth, guess, average="macro"),
    "mcc": reference.matthews_corrcoef,
    "balanced_acc": reference.balanced_accuracy_score,
}


def with_gaps(labels, rng):
    return np.where(rng.random(labels.shape) < 0.3, np.nan, labels)


@pytest.mark.parametrize("metric", BINARY)
def test_binary_columns_have_the_values_of_scikit_learn(metric):
    rng = np.random.default_rng(3)
    labels = with_gaps((rng.random((67, 5)) < 0.3).astype(float), rng)
    outputs = rng.normal(size=(67, 5)) + labels.clip(0, 1).astype(float)
    outputs[np.isnan(outputs)] = 0.1
    found = scores_by_column(metric, labels, outputs)
    for column, value in enumerate(found):
        known = ~np.isnan(labels[:, column])
        expected = BINARY[metric](labels[known, column], outputs[known, column])
        assert value == pytest.approx(expected, abs=1e-12)
    assert score(metric, labels, outputs) == float(np.mean(found))


@pytest.mark.parametrize("metric", VALUES)
def test_columns_of_values_have_those_of_scikit_learn(metric):
    rng = np.random.default_rng(4)
    labels = with_gaps(rng.normal(size=(53, 3)), rng)
    outputs = np.nan_to_num(labels) + rng.normal(size=(53, 3)) * [0.1, 0.5, 2.0]
    found = scores_by_column(metric, labels, outputs)
    for column, value in enumerate(found):
        known = ~np.isnan(labels[:, column])
        expected = VALUES[metric](labels[known, column], outputs[known, column])
        assert value == pytest.approx(expected, abs=1e-12)
    assert score(metric, labels, outputs) == float(np.mean(found))


@pytest.mark.parametrize("metric", CLASSES)
def test_classes_have_the_values_of_scikit_learn(metric):
    rng = np.random.default_rng(5)
    labels = rng.choice(4, 71, p=(0.6, 0.2, 0.15, 0.05))
    outputs = np.eye(4)[labels] + rng.normal(size=(71, 4))
    labels[::7] = -1
    known = labels >= 0
    expected = CLASSES[metric](labels[known], outputs[known].argmax(1))
    assert score(metric, labels, outputs) == pytest.approx(expected, abs=1e-12)
    (found,) = scores_by_column(metric, labels, outputs)
    assert found == score(metric, labels, outputs)


def test_f1_of_classes_is_macro_by_hand():
    # class 0: precision 3/4, recall 3/3; class 1: nothing right; class 2: 1/1 and 1/2
    labels = np.array([0, 0, 0, 1, 2, 2])
    outputs = np.eye(3)[[0, 0, 0, 0, 2, 1]]
    assert score("f1", labels, outputs) == pytest.approx((6 / 7 + 0 + 2 / 3) / 3)
    assert score("acc", labels, outputs) == pytest.approx(4 / 6)  # what micro-F1 would be
    assert score("balanced_acc", labels, outputs) == pytest.approx((1 + 0 + 1 / 2) / 3)


def test_each_column_weighs_the_same_however_many_labels_it_has():
    nan = np.nan
    labels = np.array([[1.0, 1.0], [0.0, nan], [1.0, nan], [1.0, nan]])
    outputs = np.array([[1.0, -1.0], [-1.0, 9.0], [1.0, 9.0], [-1.0, 9.0]])
    assert scores_by_column("acc", labels, outputs) == [0.75, 0.0]
    assert score("acc", labels, outputs) == 0.375


def test_rmse_is_the_mean_of_the_roots_and_not_the_root_of_the_mean():
    labels, outputs = np.zeros((2, 2)), np.array([[1.0, 7.0], [-1.0, 7.0]])
    assert score("rmse", labels, outputs) == (1 + 7) / 2


def test_logits_are_cut_at_zero_and_zero_is_the_negative_class():
    labels, outputs = column(1, 0, 0), column(0.2, 0.0, -0.1)
    assert score("acc", labels, outputs) == score("f1", labels, outputs) == 1


def test_a_prediction_of_a_class_that_no_label_has_warns_of_nothing(recwarn):
    labels, outputs = np.array([0, 0, 1]), np.eye(3)[[0, 2, 1]]
    assert score("balanced_acc", labels, outputs) == 0.75
    assert not recwarn


@pytest.mark.parametrize("metric", ["rocauc", "ap", "mcc", "balanced_acc"])
def test_a_column_of_one_class_has_no_value_and_does_not_count(metric):
    labels = np.array([[1.0, 1.0, np.nan], [0.0, 1.0, np.nan]])
    outputs = np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]])
    assert scores_by_column(metric, labels, outputs) == [1.0, None, None]
    assert score(metric, labels, outputs) == 1.0
    with pytest.raises(DataError, match=f"{metric} is undefined: no column .* both classes"):
        score(metric, labels[:, 1:], outputs[:, 1:])


@pytest.mark.parametrize("metric", ["mcc", "balanced_acc"])
def test_one_class_alone_of_several_has_no_value(metric):
    labels, outputs = np.array([2, 2, -1]), np.eye(3)
    assert scores_by_column(metric, labels, outputs) == [None]
    with pytest.raises(DataError, match=f"{metric} is undefined: this split has one class alone"):
        score(metric, labels, outputs)


def test_equal_labels_have_no_r2():
    labels = np.array([[2.0, 1.0], [2.0, 3.0]])
    assert scores_by_column("r2", labels, labels) == [None, 1.0]
    with pytest.raises(DataError, match=r"r2 is undefined: no column .* two different labels"):
        score("r2", labels[:, :1], labels[:, :1])
    with pytest.raises(DataError, match=r"r2 is undefined: no column .* two different labels"):
        score("r2", labels[:1], labels[:1])


@pytest.mark.parametrize("metric", [*BINARY, *VALUES])
def test_without_labels_there_is_no_value(metric):
    labels = np.full((3, 2), np.nan)
    assert scores_by_column(metric, labels, np.zeros((3, 2))) == [None, None]
    with pytest.raises(DataError, match=f"{metric} is undefined"):
        score(metric, labels, np.zeros((3, 2)))


@pytest.mark.parametrize("metric", CLASSES)
def test_without_classes_there_is_no_value(metric):
    assert scores_by_column(metric, np.array([-1, -1]), np.eye(2)) == [None]
    with pytest.raises(DataError, match="no item of this split has a label"):
        score(metric, np.array([-1, -1]), np.eye(2))


def test_pairs_have_one_score_or_none():
    labels, outputs = column(1, 0, 1, 0), column(3, 2, 1, 0)
    assert scores_by_column("hits@1", labels, outputs) == [0.5]
    assert scores_by_column("mrr", labels, outputs) == [(1 + 1 / 2) / 2]
    assert scores_by_column("hits@3", labels, outputs) == [None]


@pytest.mark.parametrize("metric", ["rocauc", "ap", "rmse", "mae", "r2"])
def test_a_metric_of_columns_is_refused_for_classes(metric):
    with pytest.raises(DataError, match=f"{metric} is no metric of .* classes; use one of: acc"):
        score(metric, np.array([0, 1]), np.eye(2))


@pytest.mark.parametrize("metric", BINARY)
def test_a_metric_of_two_classes_is_refused_for_values(metric):
    with pytest.raises(DataError, match=rf"{metric} needs labels 0 and 1.* 2\.5; .*rmse, mae, r2"):
        score(metric, column(2.5, 1.0), column(1.0, 2.0))


def test_outputs_of_another_shape_are_refused():
    for labels, outputs in (
        (column(1, 0), np.zeros((2, 3))),
        (column(1, 0), np.zeros((3, 1))),
        (np.array([1, 0]), np.zeros((3, 2))),
        (np.array([1, 0]), np.zeros(2)),
    ):
        with pytest.raises(ShapeError, match="`outputs` has shape"):
            score("acc", labels, outputs)
    with pytest.raises(ShapeError, match=r"ranks pairs: `labels` has shape \(2,\)"):
        score("mrr", np.array([1, 0]), np.zeros((2, 2)))


def test_a_metric_of_values_is_refused_for_labels_of_0_and_1(shapes):
    for metric in ("rmse", "mae", "r2"):
        with pytest.raises(DataError, match=f"{metric} is a metric of values.*use one of: rocauc"):
            dataclasses.replace(shapes, metric=metric)
    model = gtl.finetune({"name": "gin", "width": 4, "depth": 1}, shapes, epochs=1)
    with pytest.raises(DataError, match="rmse is a metric of values"):
        gtl.evaluate(model, shapes, metrics=["rmse"])


def test_an_unknown_metric_is_refused():
    with pytest.raises(DataError, match=r"did you mean 'rocauc'.*hits@K"):
        score("roc_auc", column(1, 0), column(1, 0))


def test_errors_are_better_when_low_and_all_else_when_high():
    low = {name for name in METRICS if direction(name) == "lower"}
    assert low == {"rmse", "mae"}
    assert all(direction(name) == "higher" for name in METRICS.keys() - low)
    assert direction("hits@50") == "higher"
    for name in METRICS:
        assert is_better(0.5, 0.6, name) == (name in low)
        assert is_better(0.6, 0.5, name) == (name not in low)
        assert not is_better(0.5, 0.5, name)  # among equals the first stays


def test_another_metric_of_a_set_of_ogb_is_not_asked_of_its_evaluator():
    labels, outputs = column(1, 0, 1, 0), column(3, 2, 1, -1)
    assert score_by_ogb("ogbg-molhiv", "rocauc", labels, outputs) == 0.75
    assert score_by_ogb("ogbg-molhiv", "acc", labels, outputs) == 0.75
    assert score_by_ogb("ogbg-molhiv", "mcc", labels, outputs) == score("mcc", labels, outputs)


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


def test_every_value_beats_nan_and_nan_no_other():
    nan = float("nan")
    for name in ("rmse", "acc"):
        assert is_better(0.5, nan, name)
        assert not is_better(nan, 0.5, name)
        assert is_better(nan, None, name)
