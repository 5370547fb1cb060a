"""Node-level data out of the box: published accuracy without an option."""

from __future__ import annotations

import statistics

import pytest

import gtl


def accuracies(shared_data, seeds) -> list[float]:
    data = gtl.load("planetoid:cora", root=shared_data)
    return [gtl.finetune("gcn", data, seed=seed).results["test"] for seed in seeds]


def test_a_gcn_reaches_nearly_the_published_accuracy_on_cora(shared_data):
    assert statistics.mean(accuracies(shared_data, range(1))) > 0.785


@pytest.mark.slow
def test_the_mean_of_ten_seeds_is_within_a_point_of_the_published_accuracy(shared_data):
    # Kipf and Welling 2017, Table 2: 81.5
    assert statistics.mean(accuracies(shared_data, range(10))) > 0.805


def test_the_encoder_reads_the_features_itself_and_a_mapping_overrides_entry_by_entry(shared_data):
    data = gtl.load("planetoid:cora", root=shared_data)
    model = gtl.finetune({"name": "gcn", "width": 16}, data, epochs=1)
    assert model.encoder.blocks[0].conv.linear.weight.shape == (16, 1433)
    assert len(model.encoder.blocks) == 2


def test_a_node_level_run_is_loaded_as_it_was_trained(shared_data, tmp_path):
    data = gtl.load("planetoid:cora", root=shared_data)
    model = gtl.finetune("gcn", data, epochs=2, out=tmp_path / "run")
    again = gtl.Model.load(tmp_path / "run")
    assert gtl.evaluate(again, data)["acc"] == model.results["test"]
    assert again.encoder.embed.normalize


def test_an_instance_is_left_as_it_is(shared_data):
    data = gtl.load("planetoid:cora", root=shared_data)
    encoder = gtl.encoders.GCN(data.schema, width=8, depth=3)
    assert gtl.finetune(encoder, data, epochs=1).encoder is encoder
    assert len(encoder.blocks) == 3
