"""Alignment of domains: stages, selection without target labels, guard, resume, refusals."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch

import gtl
from gtl import cli
from gtl.errors import CheckpointError, ConfigError, DataError, GtlWarning
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.train.domain_alignment import ALIGNMENTS
from gtl.train.domain_choice import Tried, choose
from gtl.train.domain_validation import outputs_on
from gtl.train.domains import domains_of
from gtl.train.transfer_criteria import values_of

GCN = {"name": "gcn", "width": 8, "depth": 2, "norm": None}
QUICK = {"method": "dann", "epochs": 3, "seed": 3}


@pytest.fixture(autouse=True)
def _no_plots(request, monkeypatch):
    if "picture" not in request.node.name:
        monkeypatch.setattr("gtl.train.session.write_plots", lambda folder: None)
        monkeypatch.setattr("gtl.train.domain_findings.picture", lambda *given: None)


@pytest.fixture(autouse=True)
def _label_shift_is_no_error():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "class shares", GtlWarning)
        yield


def nodes(seed: int, shift: float = 0.0, kind: str = "multiclass", columns: int = 6) -> gtl.Dataset:
    """A graph of 240 nodes in three groups; ``shift`` moves the features of the domain."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(240) % 3
    ends = torch.randint(80, (2, 900), generator=rng) * 3 + torch.randint(3, (900,), generator=rng)
    x = torch.randn(240, columns, generator=rng) * 0.7
    x[:, :3] += torch.nn.functional.one_hot(labels, 3)
    x[:, 3:] += shift
    order = torch.randperm(240, generator=rng)
    split = {"train": order[:100], "valid": order[100:150], "test": order[150:]}
    if kind == "binary":
        labels = torch.nn.functional.one_hot(labels, 3).float()
    if kind == "regression":
        labels = x[:, :1] * 2
    graph = Graph(*ends, 240, x)
    return gtl.Dataset(f"test:{seed}", graph=graph, labels=labels, split=split, level="node")


def rings(seed: int) -> gtl.Dataset:
    """60 cycles (1) and paths (0) with random categorical features."""
    rng = torch.Generator().manual_seed(seed)
    graphs = []
    for i in range(60):
        n = int(torch.randint(3, 8, (), generator=rng))
        src = torch.arange(n if i % 2 else n - 1)
        dst = (src + 1) % n
        x = torch.randint(4, (n, 2), generator=rng)
        graphs.append(Graph(torch.cat([src, dst]), torch.cat([dst, src]), n, x))
    order = torch.randperm(60, generator=rng)
    split = {"train": order[:30], "valid": order[30:45], "test": order[45:]}
    packed = PackedGraphs.pack(graphs, Schema(Columns((4, 4))))
    labels = torch.arange(60).remainder(2).float().unsqueeze(1)
    return gtl.Dataset(f"test:rings-{seed}", packed, labels=labels, split=split)


@pytest.fixture(scope="module")
def domains() -> tuple[gtl.Dataset, gtl.Dataset]:
    return nodes(0), nodes(1, shift=1.0)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_source_and_alignment_are_trained_and_described(domains, tmp_path):
    source, target = domains
    found = gtl.adapt_domain(GCN, source, target, **QUICK, out=tmp_path / "a")
    assert list(found.stages) == ["source", "align"]
    results = found.results
    for row in results["stages"].values():
        assert 0.5 <= row["domain_accuracy"] <= 1 and 0 <= row["a_distance"] <= 2
        assert 0 <= row["source_valid"] <= 1
    selection = results["selection"]
    assert selection["criterion"] == "infomax" and selection["used"] in ("source", "align")
    chosen = selection["by_criterion"]
    assert chosen["oracle"]["test"] == max(each["test"] for each in chosen.values())
    assert set(results["by_class"]["used"]) == {"0", "1", "2"}
    assert len(results["label_shift"]["shares"]["em"]) == 3
    assert "labels of the source" in results["look_ahead"]
    assert results["test"] == gtl.evaluate(found, target)[target.metric]
    text = str(found)
    for word in ("A-distance", "infomax (used)", "oracle (bound: reads test labels)", "class"):
        assert word in text
    opened = gtl.load_run(tmp_path / "a")
    assert str(opened) == text and same(opened.model, found.model)
    assert torch.equal(gtl.predict(opened, target), gtl.predict(found, target))


