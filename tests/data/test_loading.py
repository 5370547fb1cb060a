"""load: the scheme decides who reads, and what is misspelled is put right."""

from __future__ import annotations

import pytest

import gtl
from gtl.errors import ConfigError, DataError


def test_a_spec_is_read_by_its_scheme():
    assert gtl.load("demo:shapes").spec == "demo:shapes"


def test_an_unknown_scheme_offers_the_nearest_and_the_list():
    with pytest.raises(DataError, match=r"did you mean 'smiles'.*ogb, smiles, planetoid, .*demo"):
        gtl.load("smile:molecules.csv")


@pytest.mark.parametrize("spec", ["molecules.csv", "ogb:", ""])
def test_a_spec_without_scheme_or_name_is_refused(spec):
    with pytest.raises(DataError, match="has no scheme before a colon"):
        gtl.load(spec)


def test_an_option_of_another_scheme_is_refused_naming_the_known_ones():
    with pytest.raises(ConfigError, match=r"smiles: has no option 'targets'.*'target'.*on_invalid"):
        gtl.load("smiles:nowhere.csv", targets="y")
    with pytest.raises(ConfigError, match="demo: has no option 'target'; known: none"):
        gtl.load("demo:shapes", target="y")


def test_the_root_comes_from_the_environment_if_not_given(tmp_path, monkeypatch):
    (tmp_path / "molecules.csv").write_text("smiles\nCC\n")
    monkeypatch.setenv("GTL_DATA", str(tmp_path))
    assert len(gtl.load("smiles:molecules.csv")) == 1


@pytest.mark.parametrize(
    "spec",
    ["ogb:ogbg-molbace", "planetoid:cora", "npz:photo", "tu:MUTAG", "mat:acmv9", "typed:acm"],
)
def test_named_data_without_a_root_asks_for_one(spec, monkeypatch):
    monkeypatch.delenv("GTL_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"give root .* or set GTL_DATA"):
        gtl.load(spec)
