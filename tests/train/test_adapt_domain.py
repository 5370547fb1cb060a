"""Domain adaptation: three stages, each also alone, resumed bit for bit, refused where unusable."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import gtl
from gtl import cli
from gtl.errors import CheckpointError, ConfigError, DataError, UnknownPartError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.train.domain_recipe import labeled_of
from gtl.train.domains import domains_of

SMALL = {"name": "gin", "width": 8, "depth": 2}
QUICK = {"task": {"name": "random_quantizer", "codes": 8}, "epochs": 2, "seed": 3}


@pytest.fixture(scope="module")
def domains() -> tuple[gtl.Dataset, gtl.Dataset]:
    return rings(0), rings(1)


@pytest.fixture(autouse=True)
def _quick(request, monkeypatch):
    """No plots and, but for one test, no probes, which cost more than all the training."""
    monkeypatch.setattr("gtl.train.session.write_plots", lambda folder: None)
    if "what_each_gave" not in request.node.name:
        none = SimpleNamespace(results={"valid": 0.5})
        monkeypatch.setattr("gtl.train.adapt_domain.probe", lambda *given, **options: none)


def rings(seed: int) -> gtl.Dataset:
    """120 cycles (1) and paths (0) with random categorical features."""
    rng = torch.Generator().manual_seed(seed)
    graphs = []
    for i in range(120):
        n = int(torch.randint(3, 8, (), generator=rng))
        src = torch.arange(n if i % 2 else n - 1)
        dst = (src + 1) % n
        x = torch.randint(4, (n, 2), generator=rng)
        graphs.append(Graph(torch.cat([src, dst]), torch.cat([dst, src]), n, x))
    order = torch.randperm(120, generator=rng)
    split = {"train": order[:60], "valid": order[60:90], "test": order[90:]}
    packed = PackedGraphs.pack(graphs, Schema(Columns((4, 4))))
    labels = torch.arange(120).remainder(2).float().unsqueeze(1)
    return gtl.Dataset(f"test:rings-{seed}", packed, labels=labels, split=split)


def graph_of_groups(seed: int, labeled: int, columns: int = 6, shift: float = 0.0) -> gtl.Dataset:
    """A graph of 240 nodes in three groups; ``shift`` moves the features of the domain."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(240) % 3
    ends = torch.randint(80, (2, 900), generator=rng) * 3 + torch.randint(3, (900,), generator=rng)
    x = torch.randn(240, columns, generator=rng) + shift
    x[:, :3] += torch.nn.functional.one_hot(labels, 3)
    order = torch.randperm(240, generator=rng)
    split = {"train": order[:labeled], "valid": order[labeled:120], "test": order[120:]}
    graph = Graph(*ends, 240, x)
    return gtl.Dataset(f"test:{seed}", graph=graph, labels=labels, split=split, level="node")


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_three_stages_say_what_each_gave(domains, tmp_path):
    source, target = domains
    found = gtl.adapt_domain(SMALL, source, target, **QUICK, out=tmp_path / "a")
    assert list(found.stages) == ["pretrain", "joint", "adapt"]
    stages = found.results["stages"]
    assert list(stages) == ["start", "pretrain", "joint", "adapt"]
    assert all(0 <= stage["valid"] <= 1 for stage in stages.values())
    assert [stages[name]["measured"] for name in ("joint", "adapt")] == ["linear probe", "model"]
    assert (
        stages["joint"]["source_valid"]
        == gtl.evaluate(found.stages["joint"], source, "valid")["rocauc"]
    )
    assert stages["adapt"]["test"] == found.results["test"] == gtl.evaluate(found, target)["rocauc"]
    assert stages["joint"]["measures"]["random_quantizer"]["perplexity of codebook 0"] > 1
    assert str(found).count("linear probe") == 3 and "test rocauc" in str(found)
    opened = gtl.load_run(tmp_path / "a")
    assert str(opened) == str(found)
    assert torch.equal(gtl.predict(opened, target), gtl.predict(found, target))
    assert gtl.evaluate(tmp_path / "a", target)["rocauc"] == found.results["test"]


def test_the_last_stage_moves_adapters_and_head_alone(domains):
    found = gtl.adapt_domain(SMALL, *domains, **QUICK)
    joint, adapted = found.stages["joint"].encoder, found.model.encoder
    assert same(joint, adapted.base)
    cost = found.results["footprint"]
    assert 0 < cost["parameters_trained"] < cost["parameters_total"] / 4
    assert not same(found.stages["pretrain"].encoder, joint)


