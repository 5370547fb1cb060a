"""The listing shows every part and every reader with its options."""

from __future__ import annotations

import pytest

from gtl.errors import ConfigError
from gtl.listing import listing, registries


def test_everything_is_listed_by_role():
    text = listing()
    for role, registry in registries().items():
        assert f"{role}s\n" in text
        assert all(f"  {name}" in text for name in registry.names() if ":" not in name)


def test_options_have_defaults_and_descriptions():
    lines = listing("film").splitlines()
    assert lines[0].startswith("adapter film: ")
    lines = listing("aux_ts").splitlines()
    place = next(i for i, line in enumerate(lines) if line.startswith("  refresh (default: "))
    assert lines[place + 1].strip()


def test_sizes_that_loops_supply_are_no_options():
    assert "  width" not in listing("mean") and "  schema" not in listing("gcn")


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match="did you mean 'infomax'"):
        listing("infomx")
