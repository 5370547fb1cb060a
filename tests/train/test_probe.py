"""Probes are scikit-learn's models on frozen vectors and properties, stored as arrays."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import gtl
from gtl.errors import CheckpointError, ConfigError, DataError, GtlWarning
from gtl.graph import Graph
from gtl.train.probe_features import Features
from gtl.train.propagation import Filter, filtered, spread_labels

NAN = float("nan")
SMALL = {"name": "gin", "width": 8, "depth": 1}
FOREST = {"name": "forest", "trees": 20, "max_features": "sqrt"}
BOOSTING = {"name": "boosting", "rounds": 10}
LINEAR = {"name": "linear", "strength": 0.5}
PROCESS = {"name": "gaussian_process"}


def _with(dataset, properties, labels=None, **changes):
    """The data with a property per graph, and other labels if they are given."""
    graphs = replace(dataset.graphs, properties=properties)
    changed = {} if labels is None else {"labels": labels, "kind": "", "metric": ""}
    return replace(dataset, graphs=graphs, **changed, **changes)


@pytest.fixture
def numbers(shapes):
    """Graphs with a property of seven columns, one missing value, and no other features."""
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(len(shapes), 7, generator=rng)
    x[:, 0] += shapes.labels[:, 0]
    x[3, 2] = NAN
    return _with(shapes, {"own": x})


def _filled(dataset, items, train):
    x = dataset.graphs.properties["own"].numpy()
    medians = np.nanmedian(x[train], 0)
    return np.where(np.isnan(x[items]), medians, x[items])


# -- reference: the same numbers as scikit-learn ------------------------------------------------


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
def test_a_forest_is_that_of_scikit_learn(numbers, kind):
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    values = numbers.graphs.properties["own"].nan_to_num(0.0)
    labels = {
        "binary": numbers.labels,
        "regression": values[:, :1] + values[:, 1:2],
        "multiclass": torch.arange(60) % 3,
    }[kind]
    data = _with(numbers, numbers.graphs.properties, labels)
    assert data.kind == kind
    train, test = data.split["train"].numpy(), data.split["test"].numpy()
    found = gtl.predict(gtl.probe(None, data, model=FOREST, properties=["own"]), data, "test")
    cls = RandomForestRegressor if kind == "regression" else RandomForestClassifier
    theirs = cls(20, max_features="sqrt", random_state=0)
    theirs.fit(_filled(data, train, train), labels.numpy()[train].ravel())
    x = _filled(data, test, train)
    if kind == "regression":
        expected = theirs.predict(x)[:, None]
    else:  # a vote more for all classes alike
        classes = 3 if kind == "multiclass" else 2
        expected = (20 * theirs.predict_proba(x) + 1 / classes) / 21
        expected = expected if kind == "multiclass" else expected[:, 1:]
    assert np.abs(found.numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("kind", ["binary", "regression", "multiclass"])
def test_boosting_is_that_of_scikit_learn(numbers, kind):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    from gtl.train.probe_models import Boosting

    x = numbers.graphs.properties["own"].nan_to_num(0.0).numpy()
    y = {"binary": np.arange(60) % 2, "multiclass": np.arange(60) % 3, "regression": x[:, 1] ** 2}
    y, classes = y[kind], {"binary": 2, "multiclass": 3, "regression": 0}[kind]
    model = Boosting(rounds=10)
    found = model.fit(x, y, classes, 0)
    cls = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    rounds = len(found.root) // (3 if kind == "multiclass" else 1)
    assert 1 <= rounds <= 10
    theirs = cls(
        learning_rate=0.05,
        max_iter=rounds,
        max_features=0.3,
        min_samples_leaf=5,
        early_stopping=False,
        random_state=0,
    ).fit(x, y)
    expected = theirs.decision_function(x) if classes else theirs.predict(x)
    assert np.abs(found(x) - expected.reshape(60, -1)).max() < 1e-5


@pytest.mark.parametrize("wide", [False, True])
def test_a_logistic_regression_is_that_of_scikit_learn(wide):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from gtl.train.probe_models import LinearModel

    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 61 if wide else 5)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=40) > 0).astype(int)
    found = LinearModel(strength=2.0).fit(x, y, 2, 0)
    clipped = x.astype(float).clip(*np.quantile(x.astype(float), (0.005, 0.995), axis=0))
    scaler = StandardScaler().fit(clipped)
    theirs = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000).fit(scaler.transform(clipped), y)
    expected = theirs.decision_function(scaler.transform(clipped))
    assert np.abs(found(x)[:, 0] - expected).max() < 5e-3


def test_a_ridge_regression_is_its_closed_form():
    from gtl.train.probe_models import LinearModel

    rng = np.random.default_rng(0)
    x = rng.normal(size=(31, 3)).astype(np.float32)
    y = x[:, 0] - 2 * x[:, 1] + rng.normal(size=31)
    found = LinearModel(strength=3.0).fit(x, y, 0, 0)(x)[:, 0]
    wide = x.astype(float).clip(*np.quantile(x.astype(float), (0.005, 0.995), axis=0))
    z = (wide - wide.mean(0)) / wide.std(0)
    weight = np.linalg.solve(z.T @ z + 3 * np.eye(3), z.T @ (y - y.mean()))
    assert np.allclose(found, z @ weight + y.mean(), atol=1e-8)


@pytest.mark.parametrize("rows", [1000, 40])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_gaussian_process_of_values_is_that_of_scikit_learn(rows):
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    from gtl.train.gaussian_process import GaussianProcess, _drawn

    x, y = _waves(60)
    found = GaussianProcess(rows=rows).fit(x, y, 0, 3)
    read = _drawn(y, 0, rows, 3)
    assert len(read) == min(rows, 60)
    z = _scores(x[read], x)
    kernel = ConstantKernel(1, (1e-2, 1e3)) * Matern(1, (0.1, 20), nu=1.5)
    kernel += WhiteKernel(0.1, (1e-3, 10))
    theirs = GaussianProcessRegressor(kernel, normalize_y=True).fit(z[read], y[read])
    assert np.allclose(found(x)[:, 0], theirs.predict(z), atol=1e-6)
    assert np.corrcoef(found(x)[:, 0], y)[0, 1] > 0.9


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_gaussian_process_of_classes_is_that_of_scikit_learn():
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern

    from gtl.train.gaussian_process import GaussianProcess

    x, y = _waves(80)
    truth = (y > 0).astype(int)
    found = GaussianProcess().fit(x[:60], truth[:60], 2, 0)
    z = _scores(x[:60], x)
    kernel = ConstantKernel(1, (1e-2, 1e3)) * Matern(1, (0.1, 20), nu=1.5)
    kernel += ConstantKernel(1, (1e-2, 1e2))
    theirs = GaussianProcessClassifier(kernel).fit(z[:60], truth[:60]).predict_proba(z)[:, 1]
    mine = 1 / (1 + np.exp(-found(x)[:, 0]))
    assert np.abs(mine - theirs).max() < 0.03  # both approximate the mean of the posterior
    assert ((mine > 0.5) == (theirs > 0.5)).all()
    three = np.digitize(y, [-0.3, 0.3])
    guess = GaussianProcess().fit(x[:60], three[:60], 3, 0)(x)
    assert guess.shape == (80, 3) and (guess.argmax(1) == three).mean() > 0.8


@pytest.mark.parametrize("classes", [0, 2])
def test_numbers_of_a_kernel_from_some_rows_serve_for_all(classes, monkeypatch):
    from gtl.train import gaussian_process

    x, y = _waves(60)
    y = (y > 0).astype(int) if classes else y
    whole = gaussian_process.GaussianProcess().fit(x, y, classes, 0)
    monkeypatch.setattr(gaussian_process, "_TRIAL_ROWS", 40)
    found = gaussian_process.GaussianProcess().fit(x, y, classes, 0)
    assert len(found.rows) == 60 and found.length != whole.length
    close = np.corrcoef(found(x)[:, 0], whole(x)[:, 0])[0, 1]
    assert close > 0.95


def test_a_gaussian_process_reads_one_row_of_each_class():
    from gtl.train.gaussian_process import _drawn

    y = np.array([0] * 97 + [1, 1, 2])
    for seed in range(5):
        rows = _drawn(y, 3, 10, seed)
        assert len(rows) == 10 and set(y[rows]) == {0, 1, 2}


def _waves(count):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    return x, np.sin(x[:, 0]) + x[:, 1] + 0.1 * rng.normal(size=count)


def _scores(train, x):
    """Features as a Gaussian process reads them."""
    wide = train.astype(float)
    low, high = np.quantile(wide, (0.005, 0.995), axis=0)
    mean, std = wide.clip(low, high).mean(0), wide.clip(low, high).std(0)
    return ((x.clip(low, high) - mean) / std).clip(-5, 5) / 2.0


def test_thresholds_rounded_to_float32_decide_as_before():
    from gtl.train.fitted_arrays import Trees

    low = np.float32(1.0)
    high = np.nextafter(low, np.float32(2))
    tree = {
        "feature": np.array([0, -2, -2]),
        "threshold": np.array([(float(low) + float(high)) / 2, -2.0, -2.0]),
        "left": np.array([1, -1, -1]),
        "right": np.array([2, -1, -1]),
        "value": np.array([[0.0], [5.0], [7.0]]),
    }
    trees = Trees.of([tree, tree], [0, 1], 0.5, np.array([0.0, 1.0]))
    assert trees(np.array([[low], [high]])).tolist() == [[2.5, 3.5], [3.5, 4.5]]
    assert trees(np.zeros((0, 1), np.float32)).shape == (0, 2)


# -- missing labels, single classes -------------------------------------------------------------


def test_columns_are_fitted_to_the_items_that_have_their_label(numbers):
    train, test = numbers.split["train"], numbers.split["test"]
    labels = numbers.labels.repeat(1, 3)
    labels[train[:10], 1] = NAN
    labels[train, 2] = 1.0
    data = _with(numbers, numbers.graphs.properties, labels)
    found = gtl.predict(gtl.probe(None, data, model=FOREST, properties=["own"]), data)
    fewer = _with(numbers, numbers.graphs.properties, numbers.labels)
    fewer = replace(fewer, split={**fewer.split, "train": train[10:]})
    alone = gtl.predict(gtl.probe(None, fewer, model=FOREST, properties=["own"]), fewer)
    items = torch.tensor([i for i in test.tolist() if i != 3])
    assert torch.equal(found[items, 1], alone[items, 0])
    assert torch.allclose(found[:, 2], torch.tensor(30.5 / 31).double())


@pytest.mark.filterwarnings("ignore::gtl.errors.GtlWarning")
def test_a_column_without_training_labels_is_undecided(numbers):
    labels = numbers.labels.repeat(1, 2)
    labels[numbers.split["train"], 1] = NAN
    data = _with(numbers, numbers.graphs.properties, labels)
    for model in (FOREST, LINEAR):
        found = gtl.predict(gtl.probe(None, data, model=model, properties=["own"]), data)
        assert torch.equal(found[:, 1], torch.full((60,), 0.5).double())


@pytest.mark.parametrize(
    "model", [FOREST, BOOSTING, LINEAR, PROCESS], ids=lambda model: model["name"]
)
def test_a_class_that_training_lacks_has_a_small_finite_probability(numbers, model):
    labels = torch.arange(60) % 4
    data = _with(numbers, numbers.graphs.properties, labels)
    train = data.split["train"]
    data = replace(data, split={**data.split, "train": train[labels[train] < 2]})
    with pytest.warns(GtlWarning, match="cannot be learned"):
        probe = gtl.probe(None, data, model=model, properties=["own"])
    found = gtl.predict(probe, data)
    assert torch.allclose(found.sum(1), torch.ones(60).double())
    assert (found[:, 2:] > 0).all() and (found[:, 2:] < 0.05).all()


# -- a probe is a run ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", [FOREST, BOOSTING, LINEAR, PROCESS], ids=lambda model: model["name"]
)
def test_a_probe_is_stored_and_read_bit_for_bit(numbers, model, tmp_path):
    options = {"model": model, "properties": ["own"], "readout": ["mean", "sum", "max"]}
    made = gtl.probe(SMALL, numbers, **options, seed=3, out=tmp_path / "a")
    again = gtl.probe(SMALL, numbers, **options, seed=3)
    opened = gtl.load_run(tmp_path / "a")
    made.save(tmp_path / "b")
    values = gtl.predict(made, numbers)
    for other in (again, opened, tmp_path / "a", tmp_path / "b"):
        assert torch.equal(gtl.predict(other, numbers), values)
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert results["test"] == gtl.evaluate(tmp_path / "a", numbers)["rocauc"]
    assert results["footprint"]["parameters_trained"] > 0 and results["seed"] == 3
    assert not list(tmp_path.rglob("*.pkl")) and opened.results == results


def test_a_finished_probe_is_not_fitted_again(numbers, tmp_path, monkeypatch):
    options = {"model": FOREST, "properties": ["own"], "out": tmp_path / "a"}
    made = gtl.probe(None, numbers, **options)
    with pytest.raises(CheckpointError, match="resume"):
        gtl.probe(None, numbers, **options)
    monkeypatch.setattr("gtl.train.probe_columns.Columns.fit", None)
    again = gtl.probe(None, numbers, **options, resume=True)
    assert torch.equal(gtl.predict(again, numbers), gtl.predict(made, numbers))
    with pytest.raises(CheckpointError, match="seed"):
        gtl.probe(None, numbers, **options, resume=True, seed=1)


def test_vectors_of_an_encoder_are_those_of_embed_and_it_stays_as_it_is(shapes):
    encoder = gtl.pretrain(SMALL, shapes, ["infomax"], epochs=1).encoder.train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    probe = gtl.probe(encoder, shapes, model=LINEAR, readout=["mean", "sum"])
    rows = probe.features.rows(shapes, torch.arange(60))
    vectors = gtl.embed(encoder, shapes, readout=["mean", "sum"])
    assert torch.allclose(torch.from_numpy(rows), vectors) and rows.shape == (60, 16)
    assert encoder.training and all(p.requires_grad for p in encoder.parameters())
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])


def test_of_several_models_validation_data_choose_one(numbers):
    probe = gtl.probe(None, numbers, model=[FOREST, LINEAR, BOOSTING], properties=["own"])
    found = probe.results["selection"]
    values = {name: entry["valid"] for name, entry in found["candidates"].items()}
    assert set(values) == {"forest", "linear", "boosting"}
    assert values[found["selected"]] == max(values.values()) == probe.results["valid"]


def test_strength_does_not_depend_on_validation_and_test_labels(numbers):
    other = numbers.labels.clone()
    held = torch.cat([numbers.split["valid"], numbers.split["test"]])
    other[held] = 1 - other[held]
    turned = _with(numbers, numbers.graphs.properties, other)
    for model in ({"name": "forest", "trees": 20}, "linear", BOOSTING):
        options = {"model": model, "properties": ["own"]}
        a, b = gtl.probe(None, numbers, **options), gtl.probe(None, turned, **options)
        assert torch.equal(gtl.predict(a, numbers), gtl.predict(b, numbers))


# -- nodes --------------------------------------------------------------------------------------


def test_filters_by_hand():
    path = Graph(torch.tensor([0, 1, 1, 2]), torch.tensor([1, 0, 2, 1]), 3)
    h = torch.tensor([[1.0], [2.0], [4.0]], dtype=torch.float64)
    low = filtered(path, h, Filter("low", 1)).flatten()
    assert low.tolist() == [2.0, 2.5, 2.0]
    assert filtered(path, h, Filter("high", 1)).flatten().tolist() == [-1.0, -0.5, 2.0]
    sgc = filtered(path, h, Filter("sgc", 1)).flatten()  # degrees with loops 2, 3, 2
    assert sgc[0] == pytest.approx(1 / 2 + 2 / 6**0.5)
    assert torch.equal(filtered(path, h, Filter("sgc", 0)), h)


def test_labels_spread_to_the_nearer_label_and_missing_ones_do_not_count():
    chain = torch.arange(4)
    path = Graph(torch.cat([chain, chain + 1]), torch.cat([chain + 1, chain]), 6)
    values = torch.tensor([[1.0, 0.0], [0.0, 7.0]], dtype=torch.float64)
    known = torch.tensor([[True, False], [True, True]])
    found = spread_labels(path, torch.tensor([0, 4]), values, known, 0.9)
    assert found[1, 0] > found[2, 0] > found[3, 0]
    assert found[2, 0] == pytest.approx(0.5)
    assert torch.allclose(found[:5, 1], torch.tensor(7.0).double())
    assert found[5].tolist() == [0.5, 7.0]  # nothing arrives: the mean of the known labels


@pytest.mark.parametrize("model", ["linear", "label_propagation", "linear_solutions", FOREST])
def test_models_of_nodes_learn_and_are_stored(communities, model, tmp_path):
    made = gtl.probe(None, communities, model=model, out=tmp_path / "a")
    found = made.results["selection"]
    assert made.results["valid"] == max(e["valid"] for e in found["candidates"].values())
    assert made.results["test"] > 0.5
    assert torch.equal(gtl.predict(tmp_path / "a", communities), gtl.predict(made, communities))


def test_hops_of_an_encoder_and_of_features(communities):
    encoder = {"name": "gcn", "width": 8}
    assert "selection" not in gtl.probe(encoder, communities, model=LINEAR).results
    one = gtl.probe(None, communities, model=LINEAR, hops=1)
    rows = one.features.rows(communities, torch.arange(60), Filter("sgc", 1))
    own = filtered(communities.graph, communities.graph.x.double(), Filter("sgc", 1))
    assert np.allclose(rows, own.numpy(), atol=1e-6)


def test_label_propagation_refuses_another_graph(communities):
    probe = gtl.probe(None, communities, model="label_propagation")
    other = communities.graph.replace(x=communities.graph.x + 1)
    with pytest.raises(DataError, match="not the graph whose labels were spread"):
        gtl.predict(probe, other)


# -- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "forrest"}, "did you mean 'forest'"),
        ({"model": {"name": "forest", "tree": 3}}, "has no option 'tree'"),
        ({"model": {"name": "forest", "trees": 0}}, "`trees` is 0"),
        ({"model": {"name": "forest", "max_features": 2}}, "`max_features` is 2"),
        ({"model": {"name": "linear", "strength": -1}}, "`strength` is -1"),
        ({"model": []}, "name at least one"),
        ({"model": "label_propagation"}, "items here are graphs"),
        ({"properties": []}, "nothing to read"),
        ({"properties": ["morgen"]}, "did you mean 'morgan'"),
        ({"hops": 2}, "`hops` is for items that are nodes"),
        ({"model": 3}, "expected a name or a mapping"),
    ],
)
def test_unusable_options_are_named(numbers, options, message, tmp_path):
    with pytest.raises(gtl.GtlError, match=message):
        gtl.probe(None, numbers, **{"properties": ["own"], **options}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_property_in_place_of_an_encoder_is_explained(shapes):
    with pytest.raises(ConfigError, match=r"properties=\['morgan'\]"):
        gtl.probe("morgan", shapes)
    with pytest.raises(ConfigError, match="has weights"):
        gtl.probe(SMALL, shapes, readout="attention")


def test_other_items_and_other_folders_are_refused(shapes, communities, tmp_path):
    probe = gtl.probe(SMALL, shapes, model=LINEAR, out=tmp_path / "a")
    with pytest.raises(DataError):
        gtl.predict(probe, communities)
    with pytest.raises(CheckpointError, match="is a probe, not a fine-tuning run"):
        gtl.Model.load(tmp_path / "a")
    with pytest.raises(ConfigError, match="does not sample"):
        gtl.predict(probe, shapes, fan_out=[2])
    with pytest.raises(ConfigError, match="no item vectors"):
        gtl.embed(tmp_path / "a", shapes)
    with pytest.raises(DataError, match="no labels"):
        gtl.probe(SMALL, replace(shapes, labels=None))


def test_features_without_an_encoder_need_no_schema(numbers):
    features = Features(numbers.schema, None, None, ["own"])
    assert features.rows(numbers, torch.tensor([5, 3])).shape == (2, 7)
