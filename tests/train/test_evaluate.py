"""Scores follow OGB's conventions."""

from __future__ import annotations

import numpy as np
import pytest

from gtl.errors import DataError
from gtl.metrics import score
from gtl.optional import without_version_check

NAN = np.nan


def test_rocauc_is_the_mean_over_columns_that_have_both_classes():
    labels = np.array([[1, 0, NAN], [0, 0, 1], [1, 0, NAN], [0, 0, 0]])
    outputs = np.array([[2.0, 1, 9], [1.0, 1, 5], [0.5, 1, 9], [0.1, 1, 7]])
    assert score("rocauc", labels, outputs) == pytest.approx((3 / 4 + 0) / 2)


@pytest.mark.parametrize("metric", ["rocauc", "ap", "rmse"])
def test_scores_equal_those_of_ogb(metric):
    with without_version_check():
        from ogb.graphproppred import Evaluator
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (53, 3)).astype(float)
    outputs = rng.normal(size=(53, 3))
    name = {"rocauc": "ogbg-moltox21", "ap": "ogbg-molpcba", "rmse": "ogbg-molesol"}[metric]
    if metric == "rmse":
        labels, outputs = labels[:, :1], outputs[:, :1]
    else:
        labels[rng.random((53, 3)) < 0.3] = NAN
    evaluator = Evaluator(name)
    evaluator.num_tasks = labels.shape[1]
    theirs = evaluator.eval({"y_true": labels, "y_pred": outputs})[metric]
    assert score(metric, labels, outputs) == pytest.approx(theirs, abs=1e-12)


def test_accuracy_leaves_out_missing_classes():
    outputs = np.eye(3)[[0, 1, 2, 2]]
    assert score("acc", np.array([0, 1, 1, -1]), outputs) == pytest.approx(2 / 3)


def test_a_metric_that_is_undefined_says_so():
    with pytest.raises(DataError, match="both classes"):
        score("rocauc", np.ones((4, 2)), np.zeros((4, 2)))
    with pytest.raises(DataError, match="label"):
        score("acc", np.array([-1, -1]), np.zeros((2, 2)))
