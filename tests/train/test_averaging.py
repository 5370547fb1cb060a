"""Averages of weights: their values, and what is validated, saved and resumed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import gtl
from gtl.errors import ConfigError
from gtl.train import loop
from gtl.train.averaging import WeightAverage

GIN = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.1}
QUICK = {"batch_size": 10, "seed": 3}


def after(values, epochs, steps_per_epoch=1):
    """Average of a single weight that takes these values."""
    model = nn.Linear(1, 1, bias=False).double()
    average = WeightAverage(model, epochs, steps_per_epoch)
    for value in values:
        nn.init.constant_(model.weight, value)
        average.update()
    with average.applied():
        return model.weight.item()


def test_it_is_a_mean_at_first():
    assert after([1.0, 2.0, 6.0], epochs=100) == pytest.approx(3.0)


def test_older_weights_fall_off_by_the_time_constant():
    old = after([1.0] * 50 + [0.0] * 6, epochs=3, steps_per_epoch=2)
    assert old == pytest.approx(math.exp(-1))


def test_where_training_began_is_forgotten_in_the_first_step():
    assert after([4.0], epochs=10) == 4.0


def test_the_block_gives_the_trained_weights_back_also_after_an_error():
    model = nn.Linear(1, 1)
    average = WeightAverage(model, 1, 1)
    nn.init.constant_(model.weight, 5.0)
    with pytest.raises(KeyboardInterrupt), average.applied():
        assert model.weight.item() != 5.0
        raise KeyboardInterrupt
    assert model.weight.item() == 5.0


def test_frozen_weights_are_left_out_and_statistics_of_batch_norms_are_averaged():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    model[1].weight.requires_grad_(False)
    average = WeightAverage(model, 100, 1)
    frozen = model[1].weight.clone()
    for mean in (1.0, 3.0):
        model[0].running_mean.fill_(mean)
        average.update()
        model[1].weight.data.add_(1.0)
    with average.applied():
        assert model[0].running_mean.tolist() == [2.0, 2.0]
        assert torch.equal(model[1].weight, frozen + 2)


def test_the_validated_and_returned_weights_are_the_average(shapes, monkeypatch):
    seen, update = [], WeightAverage.update

    def watched(self):
        update(self)
        seen.append({name: value.clone() for name, value in self._live.items()})

    monkeypatch.setattr(WeightAverage, "update", watched)
    model = gtl.finetune(GIN, shapes, epochs=2, average=1e6, **QUICK)
    steps = 3 * (model.results["epoch"] + 1)
    name = "encoder.blocks.1.conv.mlp.0.weight"
    name = name if name in seen[0] else next(iter(seen[0]))
    mean = torch.stack([step[name] for step in seen[:steps]]).mean(0)
    found = dict(model.encoder.named_parameters())[name.removeprefix("encoder.")]
    torch.testing.assert_close(found.detach(), mean)
    assert gtl.evaluate(model, shapes, "valid")["rocauc"] == model.results["valid"]


def test_training_itself_is_not_changed_by_the_average(shapes):
    plain = gtl.finetune(GIN, shapes, epochs=3, **QUICK)
    averaged = gtl.finetune(GIN, shapes, epochs=3, average=1, **QUICK)
    assert [m["losses"] for m in plain.history] == [m["losses"] for m in averaged.history]


@pytest.mark.parametrize("valid", [True, False])
def test_a_resumed_run_equals_one_that_was_not_interrupted(shapes, tmp_path, valid):
    data = shapes
    if not valid:
        split = {name: part for name, part in data.split.items() if name != "valid"}
        data = gtl.Dataset("test:other", data.graphs, labels=data.labels, split=split)
    options = {
        **QUICK,
        "average": 1.5,
        "auxiliary": ["infomax"],
        "weighting": {"name": "aux_ts", "auxiliary_weight": 0.3},
        "guard": False,
    }
    gtl.finetune(GIN, data, epochs=2, out=tmp_path / "run", **options)
    more = gtl.finetune(GIN, data, epochs=4, out=tmp_path / "run", resume=True, **options)
    whole = gtl.finetune(GIN, data, epochs=4, **options)
    assert torch.equal(gtl.predict(whole, data), gtl.predict(more, data))
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(again, data), gtl.predict(more, data))


def test_with_an_adapter_the_frozen_encoder_stays(shapes):
    run = gtl.pretrain(GIN, shapes, ["infomax"], epochs=1)
    before = {name: value.clone() for name, value in run.encoder.state_dict().items()}
    model = gtl.finetune(run, shapes, adapter="film", average=2, epochs=2, **QUICK)
    assert all(torch.equal(before[n], v) for n, v in model.encoder.base.state_dict().items())


def test_the_average_ends_a_training_by_patience(shapes, monkeypatch):
    monkeypatch.setattr(loop, "is_better", lambda value, best, metric: best is None)
    model = gtl.finetune(GIN, shapes, epochs=9, average=2, patience=2, **QUICK)
    assert len(model.history) == 3


def test_a_number_below_zero_is_refused(shapes):
    with pytest.raises(ConfigError, match="`average` is -1, expected 0 or a positive number"):
        gtl.finetune(GIN, shapes, average=-1)
