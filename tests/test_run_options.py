"""Words of the command line mean what they say."""

from __future__ import annotations

import json

import pytest

from gtl.errors import ConfigError
from gtl.run_options import query_of, spelled_out, with_run_config


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


RUN = {"command": "finetune", "data": "demo:shapes", "data_options": {}, "epochs": 2}


@pytest.mark.parametrize("joined", [True, False])
def test_a_config_of_a_run_may_follow_an_equals_sign(joined, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(RUN))
    words = [f"--config={path}"] if joined else ["--config", str(path)]
    found = with_run_config(["finetune", *words, "--seed", "1"])
    assert found == [
        *("finetune", "--data", '{"spec": "demo:shapes"}', "--epochs", "2", "--seed", "1")
    ]


def test_a_repeated_run_has_its_properties_and_an_encoder_that_comes_with_gtl(tmp_path):
    path = tmp_path / "config.json"
    encoder = {"name": "gin", "dropout": 0.1}
    begun = {"pretrained": "molecules", "encoder": encoder, "properties": {"descriptors": 217}}
    path.write_text(json.dumps({**RUN, **begun}))
    found = with_run_config(["finetune", "--config", str(path)])
    given = dict(zip(found[1::2], found[2::2]))
    assert json.loads(given["--encoder"]) == {"name": "molecules", "dropout": 0.1}
    assert json.loads(given["--properties"]) == ["descriptors"]
    path.write_text(json.dumps({**RUN, **begun, "properties": {}}))
    found = with_run_config(["finetune", "--config", str(path)])
    assert found[found.index("--properties") + 1] == "[]", "its defaults would be others"
