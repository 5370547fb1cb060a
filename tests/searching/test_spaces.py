"""Spaces come from the parts, are replaced by what was given, and become arguments; no Optuna."""

from __future__ import annotations

import sys

import pytest

import gtl
from gtl.catalog import ADAPTERS, ENCODERS
from gtl.errors import ConfigError, MissingDependencyError
from gtl.roles import Choice, Range
from gtl.searching.spaces import search_space


def test_parts_declare_options_that_they_have():
    declared = 0
    for registry in (ENCODERS, ADAPTERS):
        for name in registry.names():
            part = registry.get(name)
            for option in part.search_space:
                declared += 1
                assert option in part.__init__.__code__.co_varnames, f"{name}.{option}"
    assert declared >= 15


def test_options_that_were_given_are_not_searched():
    space = search_space({"name": "gin", "width": 8}, "lora", {}, "graph", {"lr": 0.1})
    assert set(space.options) == {"gin.depth", "gin.dropout", "adapter.rank", "weight_decay"}


def test_each_encoder_has_options_of_its_own():
    space = search_space(["gin", "gat"], None, {"encoder.depth": [3], "lr": None}, "node", {})
    assert space.options["gin.depth"] == space.options["gat.depth"] == Choice((3,))
    assert set(space.keys("gat")) == {"gat.width", "gat.depth", "gat.dropout", "weight_decay"}
    chosen = {"encoder": "gat", "gat.width": 8, "gat.depth": 3, "weight_decay": 0.1}
    assert space.arguments(chosen) == {
        "encoder": {"name": "gat", "width": 8, "depth": 3},
        "adapter": None,
        "weight_decay": 0.1,
    }


def test_an_argument_of_several_parts_may_be_searched_part_by_part():
    first = {"low": 1e-5, "high": 1e-2, "log": True}
    space = search_space("gin", "lora", {"weight_decay.first": first}, "graph", {})
    assert "weight_decay" not in space.options
    assert space.options["weight_decay.first"] == Range(1e-5, 1e-2, log=True)
    found = space.arguments({"weight_decay.first": 0.1, "adapter.rank": 2, "gin.width": 16})
    assert found["weight_decay"] == {"first": 0.1}
    assert found["adapter"] == {"name": "lora", "rank": 2}
    assert found["encoder"] == {"name": "gin", "width": 16}


def test_a_folder_is_an_encoder_without_options():
    assert set(search_space("runs/drugs", None, {}, "graph", {}).options) == {"lr", "weight_decay"}


def test_an_encoder_named_twice_is_refused():
    with pytest.raises(ConfigError, match="names one of gin twice"):
        search_space(["gin", {"name": "gin", "width": 8}], None, {}, "graph", {})


def test_without_optuna_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"graph-transfer\[search\]"):
        gtl.search("gin", gtl.load("demo:shapes"), trials=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("adapter", "what"), [(None, "none"), ([], "none"), (["film", "parallel"], "a list")]
)
def test_options_of_an_adapter_need_one(adapter, what):
    with pytest.raises(ConfigError, match=f"'adapter.hidden', but `adapter` is {what}; name one"):
        search_space("gin", adapter, {"adapter.hidden": [1]}, "graph", {})
