"""Groups of parameters with learning rates and weight decays of their own."""

from __future__ import annotations

import pytest
import torch

from gtl.catalog import HEADS
from gtl.encoders import GCN, GIN
from gtl.errors import ConfigError
from gtl.graph import Columns, Schema
from gtl.tasks import Supervised
from gtl.train.model import Predictor
from gtl.train.optimizers import build_optimizer
from gtl.train.step import TaskModel


def model_of(encoder) -> TaskModel:
    predictor = Predictor(HEADS.build("linear", encoder.width, 3))
    task = Supervised(predictor, kind="multiclass", outputs=3)
    task.setup(encoder.schema, encoder.width)
    return TaskModel(encoder, {"supervised": task})


def decays(model: TaskModel, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    by_id = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    return {name: by_id[id(p)] for name, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def model() -> TaskModel:
    return model_of(GCN(Schema(Columns(width=5)), width=4, depth=2, embedding=None))


def test_one_number_is_the_weight_decay_of_everything(model):
    optimizer = build_optimizer(model, "adam", 0.1, 0.25)
    assert set(decays(model, optimizer).values()) == {0.25}


def test_the_first_layer_alone_decays(model):
    optimizer = build_optimizer(model, "adam", 0.1, {"first": 0.25})
    found = decays(model, optimizer)
    assert {n for n, decay in found.items() if decay} == {
        name for name in found if name.startswith("encoder.blocks.0.")
    }
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


def test_a_learned_embedding_is_the_first_layer_where_there_is_one():
    model = model_of(GIN(Schema(Columns((3, 2))), width=4, depth=2))
    found = decays(model, build_optimizer(model, "adam", 0.1, {"first": 0.25}))
    assert [name for name, decay in found.items() if decay] == ["encoder.embed.table"]


def test_parts_have_weight_decays_and_rates_side_by_side(model):
    optimizer = build_optimizer(
        model, "sgd", 0.1, {"first": 0.5, "head": 0.25, "encoder": 0.125}, {"head": 0.01}
    )
    found = decays(model, optimizer)
    assert found["encoder.blocks.0.conv.linear.weight"] == 0.5
    assert found["encoder.blocks.1.conv.linear.weight"] == 0.125
    heads = [group for group in optimizer.param_groups if group["lr"] == 0.01]
    assert [group["weight_decay"] for group in heads] == [0.25]


def test_a_frozen_first_layer_has_nothing_to_decay(model):
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    found = decays(model, build_optimizer(model, "adam", 0.1, {"first": 0.25}))
    assert set(found.values()) == {0.0}


def test_weight_decay_moves_the_first_layer_where_the_gradient_is_zero(model):
    optimizer = build_optimizer(model, "sgd", 0.1, {"first": 0.5})
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        share = 0.95 if name.startswith("encoder.blocks.0.") else 1.0
        torch.testing.assert_close(parameter.detach(), share * before[name])


@pytest.mark.parametrize(
    ("decay", "message"),
    [
        ({"third": 0.1}, "`weight_decay` names 'third'.*parts: encoder, head, first"),
        ({"head": -1.0}, "the weight decay of 'head' is -1.0, expected 0 or more"),
        (-1.0, "`weight_decay` is -1.0, expected 0 or more"),
    ],
)
def test_a_weight_decay_of_no_part_or_below_zero_is_refused(model, decay, message):
    with pytest.raises(ConfigError, match=message):
        build_optimizer(model, "adam", 0.1, decay)
