"""Checkpoints keep nested state exactly and refuse damaged files."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gtl import checkpoint
from gtl.errors import CheckpointError


def test_nested_state_comes_back_exactly(tmp_path):
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "optimizer": optimizer.state_dict(),
        "list": [1, 2.5, None, True, "text", torch.tensor([1, 2])],
        "float": 0.1 + 0.2,
        "empty": {},
    }
    checkpoint.save(tmp_path / "a.safetensors", state)
    back = checkpoint.load(tmp_path / "a.safetensors")
    assert back["float"] == state["float"] and back["empty"] == {}
    assert back["list"][:5] == state["list"][:5]
    assert torch.equal(back["list"][5], state["list"][5])
    fresh = torch.optim.Adam(layer.parameters(), lr=0.5)
    fresh.load_state_dict(back["optimizer"])
    assert fresh.param_groups[0]["lr"] == 0.1
    for parameter in layer.parameters():
        for key, value in optimizer.state[parameter].items():
            assert torch.equal(fresh.state[parameter][key], value)


def test_tensors_that_share_memory_are_stored_apart(tmp_path):
    x = torch.arange(6.0)
    checkpoint.save(tmp_path / "a.safetensors", {"x": x, "view": x[2:4]})
    assert checkpoint.load(tmp_path / "a.safetensors")["view"].tolist() == [2.0, 3.0]


def test_a_truncated_checkpoint_is_refused_in_one_line(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.ones(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="truncated"):
        checkpoint.load(path)


def test_a_missing_checkpoint_names_the_path(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors"):
        checkpoint.load(tmp_path / "nowhere.safetensors")


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.b"):
        checkpoint.save(tmp_path / "a.safetensors", {"a": {"b": object()}})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"x": torch.ones(1)})
    with pytest.raises(CheckpointError):
        checkpoint.save(path, {"x": torch.zeros(1), "bad": {1, 2}})
    assert checkpoint.load(path)["x"].item() == 1


def test_random_state_goes_on_where_it_stopped():
    state = checkpoint.random_state()
    first = torch.rand(3)
    checkpoint.set_random_state(state)
    assert torch.equal(torch.rand(3), first)