def test_items_without_a_label_are_no_validation_items(domains):
    source, target = domains
    labels, valid = source.labels.clone(), source.split["valid"]
    labels[valid[::2]] = -1
    fewer = replace(source, split={**source.split, "valid": valid[1::2]})
    model = gtl.finetune(GCN, source, epochs=1)
    found = [
        values_of(outputs_on(model, domains_of(data, target))[0])
        for data in (replace(source, labels=labels), fewer)
    ]
    assert found[0] == pytest.approx(found[1])


def named(data: gtl.Dataset, names: str, **fields) -> gtl.Dataset:
    """The same nodes with their three classes called ``abc``, and those that ``names`` has."""
    keep = torch.tensor([name in names for name in "abc"])[data.labels]
    place = torch.tensor([names.find(name) for name in "abc"])[data.labels]
    split = {part: items[keep[items]] for part, items in data.split.items()}
    labels = place.where(keep, -1)
    return replace(data, labels=labels, split=split, class_names=tuple(names), **fields)


def as_column(data: gtl.Dataset) -> gtl.Dataset:
    """Two classes as one binary column."""
    column = data.labels.float().masked_fill(data.labels < 0, torch.nan).unsqueeze(1)
    return replace(data, labels=column, kind="binary", metric="rocauc")


@pytest.mark.parametrize("binary", [False, True])
def test_classes_of_the_target_are_matched_by_name(domains, binary):
    source, target = named(domains[0], "abc"), named(domains[0], "cb", spec="test:fewer")
    target = as_column(target) if binary else target
    how = {**QUICK, "method": "coral", "epochs": 12, "settings": {"source": {"lr": 3e-2}}}
    results = gtl.adapt_domain(GCN, source, target, **how).results
    assert results["metric"] == "acc" and results["test"] > 0.8
    assert set(results["by_class"]["used"]) == {"b", "c"}
    assert min(results["by_class"]["used"].values()) > 0.8
    chosen = results["selection"]["by_criterion"]
    assert chosen["oracle"]["test"] >= chosen["infomax"]["test"] > 0.8


def test_columns_of_the_target_are_matched_by_name():
    source = replace(nodes(0, kind="binary"), label_names=("a", "b", "c"))
    two = {"labels": source.labels[:, [2, 0]], "label_names": ("c", "a")}
    target = replace(source, spec="test:two", **two)
    how = {**QUICK, "epochs": 12, "settings": {"source": {"lr": 3e-2}}}
    results = gtl.adapt_domain(GCN, source, target, **how).results
    found, metric = results["by_class"]["used"], results["test"]
    assert set(found) == {"c", "a"} and min(found.values()) > 0.8
    assert sum(found.values()) / 2 == pytest.approx(metric, abs=1e-3)
    assert results["selection"]["by_criterion"]["oracle"]["test"] > 0.8


def test_look_aheads_read_labels_of_the_target_as_numbers_of_the_source(domains):
    from gtl.train.domain_alignment import look_ahead_data
    from gtl.train.domain_plan import Plan
    from gtl.train.domains import domains_of

    stages = ("source", "align", "adapt")
    plan = Plan(stages, stages, *["infomax", "equal", [], "linear", None])
    source = named(domains[0], "abc")
    for target in (named(domains[0], "cb"), as_column(named(domains[0], "cb"))):
        found = look_ahead_data(domains_of(source, replace(target, spec="test:b")), plan)
        known = found.labels >= 0
        assert found.kind == "multiclass" and torch.equal(found.labels[known], source.labels[known])
    other = replace(domains[1], class_names=("a", "b", "x"))
    assert look_ahead_data(domains_of(source, other), plan) is None


