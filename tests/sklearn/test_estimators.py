"""GraphClassifier and GraphRegressor: labels and rows of all kinds, grid searches, pickling."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

import gtl
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.sklearn import GraphClassifier, GraphRegressor

SMALL = {"name": "gin", "width": 8, "depth": 1}
NAMES = np.array(["alcohol"] * 10 + ["acid"] * 10)


def lengths(molecules) -> np.ndarray:
    return np.array([float(len(text)) for text in molecules])


def test_it_is_the_fine_tuning_of_gtl(encoder, molecules) -> None:
    options = {"epochs": 3, "lr": 1e-2, "batch_size": 8}
    model = GraphRegressor(encoder, validation_fraction=0, random_state=5, **options)
    model.fit(molecules, lengths(molecules))
    whole = {"train": torch.arange(20)}
    data = gtl.Dataset.from_graphs(molecules, lengths(molecules), whole, kind="regression")
    import copy

    expected = gtl.finetune(copy.deepcopy(encoder), data, seed=5, **options)
    found = gtl.predict(expected, data)[:, 0].numpy()
    np.testing.assert_array_equal(model.predict(molecules).astype("float32"), found)


def test_classes_of_words_are_learned(encoder, molecules) -> None:
    model = GraphClassifier(encoder, epochs=100, lr=1e-2, batch_size=8, validation_fraction=0)
    model.fit(molecules, NAMES)
    assert model.classes_.tolist() == ["acid", "alcohol"]
    assert model.score(molecules, NAMES) > 0.9
    found = model.predict_proba(molecules)
    np.testing.assert_allclose(found.sum(1), 1)
    assert (model.classes_[found.argmax(1)] == model.predict(molecules)).all()


@pytest.mark.parametrize(
    "labels",
    [
        NAMES.astype(object),
        np.array([True] * 10 + [False] * 10),
        np.array([-1] * 10 + [1] * 10),
        np.array([2.0, 5.0, 7.0, 9.0] * 5),
        np.array(["a", "b", "c", "d"] * 5),
    ],
    ids=["object", "bool", "signs", "float", "four"],
)
def test_classes_keep_their_type(labels, molecules) -> None:
    model = GraphClassifier(SMALL, epochs=1, validation_fraction=0).fit(molecules, labels)
    found = model.predict(molecules)
    assert found.dtype == np.unique(labels).dtype and set(found) <= set(labels)
    assert model.predict_proba(molecules).shape == (20, len(np.unique(labels)))


def test_several_label_columns_may_have_gaps(molecules) -> None:
    labels = np.stack([NAMES == "acid", lengths(molecules) > 8], 1).astype(float)
    labels[3, 0] = labels[7, 1] = np.nan
    model = GraphClassifier(SMALL, epochs=1).fit(molecules, labels)
    found = model.predict_proba(molecules)
    assert found.shape == (20, 2) and ((found > 0) & (found < 1)).all()
    assert (model.predict(molecules) == (found > 0.5)).all()
    with pytest.raises(DataError, match="hold 0, 1 and NaN"):
        GraphClassifier(SMALL).fit(molecules, labels + 1)


def test_several_values_are_regressed_at_once(molecules) -> None:
    values = np.stack([lengths(molecules), -lengths(molecules)], 1)
    values[4, 1] = np.nan
    model = GraphRegressor(SMALL, epochs=1).fit(molecules, values)
    assert model.predict(molecules[:3]).shape == (3, 2)


def test_a_grid_is_searched_by_several_processes(encoder, molecules) -> None:
    grid = GridSearchCV(
        GraphClassifier(encoder, epochs=1, adapter="film"), {"lr": [1e-4, 1e-2]}, cv=2, n_jobs=2
    )
    grid.fit(molecules, NAMES)
    assert grid.best_estimator_.predict(molecules).shape == (20,)
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    again = pickle.loads(pickle.dumps(grid.best_estimator_))
    expected = grid.best_estimator_.predict_proba(molecules)
    np.testing.assert_array_equal(again.predict_proba(molecules), expected)


def test_rows_are_smiles_molecules_and_graphs_of_any_library(encoder, molecules) -> None:
    from rdkit import Chem

    graphs = list(gtl.Dataset.from_graphs(molecules).graphs)
    rows = [graphs[0], *molecules[1:3], Chem.MolFromSmiles(molecules[3]), *molecules[4:]]
    model = GraphRegressor(encoder, epochs=1, validation_fraction=0)
    expected = model.fit(molecules, lengths(molecules)).predict(molecules)
    np.testing.assert_array_equal(model.fit(rows, lengths(molecules)).predict(rows), expected)
    np.testing.assert_array_equal(model.predict(graphs), expected)


def test_graphs_of_dgl_and_pyg_are_read(encoder, molecules) -> None:
    model = GraphRegressor(encoder, epochs=1).fit(molecules, lengths(molecules))
    expected = model.predict(molecules[:4])
    graphs = list(gtl.Dataset.from_graphs(molecules[:4]).graphs)
    dgl = pytest.importorskip("dgl", reason="needs DGL")
    rows = []
    for graph in graphs:
        row = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
        row.ndata["x"], row.edata["e"] = graph.x, graph.e
        rows.append(row)
    np.testing.assert_array_equal(model.predict(rows), expected)
    pyg = pytest.importorskip("torch_geometric.data", reason="needs PyG")
    rows = [pyg.Data(x=g.x, edge_index=torch.stack([g.src, g.dst]), edge_attr=g.e) for g in graphs]
    np.testing.assert_array_equal(model.predict(rows), expected)


def test_other_graphs_are_cross_validated() -> None:
    data = gtl.load("demo:shapes")
    labels = data.labels[:, 0].numpy() if data.labels.dim() > 1 else data.labels.numpy()
    model = GraphClassifier({"name": "gin", "width": 16, "depth": 2}, epochs=1)
    known = np.flatnonzero(~np.isnan(labels.astype(float)))[:60]
    graphs = [data.graphs[i] for i in known]
    assert np.isfinite(cross_val_score(model, graphs, labels[known].astype(int), cv=2)).all()


def test_unreadable_rows_are_refused_or_left_out(molecules) -> None:
    rows, labels = ["", *molecules, None], np.array(["acid", *NAMES, "acid"])
    with pytest.raises(DataError, match=r"row 0 \('' is empty\).*on_invalid='nan'"):
        GraphClassifier(SMALL).fit(rows, labels)
    model = GraphClassifier(SMALL, epochs=1, on_invalid="nan").fit(rows, labels)
    found = model.predict(rows)
    assert found[0] is None and found[-1] is None and set(found[1:-1]) <= {"acid", "alcohol"}
    assert np.isnan(model.predict_proba(rows)[[0, -1]]).all()
    numbers = GraphRegressor(SMALL, epochs=1, on_invalid="nan").fit(molecules, lengths(molecules))
    assert np.isnan(numbers.predict(["", None])).all()
    for fitted, y in ((model, labels), (numbers, np.zeros(len(rows)))):
        with pytest.raises(DataError, match=r"row 0 \('' is empty\).*leave out rows"):
            fitted.score(rows, y)


def test_instances_stay_as_they_were_and_a_seed_repeats_a_fit(encoder, molecules) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    model = GraphRegressor(encoder, epochs=1, head=gtl.heads.Linear(8, 1))
    first = model.fit(molecules, lengths(molecules)).predict(molecules)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    np.testing.assert_array_equal(
        clone(model).fit(molecules, lengths(molecules)).predict(molecules), first
    )
    other = clone(model).set_params(random_state=np.random.RandomState(1))
    assert (other.fit(molecules, lengths(molecules)).predict(molecules) != first).any()


def test_validation_rows_have_every_class_and_no_molecule_of_the_others(molecules) -> None:
    rows = [*molecules, *molecules]
    model = GraphClassifier(SMALL, epochs=1, validation_fraction=0.2)
    labels = model._read_labels(np.concatenate([NAMES, NAMES]))
    graphs, names, _ = model._graphs(rows)
    data = model._split(gtl.Dataset("rows", graphs, names=names, **labels), seed=0)
    parts = {part: {names[i] for i in index} for part, index in data.split.items()}
    assert parts["train"].isdisjoint(parts["valid"])
    assert len(data.split["train"]) + len(data.split["valid"]) == 40
    assert set(data.labels[data.split["valid"], 0].tolist()) == {0.0, 1.0}


def test_every_option_but_the_estimators_own_is_one_of_finetune() -> None:
    own = {"self", "options", "metric", "validation_fraction", "random_state", "on_invalid"}
    given = set(inspect.signature(GraphClassifier.__init__).parameters) - own - {"workers"}
    assert given <= set(inspect.signature(gtl.finetune).parameters)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": 1.0}, "`validation_fraction` is 1.0"),
        ({"on_invalid": "skip"}, "`on_invalid` is 'skip'"),
        ({"epochs": 3, "options": {"epochs": 4}}, "`options` repeats epochs"),
        ({"options": {"patiense": 4}}, "`options` has 'patiense'; did you mean 'patience'"),
    ],
)
def test_wrong_options_are_named(options, message, molecules) -> None:
    with pytest.raises(ConfigError, match=message):
        GraphRegressor(SMALL, **options).fit(molecules, lengths(molecules))


def test_labels_that_do_not_fit_are_refused(molecules) -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        GraphRegressor(SMALL).fit(molecules, [1.0, 2.0])
    with pytest.raises(DataError, match=r"`y` has 1 class \(a\)"):
        GraphClassifier(SMALL).fit(molecules, ["a"] * 20)
    with pytest.raises(DataError, match="`y` has no label in 10 rows, the first of them 1"):
        GraphClassifier(SMALL).fit(molecules, ["a", None] * 10)
    with pytest.raises(NotFittedError):
        GraphRegressor(SMALL).predict(molecules)


def test_a_metric_that_is_none_of_such_labels_is_refused(molecules) -> None:
    with pytest.raises(DataError, match=r"rocauc needs labels 0 and 1.*use one of: rmse"):
        GraphRegressor(SMALL, metric="rocauc").fit(molecules, lengths(molecules))
    with pytest.raises(DataError, match="rmse is a metric of values, and labels are 0 and 1"):
        GraphClassifier(SMALL, metric="rmse").fit(molecules, NAMES)


def test_further_arguments_of_finetune_are_passed_on(molecules) -> None:
    options = {"optimizer": "sgd", "class_weights": "balanced"}
    model = GraphClassifier(SMALL, epochs=1, options=options).fit(molecules, NAMES)
    assert model.model_.target.class_weights == "balanced"
    with pytest.raises(ConfigError, match="`options` has 'nonsense'"):
        GraphClassifier(SMALL, options={"nonsense": 1}).fit(molecules, NAMES)


def test_the_head_may_see_properties(molecules) -> None:
    model = GraphRegressor(SMALL, epochs=1, properties=["descriptors"])
    model.fit(molecules, lengths(molecules))
    assert model.model_.properties == ["descriptors"]
    assert np.isfinite(model.predict(["CCO", "CCN"])).all()
    bare = Graph(torch.tensor([0]), torch.tensor([1]), 2)
    with pytest.raises(DataError):
        model.predict([bare])


def test_they_are_reached_from_gtl_and_scikit_learn_is_imported_only_then() -> None:
    import subprocess
    import sys
    from pathlib import Path

    code = (
        "import sys, gtl\n"
        "assert 'sklearn' not in sys.modules\n"
        "print(gtl.sklearn.GraphClassifier.__name__, 'sklearn' in sys.modules)\n"
    )
    run = [sys.executable, "-c", code]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=root)
    assert done.stdout.split() == ["GraphClassifier", "True"], done.stderr
