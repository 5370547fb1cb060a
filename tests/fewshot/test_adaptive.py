"""Few-shot methods that change the encoder: what they see, and that they leave no trace."""

from __future__ import annotations

import copy

import pytest
import torch

import gtl
from gtl.errors import ConfigError

GCN = {"name": "gcn", "width": 16, "depth": 2}
METHODS = {
    "prototype": "prototype",
    "FiT, nothing trained": {"name": "fit", "head": "prototype", "episodes": 0},
    "FiT, LDA": {"name": "fit", "episodes": 2},
    "FiT, QDA": {"name": "fit", "head": {"name": "gaussian", "kind": "qda"}, "episodes": 2},
    "fine-tuned": {"name": "finetune", "epochs": 2},
}


@pytest.fixture
def trained(communities):
    return gtl.pretrain(GCN, communities.graph, ["infomax"], epochs=3, lr=0.01).encoder


def test_they_answer_for_the_same_queries_and_leave_the_encoder_alone(communities, trained) -> None:
    before = copy.deepcopy(trained.state_dict())
    found = gtl.few_shot(communities, METHODS, encoder=trained, shots=[2], splits=2, scaling="none")
    again = gtl.few_shot(
        communities, {"FiT, LDA": METHODS["FiT, LDA"]}, encoder=trained, shots=[2], splits=2
    )
    for title in METHODS:
        assert len(found.values[title][2]["top1"]) == 2
    plain, nothing = (found.values[title][2]["top1"] for title in list(METHODS)[:2])
    assert plain == nothing  # without a step the encoder's own features are compared
    assert again.values["FiT, LDA"] == found.values["FiT, LDA"]
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert all(p.requires_grad for p in trained.parameters())


def test_base_and_novel_classes_are_learned_together(communities, trained) -> None:
    found = gtl.few_shot(
        communities,
        [METHODS["FiT, LDA"], METHODS["fine-tuned"]],
        encoder=trained,
        protocol="base_novel",
        novel=[1, 2],
        shots=[1],
        splits=1,
    )
    for by_shots in found.values.values():
        assert 0 <= by_shots[1]["all_top1"][0] <= 1


@pytest.mark.parametrize("name", ["fit", "finetune"])
def test_given_features_have_no_encoder_to_change(name) -> None:
    data = torch.randn(30, 5), torch.arange(30) % 3
    with pytest.raises(ConfigError, match=f"the method {name!r} changes the encoder and needs one"):
        gtl.few_shot(data, name, shots=[1], splits=1)


def test_columns_of_labels_are_refused(shapes) -> None:
    encoder = {"name": "gin", "width": 8, "depth": 1}
    with pytest.raises(ConfigError, match="needs one class an item"):
        gtl.few_shot(shapes, "fit", encoder=encoder, shots=[1], splits=1)
