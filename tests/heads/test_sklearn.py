"""Heads as scikit-learn classifiers: its own checks, its own models, labels of any kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from gtl.errors import ConfigError
from gtl.heads.sklearn import CosineClassifier, GaussianClassifier, PrototypeClassifier

ROOT = Path(__file__).resolve().parents[2]
ESTIMATORS = [
    PrototypeClassifier(),
    PrototypeClassifier(similarity="cosine"),
    GaussianClassifier(),
    GaussianClassifier(kind="qda", task="within", prior="empirical"),
    CosineClassifier(),
]


@parametrize_with_checks(ESTIMATORS)
def test_scikit_learns_own_check(estimator, check) -> None:
    check(estimator)


def test_prototypes_are_scikit_learns_nearest_centroids() -> None:
    x, y = load_iris(return_X_y=True)
    ours, theirs = PrototypeClassifier().fit(x, y), NearestCentroid().fit(x, y)
    assert (ours.predict(x) == theirs.predict(x)).all()


def test_lda_without_shrinkage_chooses_as_scikit_learn_does() -> None:
    x, y = load_iris(return_X_y=True)
    ours = GaussianClassifier(task="within", shrinkage=[1.0, 1e-12]).fit(x, y)
    assert (ours.predict(x) == LinearDiscriminantAnalysis().fit(x, y).predict(x)).all()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_they_stand_in_pipelines_and_tell_irises_apart(estimator) -> None:
    x, y = load_iris(return_X_y=True)
    names = load_iris().target_names[y]
    scores = cross_val_score(make_pipeline(StandardScaler(), estimator), x, names, cv=3)
    assert scores.mean() > 0.8


def test_training_lowers_the_loss_of_imprinted_weights() -> None:
    x, y = load_iris(return_X_y=True)
    losses = []
    for steps in (0, 20):
        probabilities = CosineClassifier(max_iter=steps).fit(x, y).predict_proba(x)
        losses.append(-np.log(probabilities[np.arange(len(y)), y]).mean())
    assert losses[1] < 0.5 * losses[0]


def test_options_are_judged_by_the_head() -> None:
    with pytest.raises(ConfigError, match="`kind` is 'gda'"):
        GaussianClassifier(kind="gda").fit([[0.0], [1.0]], [0, 1])


def test_they_are_reached_from_gtl_and_scikit_learn_is_imported_only_then() -> None:
    code = (
        "import sys, gtl, gtl.heads\n"
        "assert 'sklearn' not in sys.modules\n"
        "print(gtl.heads.sklearn.PrototypeClassifier.__name__, 'sklearn' in sys.modules)\n"
    )
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stdout.split() == ["PrototypeClassifier", "True"], done.stderr
