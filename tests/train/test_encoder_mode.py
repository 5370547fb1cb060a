"""The head first, and batch norms that keep their statistics."""

from __future__ import annotations

import copy

import pytest
import torch

import gtl
from gtl.catalog import ENCODERS
from gtl.errors import ConfigError
from gtl.train import loop
from gtl.train.encoder_mode import EncoderMode, batch_norms

GIN = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.1}
QUICK = {"batch_size": 10, "seed": 3}
AUX_TS = {"name": "aux_ts", "auxiliary_weight": 0.3, "refresh": 1}


def encoder_of(data):
    torch.manual_seed(7)
    return ENCODERS.build(GIN, data.schema)


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_encoder_stays_as_it_is_while_the_head_is_trained(shapes):
    encoder = encoder_of(shapes)
    before = state(encoder)
    model = gtl.finetune(encoder, shapes, epochs=2, head_first=2, **QUICK)
    assert same(before, state(model.encoder))
    assert model.history[1]["losses"] != model.history[0]["losses"]
    assert all(parameter.requires_grad for parameter in model.encoder.parameters())


def test_the_head_alone_is_trained_like_with_an_empty_adapter(shapes):
    encoder = encoder_of(shapes)
    probe = gtl.finetune(copy.deepcopy(encoder), shapes, adapter=[], epochs=3, **QUICK)
    first = gtl.finetune(encoder, shapes, head_first=3, epochs=3, **QUICK)
    expected, found = gtl.predict(probe, shapes), gtl.predict(first, shapes)
    torch.testing.assert_close(found, expected)


def test_the_encoder_moves_after_the_epochs_of_the_head(shapes):
    split = {name: part for name, part in shapes.split.items() if name != "valid"}
    data = gtl.Dataset("test:other", shapes.graphs, labels=shapes.labels, split=split)
    encoder = encoder_of(data)
    before = state(encoder)
    model = gtl.finetune(encoder, data, head_first=2, epochs=3, **QUICK)  # ends at the last epoch
    after = state(model.encoder)
    assert not torch.equal(before["blocks.0.norm.weight"], after["blocks.0.norm.weight"])
    assert not torch.equal(
        before["blocks.0.norm.running_mean"], after["blocks.0.norm.running_mean"]
    )
    longer = gtl.finetune(encoder_of(data), data, head_first=3, epochs=3, **QUICK).history
    assert [line["losses"] for line in longer[:2]] == [m["losses"] for m in model.history[:2]]


@pytest.mark.parametrize("adapter", [None, "film"])
def test_beside_look_aheads_tasks_are_weighted_only_when_the_encoder_moves(shapes, adapter):
    model = gtl.finetune(
        encoder_of(shapes),
        shapes,
        auxiliary=["infomax", "attribute_masking"],
        weighting=AUX_TS,
        guard=False,
        adapter=adapter,
        epochs=2,
        head_first=1,
        **QUICK,
    )
    first, second = (line["weights"] for line in model.history)
    assert set(first.values()) == {1.0}
    assert second["infomax"] != 1.0
    assert first.keys() == second.keys()


def test_the_guard_is_the_run_without_auxiliary_tasks(shapes, tmp_path):
    options = {**QUICK, "epochs": 2, "head_first": 1, "batch_norm": "frozen", "average": 1}
    alone = gtl.finetune(encoder_of(shapes), shapes, **options)
    how = {"auxiliary": ["infomax"], "weighting": AUX_TS, "out": tmp_path / "run"}
    gtl.finetune(encoder_of(shapes), shapes, **how, **options)
    guard = gtl.Model.load(tmp_path / "run" / "candidates" / "target-only")
    assert torch.equal(gtl.predict(guard, shapes), gtl.predict(alone, shapes))


def test_frozen_batch_norms_keep_their_statistics_and_train_scale_and_shift(shapes):
    encoder = encoder_of(shapes)
    before = state(encoder)
    model = gtl.finetune(encoder, shapes, epochs=2, batch_norm="frozen", **QUICK)
    after = state(model.encoder)
    statistics = [name for name in before if "running" in name or "num_batches" in name]
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["blocks.0.norm.weight"], after["blocks.0.norm.weight"])


def test_frozen_batch_norms_normalize_in_training_as_in_prediction(shapes, monkeypatch):
    modes, train_step = [], loop.train_step

    def watched(job, items):
        modes.append({norm.training for norm in batch_norms(job.model.encoder)})
        assert job.model.encoder.blocks[0].dropout.training
        return train_step(job, items)

    monkeypatch.setattr(loop, "train_step", watched)
    gtl.finetune(encoder_of(shapes), shapes, epochs=2, batch_norm="frozen", **QUICK)
    assert modes == [{False}] * 6


def test_a_run_is_resumed_between_the_head_and_the_encoder(shapes, tmp_path):
    options = {**QUICK, "head_first": 2, "warmup": 1, "batch_norm": "frozen"}
    gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run", **options)
    gtl.finetune(GIN, shapes, epochs=2, out=tmp_path / "run", resume=True, **options)
    more = gtl.finetune(GIN, shapes, epochs=4, out=tmp_path / "run", resume=True, **options)
    whole = gtl.finetune(GIN, shapes, epochs=4, **options)
    assert torch.equal(gtl.predict(whole, shapes), gtl.predict(more, shapes))
    assert [line["losses"] for line in whole.history] == [m["losses"] for m in more.history]


def test_an_error_while_the_head_is_trained_leaves_the_encoder_free(shapes, monkeypatch):
    def failing(job, epoch, progress):
        raise KeyboardInterrupt

    encoder = encoder_of(shapes)
    monkeypatch.setattr(loop, "train_on_batches", failing)
    with pytest.raises(KeyboardInterrupt):
        gtl.finetune(encoder, shapes, epochs=1, head_first=1, **QUICK)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"head_first": 1.5}, r"`head_first` is 1\.5, expected a whole number of epochs"),
        ({"head_first": -1}, "`head_first` is -1, expected a whole number of epochs"),
        ({"batch_norm": "frosen"}, "unknown `batch_norm` 'frosen'; did you mean 'frozen'"),
    ],
)
def test_a_wrong_setting_is_refused(option, message):
    with pytest.raises(ConfigError, match=message):
        EncoderMode(**option)
