"""find: from here first, then in the root, and a refusal that says where it was looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from gtl.data.find import find
from gtl.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "root" / "more").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "root"


def test_what_is_here_comes_before_the_root_and_the_first_place_before_the_second(root):
    (root / "more" / "a").touch()
    assert find("x:a", root, ("a", "more/a"), "put it there") == root / "more" / "a"
    (root / "a").touch()
    assert find("x:a", root, ("a", "more/a"), "put it there") == root / "a"
    Path("a").touch()
    assert find("x:a", root, ("a", "more/a"), "put it there") == Path("a")


def test_what_does_not_fit_is_passed_over(root):
    (root / "a").touch()
    assert find("x:a", root, ("a", "more"), "put it there", Path.is_dir) == root / "more"


def test_a_refusal_says_where_it_was_looked_for_and_what_to_do(root):
    with pytest.raises(DataError, match=r"x:a: there is no a or more/a here or in .*; put it ther"):
        find("x:a", root, ("a", "more/a"), "put it there")
    with pytest.raises(ConfigError, match=r"x:a is not here .*give root \(--root\) or set GTL_DAT"):
        find("x:a", None, ("a", "more/a"), "put it there")
