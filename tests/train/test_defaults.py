"""What fine-tuning uses where nothing is given."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl.catalog import ENCODERS
from gtl.encoders.gcn import GCNConvolution, GCNSum
from gtl.graph import Columns, Schema
from gtl.train.defaults import (
    encoder_defaults,
    training_defaults,
    training_settings,
    with_defaults,
)

WORDS, VALUES = torch.ones(3, 5), -torch.ones(3, 5)
CODES = torch.ones(3, 2, dtype=torch.int64)


@pytest.mark.parametrize("level", ["graph", "edge"])
def test_graphs_and_links_are_trained_as_before(level):
    expected = {"lr": 1e-3, "epochs": 50, "weight_decay": 0.0, "patience": 0}
    assert training_defaults(level, "gcn") == expected
    assert with_defaults("gin", level, WORDS) == "gin"


def test_nodes_are_trained_longer_with_weight_decay_on_the_first_layer_until_no_better():
    settings = training_defaults("node", "gcn")
    assert settings["weight_decay"] == {"first": 5e-4}
    assert settings["epochs"] > settings["patience"] > 0


def test_what_is_given_goes_before_the_default_even_if_it_is_zero():
    given = {"lr": 0.5, "epochs": None, "weight_decay": 0.0, "patience": 0}
    settings = training_settings("node", "gcn", given)
    assert (settings["lr"], settings["weight_decay"], settings["patience"]) == (0.5, 0.0, 0)
    assert settings["epochs"] == training_defaults("node", "gcn")["epochs"]


def test_changing_what_is_returned_changes_no_default():
    training_defaults("node", "gcn")["weight_decay"]["first"] = 1.0
    encoder_defaults("node", "gcn")["width"] = 1
    assert training_defaults("node", "gcn")["weight_decay"] == {"first": 5e-4}
    assert encoder_defaults("node", "gcn")["width"] == 64


def test_floating_features_are_read_by_the_first_layer_and_counts_are_normalized():
    words, values = (encoder_defaults("node", "gcn", x) for x in (WORDS, VALUES))
    assert (words["embedding"], words["normalize_features"]) == (None, "l2")
    assert (values["embedding"], values["normalize_features"]) == (None, False)


@pytest.mark.parametrize("x", [None, CODES])
def test_categories_and_nodes_without_features_keep_their_embedding(x):
    assert "embedding" not in encoder_defaults("node", "gcn", x)


def test_options_of_a_mapping_go_before_the_defaults_one_by_one():
    options = with_defaults({"name": "sage", "width": 16, "norm": "layer"}, "node", WORDS)
    assert (options["width"], options["norm"], options["depth"]) == (16, "layer", 2)
    learned = with_defaults({"name": "gcn", "embedding": "learned"}, "node", WORDS)
    assert learned["embedding"] == "learned" and "normalize_features" not in learned


@pytest.mark.parametrize("encoder", ["rgcn", {"name": "hgt", "width": 8}, "runs/a", object()])
def test_other_encoders_runs_and_instances_are_left_alone(encoder):
    assert with_defaults(encoder, "node", WORDS) is encoder


@pytest.mark.parametrize("name", ["gcn", "sage", "gat", "gin"])
@pytest.mark.parametrize("x", [None, WORDS, CODES])
def test_each_default_builds_an_encoder(name, x):
    schema = Schema(Columns.of(x))
    assert ENCODERS.build(with_defaults(name, "node", x), schema).width == 64


def test_pre_training_and_what_goes_on_from_it_have_the_settings_of_the_level(
    communities, tmp_path
):
    run = gtl.pretrain("gcn", communities, "infomax", epochs=1, out=tmp_path / "pre")
    assert len(run.encoder.blocks) == 2 and run.encoder.width == 64
    assert json.loads((tmp_path / "pre" / "config.json").read_text())["lr"] == 1e-2
    gtl.finetune(run, communities, epochs=1, out=tmp_path / "fine")
    config = json.loads((tmp_path / "fine" / "config.json").read_text())
    assert config["lr"] == 1e-2 and config["patience"] == 100


def test_the_last_layer_of_a_gcn_leaves_its_matrix_to_a_head_that_is_trained_with_it():
    assert with_defaults("gcn", "node")["last_linear"] is False
    assert "last_linear" not in with_defaults("gcn", "node", head=False)
    assert "last_linear" not in with_defaults({"name": "gcn", "depth": 1}, "node")
    assert with_defaults({"name": "gcn", "last_linear": True}, "node")["last_linear"] is True
    assert "last_linear" not in with_defaults("sage", "node")


def test_a_gcn_given_by_name_ends_in_a_sum_where_it_is_trained_for_a_target_alone(communities):
    model = gtl.finetune("gcn", communities, epochs=1)
    run = gtl.pretrain("gcn", communities, "infomax", epochs=1)
    assert [type(m.encoder.blocks[-1].conv) for m in (model, run)] == [GCNSum, GCNConvolution]
