"""scikit-learn's own checks of estimators, as far as they apply to rows that are no numbers.

Most of them fit tables of numbers. A subclass turns each row of a table into a graph of one node
with these features, so that they run through the same ``fit`` and ``predict``. What they tell of
validation of tables (``n_features_in_``, NaN, sparse matrices) is then told of the subclass.
"""

from __future__ import annotations

import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
    parametrize_with_checks,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from gtl.graph import Graph
from gtl.sklearn import GraphClassifier, GraphRegressor, MoleculeEmbedding

SMALL = {"encoder": {"name": "gin", "width": 4, "depth": 1}, "epochs": 1}
WITHOUT_DATA = [
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
]


@pytest.mark.parametrize("check", WITHOUT_DATA, ids=lambda check: check.__name__)
@pytest.mark.parametrize("kind", [MoleculeEmbedding, GraphClassifier, GraphRegressor])
def test_checks_without_data(kind, check) -> None:
    check(kind.__name__, kind())


def test_rows_are_no_table_of_numbers() -> None:
    for kind in (MoleculeEmbedding, GraphClassifier, GraphRegressor):
        tags = clone(kind()).__sklearn_tags__()
        assert tags.no_validation and tags.input_tags.string and not tags.input_tags.two_d_array


class OfTables:
    """Rows of numbers as graphs of one node."""

    def fit(self, X, y):  # noqa: N803
        X, y = validate_data(self, X, y, multi_output=True, dtype="float32", y_numeric=self.numeric)
        return super().fit(points(X), y)

    def _outputs(self, X):  # noqa: N803
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype="float32")
        return super()._outputs(points(X))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array = True, False
        tags.input_tags.string, tags.no_validation = False, False
        return tags


class TableClassifier(OfTables, GraphClassifier):
    numeric = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # one epoch
        return tags


class TableRegressor(OfTables, GraphRegressor):
    numeric = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


def points(table) -> list[Graph]:
    none = torch.empty(0, dtype=torch.int64)
    return [Graph(none, none, 1, x=torch.tensor(row).unsqueeze(0)) for row in table]


@parametrize_with_checks([TableClassifier(**SMALL), TableRegressor(**SMALL)])
def test_checks_of_tables(estimator, check) -> None:
    check(estimator)
