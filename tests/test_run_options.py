"""Words of the command line mean what they say."""

from __future__ import annotations

import pytest

from gtl.errors import ConfigError
from gtl.run_options import query_of, spelled_out


@pytest.mark.parametrize(
    "name", ["00000010", "1_0", "no", "yes", "12:30", "null", "2020-01-01", "O'Neil", "/m/0"]
)
def test_names_of_a_query_stay_as_they_are(name):
    assert query_of(f"[{name}, r, ?]") == [name, "r", "?"]
    assert query_of(f"[?,r,{name}]") == ["?", "r", name]


def test_a_query_may_have_quotes():
    assert query_of('["a", r, "?"]') == ["a", "r", "?"]
    assert query_of("['a, b', \"x?\", '?']") == ["a, b", "x?", "?"]
    assert query_of("asked.tsv") == "asked.tsv"


@pytest.mark.parametrize(
    "words", ["[a, r, ?", "[a, r]", "[a, r, b, ?]", "[[a, r, ?]]", "[why?, r, ?]", "[a: b, r, ?]"]
)
def test_what_is_no_query_is_refused_with_an_example(words):
    with pytest.raises(ConfigError, match=r"expected a head, a relation and a tail.*'\[ann, knows"):
        query_of(words)


def test_the_footprint_of_a_search_is_a_value_and_of_a_report_a_switch():
    words = ["--footprint", "seconds"]
    assert spelled_out(["search", *words]) == ["search", *words]
    assert spelled_out(["report", "--footprint", "runs"]) == ["report", "--footprint=true", "runs"]


def test_options_of_parts_are_yaml_and_those_of_data_are_text():
    words = ["finetune", "--encoder", "gin", "--encoder.width", "8", "--data.target", "010"]
    assert spelled_out(words) == [
        *("finetune", "--data", '{"target": "010"}'),
        *("--encoder", '{"name": "gin", "width": 8}'),
    ]
    words = ["finetune", "--encoder", "gin", "--encoder.width", "[8"]
    assert spelled_out(words)[2] == '{"name": "gin", "width": "[8"}'