def test_a_class_that_the_source_lacks_is_learned_by_the_stage_adapt_alone(domains, tmp_path):
    source, target = named(domains[0], "ab"), named(domains[1], "abc")
    with pytest.raises(DataError, match=r"target test:1.*source test:0.*'c'.*without labels"):
        gtl.adapt_domain(GCN, source, target, **QUICK, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    few = replace(target, split={**target.split, "train": target.split["train"][:9]})
    found = gtl.adapt_domain(GCN, source, few, stages=["source", "align", "adapt"], **QUICK)
    assert found.results["by_class"]["source"] is None and found.results["test"] is not None
    assert set(found.results["by_class"]["used"]) == {"a", "b", "c"}
    assert "oracle" not in found.results["selection"]["by_criterion"]


def test_labels_of_another_kind_are_refused_before_anything_is_written(domains, tmp_path):
    source = nodes(0, kind="regression")
    with pytest.raises(DataError, match=r"do not go with.*multiclass labels"):
        gtl.adapt_domain(GCN, source, domains[1], criterion="dev", **QUICK, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_picture_of_both_domains_is_in_the_folder(domains, tmp_path):
    gtl.adapt_domain(GCN, *domains, **QUICK, out=tmp_path / "a")
    assert (tmp_path / "a" / "plots" / "domains.png").stat().st_size > 5000


def test_alignment_makes_domains_harder_to_tell_apart(domains):
    still = {"patience": 0, "lr": 1e-2}
    how = {"method": "coral", "epochs": 60, "seed": 0, "settings": {"source": still}}
    found = gtl.adapt_domain(GCN, *domains, candidates=[{"strength": 3.0, **still}], **how)
    before, after = (found.results["stages"][name]["a_distance"] for name in ("source", "align"))
    assert after < before - 0.2


def test_labels_of_the_target_change_nothing_but_the_bound(domains):
    source, target = domains
    how = {**QUICK, "epochs": 20}
    one = gtl.adapt_domain(GCN, source, target, **how)
    other = gtl.adapt_domain(GCN, source, replace(target, labels=(target.labels + 1) % 3), **how)
    bare = replace(target, labels=None, split={}, kind="", metric="")
    none = gtl.adapt_domain(GCN, source, bare, **how)
    assert same(one.stages["align"], other.stages["align"])
    assert same(one.stages["align"], none.stages["align"])
    assert one.results["selection"]["values"] == other.results["selection"]["values"]
    assert one.results["test"] != other.results["test"] and none.results["test"] is None
    assert "oracle" not in none.results["selection"]["by_criterion"]
    assert gtl.predict(none, bare).shape == (240, 3)


def test_candidates_are_selected_among_by_the_criterion(domains, tmp_path):
    tried = [{"strength": 0.1}, {"strength": 0.1, "lr": 1e-9}, {"options": {"hidden": 3}}]
    found = gtl.adapt_domain(
        GCN, *domains, candidates=tried, **QUICK, guard=False, out=tmp_path / "a"
    )
    selection = found.results["selection"]
    values = {k: v for k, v in selection["values"].items() if k != "source"}
    assert len(values) == 3 and selection["selected"] == max(values, key=values.get)
    assert selection["used"] == "align" and found.model is found.stages["align"]
    assert {f.name for f in (tmp_path / "a").iterdir()} > {"align", "align-2", "align-3", "source"}
    assert same(gtl.load_run(tmp_path / "a").stages["align"], found.stages["align"])


def selected(candidates: dict[str, tuple[float, float]], source: tuple[float, float]):
    """What is selected by infomax; values are by infomax and by the source's validation."""

    def model(values: tuple[float, float]) -> Mock:
        results = {"criteria": dict(zip(("infomax", "source"), values)), "epoch": 0}
        return Mock(spec=gtl.Model, results=results, history=[])

    tried = [
        Tried(name, name, model(values), ALIGNMENTS[name].trains)
        for name, values in candidates.items()
    ]
    plan = Mock(alignment=Mock(criterion="infomax", guard=True))
    best, used = choose(tried, model(source), plan)
    return best.results["selection"], used


def test_a_method_that_trains_the_criterion_is_not_compared_by_it(caplog):
    found, used = selected({"mcc": (0.9, 0.8), "coral": (0.5, 0.6), "mdd": (0.6, 0.5)}, (0.4, 0.9))
    assert (found["selected"], used, found["left_out"]) == ("mdd", "align", ["mcc"])
    assert "mcc not compared" in caplog.text and found["values"]["mcc"] == 0.9
    found, used = selected({"coral": (0.5, 0.6), "dann": (0.7, 0.1)}, (0.7, 0.0))
    assert (found["selected"], used, found["left_out"]) == ("source", "source", [])


@pytest.mark.parametrize(("source", "used"), [(0.7, "align"), (0.8, "source"), (0.9, "source")])
def test_alone_it_is_judged_by_the_source(source, used):
    found, chosen = selected({"mcc": (0.9, 0.8), "target_entropy": (0.95, 0.7)}, (0.1, source))
    assert chosen == used and found["judged_by"] == "source"
    assert found["selected"] == ("mcc" if used == "align" else "source")


def test_the_guard_uses_the_source_where_the_criterion_prefers_it(domains):
    still = [{"lr": 1e-12}]
    how = {**QUICK, "epochs": 30, "settings": {"source": {"lr": 3e-2}}, "candidates": still}
    kept = gtl.adapt_domain(GCN, *domains, **how)
    assert kept.results["selection"]["used"] == "source" and kept.model is kept.stages["source"]
    assert kept.results["test"] == kept.results["stages"]["source"]["test"]
    forced = gtl.adapt_domain(GCN, *domains, **how, guard=False)
    assert forced.model is forced.stages["align"]


def test_an_interrupted_alignment_goes_on_bit_for_bit(domains, tmp_path, monkeypatch):
    tried = [{"strength": 0.1}, {"strength": 1.0}]
    how = {**QUICK, "candidates": tried}
    whole = gtl.adapt_domain(GCN, *domains, **how)
    from gtl.train import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    steps, original = 0, loop.train_step

    def interrupted(*given):
        nonlocal steps
        steps += 1
        if steps == 8:  # three epochs of the source, three of the first candidate
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gtl.adapt_domain(GCN, *domains, **how, out=tmp_path / "a")
    with pytest.raises(CheckpointError, match="interrupted"):
        gtl.load_run(tmp_path / "a")
    monkeypatch.setattr(loop, "train_step", original)
    again = gtl.adapt_domain(GCN, *domains, **how, out=tmp_path / "a", resume=True)
    assert same(again.stages["align"], whole.stages["align"])
    assert again.results["selection"]["values"] == whole.results["selection"]["values"]
    by_criterion = whole.results["selection"]["by_criterion"]
    assert again.results["selection"]["by_criterion"] == by_criterion


def test_few_labels_of_the_target_adapt_and_are_looked_ahead_on(domains, monkeypatch):
    source, target = domains
    few = replace(target, split={**target.split, "train": target.split["train"][:9]})
    from gtl.train import loop

    seen, original = [], loop._meta_view

    def spied(job, device):
        seen.append(None if job.meta_data is None else len(job.meta_items))
        return original(job, device)

    monkeypatch.setattr(loop, "_meta_view", spied)
    stages = ["source", "align", "adapt"]
    how = {**QUICK, "weighting": "aux_ts"}
    found = gtl.adapt_domain(GCN, source, few, stages=stages, **how)
    assert list(found.stages) == stages and found.model is found.stages["adapt"]
    assert found.results["look_ahead"] == "9 labels of the target" and 9 in seen
    assert found.results["valid"] == found.results["stages"]["adapt"]["valid"]
    assert found.results["footprint"]["parameters_trained"] > 0
    seen.clear()
    gtl.adapt_domain(GCN, source, few, **how)
    assert set(seen) == {None}


def test_adapters_align_a_frozen_encoder(domains):
    run = gtl.pretrain(GCN, domains[0], "infomax", epochs=1)
    tried = [{"adapter": "bottleneck"}]
    found = gtl.adapt_domain(run, *domains, **QUICK, candidates=tried, guard=False)
    assert same(found.model.encoder.base, run.encoder)


def test_both_start_from_pre_training_on_graphs_of_both(domains):
    task = {"name": "random_quantizer", "codes": 8}
    stages = ["pretrain", "source", "align"]
    found = gtl.adapt_domain(GCN, *domains, **QUICK, stages=stages, task=task)
    assert list(found.stages) == stages


@pytest.mark.parametrize("method", ["bbse", "em"])
@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_classes_count_as_in_the_target_where_that_is_wanted(method, kind):
    source, target = nodes(0, kind=kind), nodes(1, 1.0, kind)
    found = gtl.adapt_domain(GCN, source, target, **QUICK, class_prior=method)
    weights = found.stages["align"].target.weight_of_class
    assert weights.shape == ((3,) if kind == "multiclass" else (2, 3))
    assert not torch.allclose(weights, torch.ones(()))


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
def test_edges_are_drawn_like_the_target_where_that_is_wanted(kind):
    source, target = nodes(0, kind=kind), nodes(1, 1.0, kind)
    plain = gtl.adapt_domain(GCN, source, target, **QUICK)
    drawn = gtl.adapt_domain(GCN, source, target, **QUICK, edges="strurw")
    assert same(plain.stages["source"], drawn.stages["source"])
    assert not same(plain.stages["align"], drawn.stages["align"])


@pytest.mark.parametrize("method", ALIGNMENTS)
def test_every_method_aligns_nodes_and_graphs(method):
    nodes_of_both = nodes(0), nodes(1, 1.0)
    for encoder, pair in ((GCN, nodes_of_both), ({**GCN, "name": "gin"}, (rings(0), rings(1)))):
        found = gtl.adapt_domain(encoder, *pair, method=method, epochs=1, seed=0)
        row = found.results["stages"]["align"]
        assert all(torch.tensor(loss).isfinite() for loss in row["losses"].values())
        assert len(row["losses"]) == 2


def test_numbers_are_aligned_by_a_criterion_that_reads_no_classes():
    pair = nodes(0, kind="regression"), nodes(1, 1.0, "regression")
    with pytest.raises(ConfigError, match=r"reads classes.*'dev'"):
        gtl.adapt_domain(GCN, *pair, **QUICK)
    found = gtl.adapt_domain(GCN, *pair, **QUICK, criterion="dev")
    assert found.results["label_shift"] is None and found.results["metric"] == "rmse"
    values = found.results["selection"]["values"]
    assert all(value < 0 for value in values.values())


def test_features_are_matched_by_name_or_refused(domains):
    source, target = nodes(0), nodes(1, columns=5)
    with pytest.raises(DataError, match="feature_names"):
        gtl.adapt_domain(GCN, source, target, **QUICK)
    names = [list("abcdef"), list("bcdef")]
    found = gtl.adapt_domain(GCN, source, target, **QUICK, feature_names=names)
    assert found.model.encoder.schema.node.width == 5
    small = gtl.adapt_domain(GCN, *domains, **QUICK, project=3)
    assert small.model.encoder.schema.node.width == 3
    with pytest.raises(DataError, match="not comparable"):
        gtl.adapt_domain(GCN, source, target, **QUICK, project=3)
    wide = gtl.adapt_domain(GCN, *domains, **QUICK, project=3, context=2, unlabeled=domains[1])
    assert wide.model.encoder.schema.node.width == 6
    assert gtl.evaluate(wide, wide.target)["acc"] == wide.results["test"]
    with pytest.raises(ConfigError, match="source and target alone"):
        gtl.adapt_domain(GCN, *domains, **QUICK, context=2, corpus=domains[0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"criterion": "infomix"}, ConfigError, "did you mean 'infomax'"),
        ({"candidates": [{"method": "joint"}]}, ConfigError, "method 'joint'"),
        ({"candidates": [{"rate": 1.0}]}, ConfigError, "no setting of this stage"),
        ({"candidates": [{}, {}]}, ConfigError, "given twice"),
        ({"class_prior": "foo"}, ConfigError, "`class_prior` is 'foo'"),
        ({"edges": "foo"}, ConfigError, "`edges` is 'foo'"),
        ({"edges": False}, ConfigError, "`edges` is False"),
        (
            {"weighting": "uncertainty", "candidates": [{"strength": 1}]},
            ConfigError,
            "names `strength`.*'uncertainty'",
        ),
        (
            {"class_prior": "em", "candidates": [{"class_weights": [1, 1, 1]}]},
            ConfigError,
            "has `class_weights`, which `class_prior`",
        ),
        (
            {"class_prior": "em", "settings": {"align": {"class_weights": "balanced"}}},
            ConfigError,
            "has `class_weights`, which `class_prior`",
        ),
        ({"candidates": [{"strength": float("nan")}]}, ConfigError, "`strength` is nan"),
        ({"candidates": [{"strength": -1}]}, ConfigError, "`strength` is -1"),
        ({"candidates": [{"strength": float("inf")}]}, ConfigError, "`strength` is inf"),
        ({"candidates": [{"strength": "much"}]}, ConfigError, "`strength` is 'much'"),
        ({"stages": ["joint"]}, ConfigError, "unknown stage 'joint'"),
        ({"stages": ["align"], "class_prior": "em"}, ConfigError, "stage 'source'"),
        ({"method": "joint", "edges": "strurw"}, ConfigError, "method that aligns|align domains"),
        ({"settings": {"align": {"seed": 1}}}, ConfigError, "no setting of this stage"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_written(
    domains, change, error, message, tmp_path
):
    with pytest.raises(error, match=message):
        gtl.adapt_domain(GCN, *domains, **{**QUICK, **change}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_what_does_not_go_with_the_labels_is_refused_before_anything_is_written(tmp_path):
    numbers = nodes(0, kind="regression"), nodes(1, kind="regression")
    graphs = rings(0), rings(1)
    column = tuple(
        replace(data, labels=data.labels[:, :1])
        for data in (nodes(0, kind="binary"), nodes(1, kind="binary"))
    )
    for pair, change, message in (
        (numbers, {"method": "cdan"}, "cdan compares predicted classes.*use dann, "),
        (numbers, {"class_prior": "em"}, "numbers, which have no class shares"),
        (numbers, {"edges": "strurw"}, "several classes"),
        (graphs, {"edges": "strurw"}, "items of test:rings-0 are graphs"),
        (column, {"edges": "strurw"}, "several classes"),
    ):
        with pytest.raises(ConfigError, match=message):
            how = {**QUICK, "criterion": "dev", **change}
            gtl.adapt_domain(GCN, *pair, **how, out=tmp_path / "a")
        assert not (tmp_path / "a").exists()


def test_candidates_that_differ_in_an_option_of_the_task_alone_are_not_the_same(domains):
    tried = [{"options": {"lr": 1e-2}, "lr": 3e-3}, {"options": {"lr": 1e-3}, "lr": 3e-3}]
    how = {**QUICK, "epochs": 1, "method": "mcd"}
    found = gtl.adapt_domain(GCN, *domains, candidates=tried, **how)
    titles = list(found.results["selection"]["values"])
    assert "mcd (strength 1, options.lr 0.01, lr 0.003)" in titles and len(titles) == 3


def test_the_strength_counts_however_equal_weights_are_written(domains):
    how = {**QUICK, "method": "coral", "candidates": [{"strength": 50.0}], "guard": False}
    one, other = (
        gtl.adapt_domain(GCN, *domains, weighting=weighting, **how)
        for weighting in ("equal", {"name": "equal"})
    )
    assert same(one.stages["align"], other.stages["align"])


def test_adda_starts_from_the_readout_of_the_source_too():
    still = {"epochs": 1, "lr": 1e-12, "batch_size": 60}
    how = {"method": "adda", "readout": "attention", "seed": 0, "guard": False, "epochs": 1}
    found = gtl.adapt_domain(GCN, rings(0), rings(1), candidates=[still], **how)
    before, after = (found.stages[n].predictor.readout.state_dict() for n in ("source", "align"))
    assert len(before)
    for name, value in before.items():
        torch.testing.assert_close(value, after[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "regression"])
def test_a_target_of_another_kind_has_a_head_of_its_own(domains, kind):
    target = nodes(1, kind=kind)
    target = replace(target, split={**target.split, "train": target.split["train"][:20]})
    stages = ["source", "align", "adapt"]
    found = gtl.adapt_domain(GCN, domains[0], target, stages=stages, **{**QUICK, "epochs": 1})
    assert found.results["metric"] == target.metric and found.results["test"] is not None
    assert "oracle" not in found.results["selection"]["by_criterion"]
    assert len(found.results["by_class"]["used"]) == target.num_outputs


def test_a_source_without_validation_data_is_refused(domains):
    source, target = domains
    bare = replace(source, split={"train": source.split["train"]})
    with pytest.raises(DataError, match="no validation data"):
        gtl.adapt_domain(GCN, bare, target, **QUICK)


def test_a_large_label_shift_is_warned_of(domains):
    source, target = domains
    rare = torch.cat([torch.arange(0, 240, 3), torch.arange(1, 240, 3)[:10]])
    part = target.graph.subgraph(rare.sort().values)
    few = gtl.Dataset("test:few", graph=part, level="node")
    how = {**QUICK, "epochs": 40}
    with pytest.warns(GtlWarning, match="class shares.*class_prior"):
        found = gtl.adapt_domain(GCN, source, few, **how)
    assert found.results["label_shift"]["large"]


def test_the_verb_aligns_and_its_config_repeats_it(tmp_path, capsys):
    words = ["adapt", "--data", "demo:shapes", "--source", "demo:shapes", "--source.seed", "1"]
    words += ["--encoder", "{name: gin, width: 8, depth: 2}", "--epochs", "1", "--method", "dann"]
    words += ["--candidates", "[{strength: 0.1}, {strength: 1.0}]", "--criterion", "snd"]
    assert cli.main([*words, "--out", str(tmp_path / "a")]) == 0
    assert "snd (used)" in capsys.readouterr().out
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["method"] == "dann" and config["criterion"] == "snd"
    again = ["adapt", "--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b")]
    assert cli.main(again) == 0
    tests = [json.loads((tmp_path / n / "results.json").read_text())["test"] for n in "ab"]
    assert tests[0] == tests[1]


def test_a_fitted_head_at_the_start_may_be_selected(domains):
    still = {"lr": 1e-12, "head_start": "fitted"}
    how = {**QUICK, "candidates": [still], "settings": {"source": still}, "epochs": 2}
    found = gtl.adapt_domain(GCN, *domains, **how)
    assert found.stages["align"].results["epoch"] == -1
    assert found.results["selection"]["by_criterion"]["infomax"]["epoch"] == -1
    assert found.results["stages"]["source"]["epoch"] == -1
