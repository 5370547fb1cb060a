"""Schedules of learning rates: their values, their place in a training, and resume."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import gtl
from gtl.errors import CheckpointError, ConfigError
from gtl.train import loop
from gtl.train.schedule import SHAPES, Schedule

GIN = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.1}
QUICK = {"batch_size": 10, "seed": 3}  # three steps an epoch


def factors(schedule, steps, epochs):
    return [schedule.factor(step, steps, epochs) for step in range(steps * epochs)]


def test_warm_up_rises_linearly_over_part_of_an_epoch_and_ends_at_the_full_rate():
    assert factors(Schedule(warmup=1.5), 2, 3) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1])


def test_cosine_falls_to_the_half_in_the_middle():
    found = factors(Schedule("cosine"), 4, 2)
    assert found[0] == 1.0
    assert found[4] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0.5 * (1 - 0.9238795), abs=1e-6)


def test_before_the_start_the_rate_is_full_and_warm_up_follows_it():
    found = factors(Schedule("linear", warmup=1, start=1), 2, 4)
    assert found == pytest.approx([1, 1, 0.5, 1, 1, 0.75, 0.5, 0.25])


@given(
    st.sampled_from(list(SHAPES)),
    st.floats(0, 5),
    st.integers(0, 3),
    st.integers(1, 5),
    st.integers(1, 8),
)
def test_factors_are_shares_that_rise_and_then_fall(shape, warmup, start, steps, epochs):
    found = factors(Schedule(shape, warmup, start), steps, epochs)[start * steps :]
    assert all(0 < factor <= 1 for factor in found)
    top = found.index(max(found)) if found else 0
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)


def test_a_constant_schedule_leaves_the_optimizer_alone():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    before = dict(optimizer.param_groups[0])
    Schedule().set_rates(optimizer, 0, 1, 1)
    assert optimizer.param_groups[0] == before


def test_parts_keep_the_ratio_of_their_rates():
    one, two = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [two], "lr": 0.01}], lr=0.1)
    for step in (0, 3, 1):  # in any order: the factor depends on the step alone
        Schedule("linear", warmup=2).set_rates(optimizer, step, 1, 4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.01])
    Schedule("linear", warmup=2).set_rates(optimizer, 0, 1, 4)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.05, 0.005])


def test_a_training_follows_the_schedule(shapes, monkeypatch):
    seen, train_step = [], loop.train_step

    def watched(job, items):
        seen.append(job.optimizer.param_groups[0]["lr"])
        return train_step(job, items)

    monkeypatch.setattr(loop, "train_step", watched)
    gtl.finetune(GIN, shapes, epochs=3, lr=0.1, warmup=1, schedule="linear", **QUICK)
    expected = [1 / 3, 2 / 3, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert seen == pytest.approx([0.1 * factor for factor in expected])


def interrupted_after(epochs, monkeypatch):
    """Let the next training fail in an epoch, as if it had been killed there."""
    original = loop.train_on_batches

    def failing(job, epoch, progress):
        if epoch == epochs:
            raise KeyboardInterrupt
        return original(job, epoch, progress)

    monkeypatch.setattr(loop, "train_on_batches", failing)
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.parametrize("auxiliary", [(), ["infomax"]])
def test_a_resumed_run_equals_one_that_was_not_interrupted(
    shapes, tmp_path, monkeypatch, auxiliary
):
    how = {"auxiliary": auxiliary, "weighting": {"name": "aux_ts", "auxiliary_weight": 0.3}}
    options = {"epochs": 4, "warmup": 1.5, "schedule": "cosine", **how, **QUICK}
    whole = gtl.finetune(GIN, shapes, **options)
    with monkeypatch.context() as patched:
        interrupted_after(2, patched)
        with pytest.raises(KeyboardInterrupt):
            gtl.finetune(GIN, shapes, out=tmp_path / "run", **options)
    resumed = gtl.finetune(GIN, shapes, out=tmp_path / "run", resume=True, **options)
    assert torch.equal(gtl.predict(whole, shapes), gtl.predict(resumed, shapes))
    values = [[line["losses"] for line in model.history] for model in (whole, resumed)]
    assert values[0] == values[1]


def test_a_warm_up_alone_may_be_resumed_with_more_epochs(shapes, tmp_path):
    options = {"warmup": 2, **QUICK}
    gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run", **options)
    more = gtl.finetune(GIN, shapes, epochs=4, out=tmp_path / "run", resume=True, **options)
    whole = gtl.finetune(GIN, shapes, epochs=4, **options)
    assert torch.equal(gtl.predict(whole, shapes), gtl.predict(more, shapes))


def test_a_decay_ends_with_its_run(shapes, tmp_path):
    options = {"schedule": "cosine", **QUICK}
    gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run", **options)
    with pytest.raises(CheckpointError, match="decay_epochs=1, now it is 2; use the same settings"):
        gtl.finetune(GIN, shapes, epochs=2, out=tmp_path / "run", resume=True, **options)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"schedule": "cosin"}, "unknown `schedule` 'cosin'; did you mean 'cosine'"),
        ({"warmup": -1}, "`warmup` is -1, expected 0 or a positive number"),
    ],
)
def test_a_wrong_setting_is_refused(shapes, tmp_path, option, message):
    with pytest.raises(ConfigError, match=message):
        gtl.finetune(GIN, shapes, epochs=1, out=tmp_path / "run", **option)
    assert not (tmp_path / "run").exists()