def test_what_is_given_stays_as_it_was(domains):
    source, target = domains
    encoder = gtl.encoders.GIN(source.schema, width=8, depth=2)
    before = weights(encoder)
    gtl.adapt_domain(encoder, source, target, **QUICK)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_stages_one_by_one_in_a_folder_are_the_whole_bit_for_bit(domains, tmp_path):
    whole = gtl.adapt_domain(SMALL, *domains, **QUICK, out=tmp_path / "whole")
    for number, stage in enumerate(("pretrain", "joint", "adapt")):
        how = {**QUICK, "out": tmp_path / "parts", "resume": number > 0}
        found = gtl.adapt_domain(SMALL, *domains, stages=[stage], **how)
        assert list(found.stages)[-1] == stage and len(found.stages) == number + 1
    assert same(found.model, whole.model)
    assert found.results["stages"].keys() == whole.results["stages"].keys()
    assert gtl.load_run(tmp_path / "parts").results["test"] == whole.results["test"]


def test_an_interrupted_stage_is_continued(domains, tmp_path, monkeypatch):
    whole = gtl.adapt_domain(SMALL, *domains, **QUICK)
    from gtl.train import loop

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    steps = 0
    original = loop.train_step

    def interrupted(*given):
        nonlocal steps
        steps += 1
        if steps == 6:  # two steps in all of `pretrain`, two in each epoch of `joint`
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(loop, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gtl.adapt_domain(SMALL, *domains, **QUICK, out=tmp_path / "a")
    with pytest.raises(CheckpointError, match="interrupted"):
        gtl.load_run(tmp_path / "a")
    monkeypatch.setattr(loop, "train_step", original)
    again = gtl.adapt_domain(SMALL, *domains, **QUICK, out=tmp_path / "a", resume=True)
    assert same(again.model, whole.model)


def test_a_stage_alone_starts_from_the_encoder_that_is_given(domains):
    source, target = domains
    run = gtl.pretrain(SMALL, source, "infomax", epochs=1)
    found = gtl.adapt_domain(run, source, target, stages="adapt", **QUICK)
    assert list(found.stages) == ["adapt"]
    assert same(found.model.encoder.base, run.encoder)


def test_the_quantizer_of_the_first_stage_goes_on_in_the_second(domains, tmp_path):
    from gtl.train.domain_recipe import on_target

    source, target = domains
    parts = domains_of(source, target)
    run = gtl.pretrain(SMALL, parts.corpus, QUICK["task"], epochs=1, out=tmp_path / "run")
    task = on_target(run, QUICK["task"], parts)
    assert same(on_target(str(tmp_path / "run"), QUICK["task"], parts), task)
    assert same(task, run.tasks["random_quantizer"]) and task is not run.tasks["random_quantizer"]
    assert task.data is parts.unlabeled
    fresh = on_target(run, {"name": "random_quantizer", "codes": 9}, parts)
    assert not fresh.state_dict()


def test_the_head_of_the_source_goes_on_where_the_labels_are_the_same():
    source, target = graph_of_groups(0, 100), graph_of_groups(1, 12, shift=0.5)
    gcn = {"name": "gcn", "width": 8, "depth": 2}
    still = {"adapt": {"lr": 1e-12, "epochs": 1}}
    how = {**QUICK, "epochs": 20, "settings": still}
    kept = gtl.adapt_domain(gcn, source, target, **how)
    new = gtl.adapt_domain(gcn, source, target, keep_head=False, **how)
    heads = [run.model.predictor.head for run in (kept, new)]
    expected = kept.stages["joint"].predictor.head.map.weight
    assert torch.allclose(heads[0].map.weight, expected, atol=1e-6)
    assert not torch.allclose(heads[1].map.weight, expected, atol=1e-2)
    labels = (target.labels + 1) % 2
    other = replace(target, labels=labels, kind="", metric="")
    assert gtl.adapt_domain(gcn, source, other, **how).model.labels.outputs == 2


@pytest.mark.parametrize("level", ["graph", "node"])
def test_both_domains_with_labels_are_one_data_set_without_test_labels(domains, level):
    pair = domains if level == "graph" else (graph_of_groups(0, 100), graph_of_groups(1, 12))
    source, target = pair
    whole = labeled_of(domains_of(source, target))
    n = len(source)
    assert len(whole) == n + len(target) and whole.kind == source.kind
    for part in ("train", "valid"):
        expected = torch.cat([source.split[part], target.split[part] + n])
        assert torch.equal(whole.split[part], expected)
        assert torch.equal(
            whole.labels[whole.split[part][-5:]], target.labels[target.split[part][-5:]]
        )
    unseen = whole.labels[target.split["test"] + n]
    assert (unseen.isnan() if level == "graph" else unseen == -1).all()
    assert "test" not in whole.split
    item = target.split["train"][:1]
    if level == "graph":
        assert torch.equal(whole.batch(item + n).x, target.batch(item).x)
    else:
        assert torch.equal(whole.graph.x[item + n], target.graph.x[item])
        assert whole.graph.num_edges == source.graph.num_edges + target.graph.num_edges


def test_labels_of_the_target_are_learned_jointly_unless_they_mean_something_else():
    source, target = graph_of_groups(0, 100), graph_of_groups(1, 12, shift=0.5)
    gcn = {"name": "gcn", "width": 8, "depth": 2}
    how = {**QUICK, "stages": ["joint"]}
    both = gtl.adapt_domain(gcn, source, target, **how)
    alone = gtl.adapt_domain(gcn, source, target, target_labels=False, **how)
    assert not same(both.model, alone.model)
    assert both.results["stages"]["joint"]["source_valid"] is not None
    other = replace(target, labels=target.labels % 2, kind="", metric="")
    assert same(gtl.adapt_domain(gcn, source, other, **how).model, alone.model)


def test_test_inputs_are_learned_from_only_where_that_is_asked_for(domains):
    source, target = domains
    parts = domains_of(source, target)
    kept = len(target.split["train"])
    assert len(parts.unlabeled) == kept and not parts.test_inputs
    assert len(parts.corpus) == kept + len(source.split["train"])
    seen = domains_of(source, target, unlabeled=target)
    assert len(seen.unlabeled) == len(target) and seen.test_inputs
    assert parts.unlabeled.labels is None and seen.unlabeled.labels is None
    nodes = domains_of(graph_of_groups(0, 30), graph_of_groups(1, 30))
    assert nodes.test_inputs and len(nodes.corpus) == 480


def test_test_inputs_are_known_by_their_content_and_not_by_a_name(domains):
    source, target = (replace(data, spec="memory") for data in domains)
    other = gtl.Dataset("memory", rings(9).graphs.subset(torch.tensor([1])))
    copy = target.graphs.subset(target.split["test"][:1])
    both = PackedGraphs.pack([other.graphs[0], copy[0]], target.schema)
    whole = gtl.Dataset("renamed", target.graphs)
    train = gtl.Dataset("memory", target.graphs.subset(target.split["train"][:1]))
    given = {"other": other, "train": train, "copy": gtl.Dataset("c", copy), "whole": whole}
    found = {
        name: domains_of(source, target, unlabeled=replace(data, labels=None, split={})).test_inputs
        for name, data in {**given, "both": gtl.Dataset("memory", both)}.items()
    }
    assert found == {"other": False, "train": False, "copy": True, "whole": True, "both": True}
    one, two = graph_of_groups(0, 30), graph_of_groups(1, 30)
    graph = two.graph
    for moved, expected in ((graph.x.clone(), True), (graph.x + 1, False)):
        same = gtl.Dataset("memory", graph=graph.replace(x=moved), level="node")
        assert domains_of(one, two, unlabeled=same).test_inputs is expected
    assert not domains_of(one, replace(two, split={"train": two.split["train"]})).test_inputs


def test_test_labels_change_nothing(domains):
    source, target = domains
    labels = target.labels.clone()
    labels[target.split["test"]] = 1 - labels[target.split["test"]]
    one = gtl.adapt_domain(SMALL, source, target, **QUICK)
    other = gtl.adapt_domain(SMALL, source, replace(target, labels=labels), **QUICK)
    assert same(one.model, other.model)
    assert one.results["test"] != other.results["test"]


def test_a_target_without_labels_is_pre_trained_and_trained_jointly(domains):
    source, target = domains
    bare = replace(target, labels=None, split={}, kind="", metric="")
    with pytest.raises(DataError, match=r"no labels.*stages=\['pretrain', 'joint'\]"):
        gtl.adapt_domain(SMALL, source, bare, **QUICK)
    found = gtl.adapt_domain(SMALL, source, bare, stages=["pretrain", "joint"], **QUICK)
    assert found.results["test"] is None and found.results["stages"]["joint"]["valid"] is None
    assert gtl.predict(found, target).shape == (120, 1)
    alone = gtl.adapt_domain(SMALL, source, bare, stages=["pretrain"], **QUICK)
    with pytest.raises(ConfigError, match="predicts nothing"):
        gtl.predict(alone, target)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"method": "dan"}, UnknownPartError, "unknown method 'dan'"),
        ({"stages": ["joined"]}, ConfigError, "did you mean 'joint'"),
        ({"stages": []}, ConfigError, "`stages` is empty"),
        ({"adapter": None}, ConfigError, "head alone"),
        ({"settings": {"adapt": {"rate": 1}}}, ConfigError, "did you mean 'rates'"),
        ({"settings": {"adapt": {"seed": 1}}}, ConfigError, "no setting of this stage"),
    ],
)
def test_unusable_options_are_refused_before_anything_is_written(
    domains, change, error, message, tmp_path
):
    with pytest.raises(error, match=message):
        gtl.adapt_domain(SMALL, *domains, **{**QUICK, **change}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_domains_that_do_not_go_together_are_refused(domains, tmp_path):
    source = graph_of_groups(0, 30)
    gcn = {"name": "gcn", "width": 8, "depth": 2}
    out = tmp_path / "a"
    with pytest.raises(DataError, match=r"source test:0.*target test:1.*same columns"):
        gtl.adapt_domain(gcn, source, graph_of_groups(1, 30, columns=7), **QUICK, out=out)
    with pytest.raises(DataError, match=r"corpus test:2.*same columns"):
        corpus = graph_of_groups(2, 30, columns=4)
        gtl.adapt_domain(gcn, source, graph_of_groups(1, 30), corpus=corpus, **QUICK, out=out)
    with pytest.raises(DataError, match="one level"):
        gtl.adapt_domain(gcn, source, domains[0], **QUICK, out=out)
    assert not out.exists()


def test_codebooks_that_collapse_on_the_target_are_refused(tmp_path):
    source, target = graph_of_groups(0, 30), graph_of_groups(1, 30)
    target = replace(target, graph=target.graph.replace(x=torch.ones(240, 6)))
    gcn = {"name": "gcn", "width": 8, "depth": 2}
    how = {**QUICK, "task": {"name": "random_quantizer", "codes": 24}}
    with pytest.raises(ConfigError, match="collapsed"):
        gtl.adapt_domain(gcn, source, target, **how, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_folder_of_another_adaptation_is_refused(domains, tmp_path):
    source, target = domains
    how = {**QUICK, "out": tmp_path / "a", "stages": ["pretrain"]}
    gtl.adapt_domain(SMALL, source, target, **how)
    with pytest.raises(CheckpointError, match="already holds a run"):
        gtl.adapt_domain(SMALL, source, target, **how)
    with pytest.raises(CheckpointError, match="rings-5"):
        gtl.adapt_domain(SMALL, rings(5), target, **how, resume=True)


def test_the_verb_does_the_same(tmp_path, capsys):
    words = ["adapt", "--data", "demo:shapes", "--source", "demo:shapes", "--source.seed", "1"]
    words += ["--encoder", "{name: gin, width: 8, depth: 2}", "--epochs", "1"]
    words += ["--task", "{name: random_quantizer, codes: 8}", "--out", str(tmp_path / "a")]
    assert cli.main([*words, "--settings", "{pretrain: {lr: 0.01}}"]) == 0
    assert "linear probe" in capsys.readouterr().out
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["source"]["seed"] == 1 and config["settings"] == {"pretrain": {"lr": 0.01}}
    again = ["adapt", "--config", str(tmp_path / "a" / "config.json"), "--out", str(tmp_path / "b")]
    assert cli.main(again) == 0
    tests = [json.loads((tmp_path / n / "results.json").read_text())["test"] for n in "ab"]
    assert tests[0] == tests[1]
    assert cli.main(["adapt", "--data", "demo:shapes", "--out", str(tmp_path / "c")]) == 2
