"""Fine-tuning with unlabeled items: which they are, gates, resumed runs and bad input."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import pytest
import torch

import gtl
from gtl.data import Dataset
from gtl.errors import CheckpointError, ConfigError, DataError, GtlWarning
from gtl.report.plots import write_plots
from gtl.tasks import KnowledgeConsistency
from gtl.train.epoch_means import warn_of_closed_gates
from gtl.train.unlabeled import find_unlabeled, unlabeled_items

GIN = {"name": "gin", "width": 8, "depth": 2}
TASKS = [
    "knowledge_consistency",
    {"name": "representation_consistency", "threshold": 1.0, "least": 2},
    {"name": "pseudo_label", "threshold": 0.3, "strong": [0.3, 0.3]},
    "mean_teacher",
    "interpolation_consistency",
    "l2_sp",
    "delta",
]
QUICK = {"epochs": 2, "batch_size": 8, "guard": False}


@pytest.fixture
def few(shapes) -> Dataset:
    """Ten labeled graphs; the other training graphs are in no split."""
    return replace(shapes, split={**shapes.split, "train": shapes.split["train"][:10]})


@pytest.fixture
def nodes() -> Dataset:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=rng)
    src = torch.randint(60, (200,), generator=rng)
    dst = torch.randint(60, (200,), generator=rng)
    graph = gtl.Graph(torch.cat([src, dst]), torch.cat([dst, src]), 60, x)
    order = torch.randperm(60, generator=rng)
    split = {"train": order[:12], "valid": order[12:30], "test": order[30:50]}
    return Dataset.from_graph(graph, labels=x[:, :3].argmax(1), split=split)


def same_weights(one, other) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# -- which items ---------------------------------------------------------------------------------


def test_graphs_in_no_split_are_unlabeled_items(few, shapes):
    expected = shapes.split["train"][10:].sort().values
    assert torch.equal(unlabeled_items(few, test_inputs=False), expected)
    more = torch.cat([expected, few.split["test"]]).sort().values
    assert torch.equal(unlabeled_items(few, test_inputs=True), more)


def test_items_without_a_label_are_unlabeled_in_any_part_but_test(shapes):
    labels = shapes.labels.clone()
    hidden = [int(shapes.split[part][0]) for part in ("train", "valid", "test")]
    labels[hidden] = torch.nan
    data = replace(shapes, labels=labels)
    assert unlabeled_items(data, test_inputs=False).tolist() == sorted(hidden[:2])


def test_nodes_outside_the_training_split_are_unlabeled_items(nodes):
    train, test = nodes.split["train"], nodes.split["test"]
    with_test = set(unlabeled_items(nodes, test_inputs=True).tolist())
    assert with_test == set(range(60)) - set(train.tolist())
    without = set(unlabeled_items(nodes, test_inputs=False).tolist())
    assert without == with_test - set(test.tolist())


def test_results_say_whether_test_inputs_were_used(few, nodes):
    graphs = gtl.finetune(GIN, few, auxiliary="mean_teacher", **QUICK)
    assert graphs.results["unlabeled"]["test_inputs"] is False
    assert graphs.results["unlabeled"]["items"] == len(unlabeled_items(few, False))
    whole = gtl.finetune("gcn", nodes, auxiliary="mean_teacher", **QUICK)
    assert whole.results["unlabeled"] == {
        "items": 48,
        "of": nodes.spec,
        "test_inputs": True,
    }
    part = gtl.finetune("gcn", nodes, auxiliary="mean_teacher", test_inputs=False, **QUICK)
    assert part.results["unlabeled"]["test_inputs"] is False
    assert "unlabeled" not in gtl.finetune(GIN, few, **QUICK).results


@pytest.mark.parametrize("level", ["few", "nodes"])
def test_labels_outside_train_and_valid_are_never_read(level, request):
    data = request.getfixturevalue(level)
    labels = data.labels.clone()
    known = torch.cat([data.split["train"], data.split["valid"]])
    hidden = torch.ones(len(data), dtype=torch.bool)
    hidden[known] = False
    labels[hidden] = 1 - labels[hidden] if data.kind == "binary" else (labels[hidden] + 2) % 3
    how = {**QUICK, "auxiliary": TASKS, "weighting": "equal"}
    encoder = GIN if level == "few" else "gcn"
    one, other = (gtl.finetune(encoder, d, **how) for d in (data, replace(data, labels=labels)))
    assert same_weights(one, other)
    assert one.results["test"] != other.results["test"]  # test labels are read in the end alone


@pytest.fixture
def table(tmp_path) -> Dataset:
    """Thirty molecules, a third of them without a label."""
    pytest.importorskip("rdkit")
    rows = ["C" * n + tail for n in range(1, 16) for tail in ("O", "N")]
    text = "SMILES,active\n" + "".join(
        f"{row},{'' if i % 3 == 2 else i % 2}\n" for i, row in enumerate(rows)
    )
    (tmp_path / "few.csv").write_text(text)
    return gtl.load(f"smiles:{tmp_path / 'few.csv'}", target="active", seed=1)


def test_rows_with_empty_labels_are_used_and_not_dropped(table):
    data = table
    assert len(data) == 30
    model = gtl.finetune(GIN, data, auxiliary="mean_teacher", **QUICK)
    empty = data.labels.isnan().all(1)
    empty[data.split["test"]] = False
    assert model.results["unlabeled"]["items"] == int(empty.sum()) >= 5


def test_a_corpus_of_its_own_is_used(few):
    other = gtl.load("demo:shapes", seed=0)
    one = gtl.finetune(GIN, other, auxiliary="mean_teacher", unlabeled=other, **QUICK)
    two = gtl.finetune(GIN, other, auxiliary="mean_teacher", unlabeled="demo:shapes", **QUICK)
    assert one.results["unlabeled"]["items"] == len(other.split["train"])
    assert same_weights(one, two)


def test_test_items_among_those_that_were_given_are_told(few, nodes):
    def seen(target, data, **more):
        data = replace(data, spec="renamed", labels=None, **{"split": {}, **more})
        return find_unlabeled(target, "pseudo_label", data, None)

    for target in (few, nodes):
        known = seen(target, target)
        assert known.test_inputs and known.findings()["test_inputs"]
        assert known.config()["test_inputs"] is False  # the argument, which was not given
        train = seen(target, target, split={"train": target.split["train"]})
        assert not train.test_inputs
    other = nodes.graph.replace(x=nodes.graph.x + 1)
    assert not seen(nodes, replace(nodes, graph=other)).test_inputs


# -- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["few", "nodes"])
@pytest.mark.parametrize("weighting", ["equal", "aux_ts"])
def test_all_tasks_together_train_under_a_weighting(level, weighting, request):
    data = request.getfixturevalue(level)
    encoder = GIN if level == "few" else "gcn"
    how = {"weighting": weighting, "epochs": 3, "batch_size": 0, "seed": 1}
    model = gtl.finetune(encoder, data, auxiliary=TASKS, **how)
    assert ("target only" in model.results["selection"]["candidates"]) is True
    losses = model.history[-1]["losses"]
    assert len(losses) == 8 and all(value is not None for value in losses.values())
    again = gtl.finetune(encoder, data, auxiliary=TASKS, **how)
    assert same_weights(model, again)


@pytest.mark.parametrize("level", ["few", "nodes"])
def test_a_resumed_run_is_the_same(level, request, tmp_path):
    data = request.getfixturevalue(level)
    encoder = GIN if level == "few" else "gcn"
    how = {"auxiliary": TASKS, "weighting": "equal", "batch_size": 8, "guard": False}
    how = {**how, "head_start": "imprinted"}
    whole = gtl.finetune(encoder, data, epochs=4, out=tmp_path / "whole", **how)
    gtl.finetune(encoder, data, epochs=2, out=tmp_path / "part", **how)
    resumed = gtl.finetune(encoder, data, epochs=4, out=tmp_path / "part", resume=True, **how)
    assert same_weights(whole, resumed)
    assert [line["losses"] for line in whole.history] == [
        line["losses"] for line in resumed.history
    ]
    assert same_weights(gtl.Model.load(tmp_path / "part"), whole)
    if level == "nodes":
        with pytest.raises(CheckpointError, match="test_inputs=True, now it is False"):
            gtl.finetune(
                encoder,
                data,
                epochs=4,
                out=tmp_path / "part",
                resume=True,
                test_inputs=False,
                **how,
            )


def test_adapters_can_be_trained_with_consistency(few):
    run = gtl.pretrain(GIN, few, ["attribute_masking"], epochs=1)
    how = {**QUICK, "weighting": "equal", "adapter": ["bottleneck"]}
    model = gtl.finetune(run, few, auxiliary=TASKS, **how)
    base = dict(run.encoder.state_dict())
    kept = model.encoder.base.state_dict()
    assert all(torch.equal(base[name], kept[name]) for name in base if "running" not in name)


def test_properties_of_unlabeled_molecules_are_computed(table):
    corpus = {"spec": table.spec, "seed": 2}
    how = {**QUICK, "properties": ["morgan"]}
    model = gtl.finetune(GIN, table, auxiliary="mean_teacher", unlabeled=corpus, **how)
    assert model.history[-1]["losses"]["mean_teacher"] > 0


# -- gates ---------------------------------------------------------------------------------------


def test_gates_are_logged_and_plotted(few, tmp_path):
    how = {"auxiliary": TASKS[:3], "weighting": "equal", "out": tmp_path / "run"}
    gtl.finetune(GIN, few, **QUICK, **how)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    assert set(lines[0]["gates"]) == {
        "knowledge_consistency",
        "representation_consistency labeled",
        "representation_consistency unlabeled",
        "pseudo_label",
    }
    gate = lines[-1]["gates"]["pseudo_label"]
    assert 0 < gate["share"] <= 1 and gate["threshold"] == 0.3 and gate["low"] <= gate["high"]
    assert tmp_path / "run" / "plots" / "gates.png" in write_plots(tmp_path / "run")


def test_a_run_without_gates_has_no_such_plot(few, tmp_path):
    gtl.finetune(GIN, few, auxiliary="mean_teacher", out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run" / "plots" / "gates.png").exists()
    assert "gates" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_gate_that_never_opens_is_named(few):
    task = {"name": "pseudo_label", "threshold": 1.0}
    words = r"'pseudo_label' was closed.*confidence lay between 0\.\d+ and 0\.\d+.* is at 1"
    idle = "'pseudo_label' had no sample in the whole training"
    with pytest.warns(GtlWarning, match=idle), pytest.warns(GtlWarning, match=words):
        gtl.finetune(GIN, few, auxiliary=task, **QUICK)


def test_a_gate_that_was_open_once_is_not_named():
    gate = {"share": 0.0, "quantity": "entropy", "threshold": 0.5, "low": 0.6, "high": 0.7}
    closed, was_open = {"gates": {"a": gate}}, {"gates": {"a": {**gate, "share": 0.1}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_closed_gates([was_open, closed], 8)
        warn_of_closed_gates([closed], 8)  # too early
        warn_of_closed_gates([closed] * 3, 8)  # said before
    with pytest.warns(GtlWarning, match="'a' was closed to every sample in 2 epochs"):
        warn_of_closed_gates([closed] * 2, 8)


# -- bad input -----------------------------------------------------------------------------------


def test_no_unlabeled_items_are_an_error_that_names_the_remedy(shapes):
    with pytest.raises(
        ConfigError, match=r"'mean_teacher' needs unlabeled items.*test_inputs=True"
    ):
        gtl.finetune(GIN, shapes, auxiliary="mean_teacher", **QUICK)


@pytest.mark.parametrize("given", [{"unlabeled": "demo:shapes"}, {"test_inputs": True}])
def test_unlabeled_items_that_nobody_uses_are_refused(few, given):
    with pytest.raises(ConfigError, match=f"`{next(iter(given))}` is given and no auxiliary task"):
        gtl.finetune(GIN, few, auxiliary="infomax", **given, **QUICK)


def test_both_kinds_of_unlabeled_items_are_refused(few):
    with pytest.raises(ConfigError, match="give one of them"):
        find_unlabeled(few, "mean_teacher", few, True)


def test_unlabeled_data_of_another_level_or_schema_is_refused(few, nodes):
    with pytest.raises(ConfigError, match="`unlabeled` has nodes for items"):
        find_unlabeled(few, "mean_teacher", nodes, None)
    bare = Dataset.from_graphs([gtl.Graph(torch.tensor([0]), torch.tensor([1]), 2)] * 3)
    with pytest.raises(DataError, match="`unlabeled` does not fit the target"):
        find_unlabeled(few, "mean_teacher", bare, None)


def test_a_mapping_without_a_spec_is_refused(few):
    with pytest.raises(ConfigError, match="without `spec`"):
        find_unlabeled(few, "mean_teacher", {"seed": 1}, None)


def test_a_source_of_another_width_is_refused(few):
    source = gtl.encoders.GIN(few.schema, width=16, depth=1)
    task = KnowledgeConsistency().against(source)
    with pytest.raises(ConfigError, match="`width` 16, the encoder that is trained of 8"):
        gtl.finetune(GIN, few, auxiliary=task, **QUICK)


def test_an_encoder_that_was_trained_beside_another_source_starts_the_next_training(few, tmp_path):
    source = gtl.encoders.GIN(few.schema, width=8, depth=1)
    labeled = {"name": "pseudo_label", "threshold": 0.3}
    tasks = [KnowledgeConsistency().against(source), labeled, "attribute_masking"]
    first = gtl.finetune(GIN, few, auxiliary=tasks, out=tmp_path / "first", **QUICK)
    found = gtl.Run.load(tmp_path / "first")
    assert list(found.tasks) == ["attribute_masking"]
    assert same_weights(found.encoder, first.encoder)
    gtl.finetune(found, few, auxiliary=labeled, **QUICK)


def test_pretraining_has_no_target(few):
    with pytest.raises(ConfigError, match="MeanTeacher needs a labeled target"):
        gtl.pretrain(GIN, few, ["mean_teacher"], epochs=1)


def test_a_buffer_larger_than_the_data_is_refused(few):
    task = {"name": "representation_consistency", "capacity": 20}
    with pytest.raises(ConfigError, match="`capacity` is 20, and there are 10 labeled items"):
        gtl.finetune(GIN, few, auxiliary=task, **QUICK)


# -- imprinted heads -----------------------------------------------------------------------------


def imprinted(run, data):
    how = {"adapter": [], "head_start": "imprinted", "epochs": 1, "lr": 1e-12}
    return gtl.finetune(run, data, **how)


def test_an_imprinted_head_has_the_directions_of_the_class_means(few):
    run = gtl.pretrain(GIN, few, ["attribute_masking"], epochs=1)
    model = imprinted(run, few)
    vectors, y = gtl.embed(run, few)[few.split["train"]], few.labels[few.split["train"], 0]
    zero, one = (vectors[y == value].mean(0) for value in (0, 1))
    expected = one / one.norm() - zero / zero.norm()
    found = model.predictor.head.map
    torch.testing.assert_close(found.weight[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.bias, torch.zeros(1), rtol=0, atol=1e-6)


def test_an_imprinted_head_of_classes_leaves_missing_ones_alone(nodes):
    labels = nodes.labels.clone()
    train = nodes.split["train"]
    labels[train[labels[train] == 2]] = 0
    data = replace(nodes, labels=labels)
    run = gtl.pretrain("gcn", nodes, ["infomax"], epochs=1)
    with pytest.warns(GtlWarning, match="no training item has the class"):
        model = imprinted(run, data)
    vectors, y = gtl.embed(run, data)[data.split["train"]], labels[data.split["train"]]
    for number in (0, 1):
        mean = vectors[y == number].mean(0)
        weight = model.predictor.head.map.weight[number]
        torch.testing.assert_close(weight, mean / mean.norm(), rtol=1e-4, atol=1e-5)
    assert bool(model.predictor.head.map.weight[2].any())


def test_a_regression_cannot_be_imprinted(few):
    data = replace(few, labels=torch.randn(len(few), 1), kind="regression", metric="rmse")
    with pytest.raises(ConfigError, match="'imprinted', which is for classes"):
        gtl.finetune(GIN, data, head_start="imprinted", **QUICK)
