"""Episodic fine-tuning: what an episode holds, what moves, and that the frozen part stays."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch

import gtl
from gtl.errors import CheckpointError, ConfigError, DataError, GtlWarning
from gtl.train.episodes import _Episodes, _halves, _like, finetune_by_episodes, update_bytes

GCN = {"name": "gcn", "width": 16, "depth": 2}
HEADS = ["prototype", "gaussian", {"name": "gaussian", "kind": "qda", "task": "within"}]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def trained(communities):
    return gtl.pretrain(GCN, communities.graph, ["infomax"], epochs=5, lr=0.01).encoder


def drawer(support: int = 20, queries: int = 40, sizes=(1, 2, 5, 9, 9, 9, 12)) -> _Episodes:
    starts, known, asked = 0, {}, {}
    for number, size in enumerate(sizes):
        own = torch.arange(starts, starts + size)
        half = (size + 1) // 2
        known[number] = own[:half]
        if half < size:
            asked[number] = own[half:]
        starts += size
    return _Episodes((known, asked), support, queries, rng())


def test_half_of_each_class_supports_and_the_odd_one_too(communities) -> None:
    items = communities.split["train"]
    known, asked = _halves(communities, items, rng())
    for number in range(3):
        count = int((communities.labels[items] == number).sum())
        assert len(known[number]) == (count + 1) // 2
        assert len(known[number]) + len(asked[number]) == count
        assert not set(known[number].tolist()) & set(asked[number].tolist())


def test_an_episode_has_classes_shots_and_queries_as_fit_draws_them() -> None:
    source, ways = drawer(), set()
    for _ in range(200):
        support, labels, queries, truth = source.draw()
        way = int(labels.max()) + 1
        ways.add(way)
        counts = torch.bincount(labels, minlength=way)
        assert counts.min() >= 1 and counts.max() <= max(round(20 / way), 1)
        assert torch.bincount(truth, minlength=way).max() <= 40 // way
        assert len(queries) >= 1
        assert not set(support.tolist()) & set(queries.tolist())
    assert ways == {5, 6, 7}


def test_a_class_with_one_sample_is_never_asked_about() -> None:
    source = drawer(sizes=(1, 1, 1, 1, 1, 1, 2))
    for _ in range(20):
        _, labels, queries, truth = source.draw()
        assert queries.tolist() == [7]
        assert 0 <= int(truth) <= int(labels.max())


@pytest.mark.parametrize("head", HEADS)
def test_only_the_adapter_and_the_heads_few_numbers_move(communities, trained, head) -> None:
    before = copy.deepcopy(trained.state_dict())
    model = finetune_by_episodes(trained, communities, head=head, episodes=5)
    for name, value in model.encoder.base.state_dict().items():
        assert torch.equal(value, before[name]), name
    moved = [p for n, p in model.encoder.named_parameters() if p.requires_grad]
    assert moved and all(p.abs().sum() > 0 for p in moved)
    if head != "prototype":
        start = type(model.predictor.head)(16, 3, kind=model.predictor.head.kind).log_shrinkage
        assert not torch.allclose(model.predictor.head.log_shrinkage, start)


def test_the_head_is_fitted_to_all_labels_in_the_end(communities, trained) -> None:
    model = finetune_by_episodes(trained, communities, head="prototype", episodes=3)
    items = communities.split["train"]
    features, labels = gtl.embed(model, communities)[items], communities.labels[items]
    for number in range(3):
        expected = features[labels == number].mean(0)
        assert torch.allclose(model.predictor.head.statistics.means[number], expected, atol=1e-5)


def test_episodes_lower_the_loss(communities, trained) -> None:
    tests = []
    for seed in range(3):
        model = finetune_by_episodes(trained, communities, episodes=60, lr=0.02, seed=seed)
        losses = [line["losses"]["supervised"] for line in model.history]
        assert sum(losses[-20:]) < sum(losses[:20])
        tests.append(model.results["test"])
    assert sum(tests) / 3 > 0.5  # of three classes; a test split has 25 items


def test_no_episode_leaves_the_features_as_they_were(communities, trained) -> None:
    with torch.no_grad():
        plain = trained.eval()(communities.graph)
    model = finetune_by_episodes(trained, communities, episodes=0)
    assert torch.allclose(gtl.embed(model, communities), plain, atol=1e-6)
    assert model.history == []


def test_with_one_sample_a_class_nothing_is_trained(communities, trained) -> None:
    labels = communities.labels
    items = torch.stack([(labels == number).nonzero()[0, 0] for number in range(3)])
    model = finetune_by_episodes(trained, communities, head="prototype", items=items, episodes=9)
    assert model.history == []


def test_a_small_head_shares_what_is_trained_and_nothing_else() -> None:
    head = gtl.catalog.HEADS.build({"name": "gaussian", "kind": "qda"}, 5, 7)
    small = _like(head, 3)
    assert small.log_shrinkage is head.log_shrinkage
    assert small.classes.centers.shape == (3, 5)


def test_graphs_are_items_too(shapes) -> None:
    data = replace(shapes, labels=shapes.labels[:, 0].long(), metric="acc", kind="multiclass")
    encoder = {"name": "gin", "width": 16, "depth": 2}
    model = finetune_by_episodes(encoder, data, episodes=30, lr=0.02, head="prototype")
    assert model.results["test"] > 0.5
    assert gtl.predict(model, data, "test").shape == (len(data.split["test"]), 2)


def test_the_same_seed_gives_the_same_model(communities) -> None:
    one, two = (finetune_by_episodes(GCN, communities, episodes=4, seed=3) for _ in range(2))
    assert torch.equal(gtl.predict(one, communities), gtl.predict(two, communities))


def test_its_run_folder_holds_the_model_and_is_reported(communities, tmp_path) -> None:
    out = tmp_path / "fit"
    model = finetune_by_episodes(GCN, communities, episodes=4, out=out)
    loaded = gtl.Model.load(out)
    assert torch.equal(gtl.predict(loaded, communities), gtl.predict(model, communities))
    results = json.loads((out / "results.json").read_text())
    assert results["test"] == model.results["test"]
    assert results["footprint"]["seconds"] > 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4
    assert (out / "plots" / "learning_curves.png").exists()
    table = gtl.report.report(tmp_path)
    assert "communities" in str(table)
    with pytest.raises(CheckpointError, match="already holds a run"):
        finetune_by_episodes(GCN, communities, episodes=4, out=out)


@pytest.mark.parametrize("adapter", ["film", None])
def test_episodes_are_resumed_bit_for_bit(communities, tmp_path, adapter) -> None:
    options = {"adapter": adapter, "head": {"name": "gaussian", "kind": "lda"}, "lr": 0.02}
    whole = finetune_by_episodes(GCN, communities, episodes=6, **options)
    finetune_by_episodes(GCN, communities, episodes=2, out=tmp_path, **options)
    resumed = finetune_by_episodes(
        GCN, communities, episodes=6, out=tmp_path, resume=True, **options
    )
    one, two = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert [line["losses"] for line in whole.history] == [
        line["losses"] for line in resumed.history
    ]


def test_a_run_that_stopped_before_its_head_was_fitted_is_refused(communities, tmp_path) -> None:
    finetune_by_episodes(GCN, communities, episodes=2, out=tmp_path)
    (tmp_path / "results.json").unlink()
    with pytest.raises(CheckpointError, match="was interrupted before its head was fitted"):
        gtl.Model.load(tmp_path)


def test_an_encoder_that_an_adapter_froze_is_warned_of(communities, trained) -> None:
    adapted = gtl.adapters.attach(trained, "film")
    with pytest.warns(GtlWarning, match="frozen when an adapter was attached"):
        finetune_by_episodes(trained, communities, adapter=None, head="prototype", episodes=1)
    gtl.adapters.detach(adapted)


def test_the_update_is_a_scale_and_a_shift_for_each_column(communities, trained) -> None:
    model = finetune_by_episodes(trained, communities, head="prototype", episodes=1)
    sizes = update_bytes(model)
    places = len(model.encoder.parts()[0].paths)
    assert sizes["adapter"] == 2 * 16 * 4 * places
    assert sizes["head"] == 4 * (3 + 3 * 16)  # counts and means


def test_what_cannot_be_trained_is_named(communities, shapes) -> None:
    with pytest.raises(ConfigError, match="the head 'linear' has no closed form"):
        finetune_by_episodes(GCN, communities, head="linear")
    with pytest.raises(ConfigError, match="`head` is an instance"):
        finetune_by_episodes(GCN, communities, head=gtl.heads.Prototype(16, 3))
    with pytest.raises(DataError, match="has no classes of nodes or graphs"):
        finetune_by_episodes({"name": "gin", "width": 8, "depth": 1}, shapes)
    only = communities.split["train"][communities.labels[communities.split["train"]] == 0]
    with pytest.raises(DataError, match="no labeled item of class 1"):
        finetune_by_episodes(GCN, communities, items=only)
    with pytest.raises(ConfigError, match="`episodes` is -1"):
        finetune_by_episodes(GCN, communities, episodes=-1)
