"""Options of readers keep text as it was written and have the types that readers declare."""

from __future__ import annotations

import json

import pytest

from gtl import cli
from gtl.errors import ConfigError
from gtl.reader_options import text_value, typed_options

NAMES = ("C", "CC", "CCC", "CCCC", "CO", "CCO", "CN", "CCN", "CS", "CCS")


@pytest.mark.parametrize("word", ["010", "411", "on", "12:30", "a: b", "1_0", "[a", "{a}", "a,b"])
def test_a_word_is_text_whatever_yaml_makes_of_it(word):
    assert text_value(word) == word


def test_lists_quotes_and_null_are_those_of_yaml():
    assert text_value("[yes, no, 010]") == ["yes", "no", "010"]
    assert text_value('["a, b"]') == ["a, b"]
    assert text_value("'411'") == "411"
    assert text_value("null") is None and text_value("") is None


def test_columns_and_classes_may_be_called_like_numbers_and_truth_values(tmp_path):
    pytest.importorskip("rdkit")
    table = tmp_path / "a.csv"
    rows = [f"{name},{('no', 'yes')[i % 2]},{i}.5" for i, name in enumerate(NAMES)]
    table.write_text("\n".join(["smiles,on,010", *rows]) + "\n")
    words = cli._spelled_out(
        ["finetune", "--data", f"smiles:{table}", "--data.target", "on", "--data.classes=[yes, no]"]
    )
    data = cli.read(cli._parser().parse_args(words)["finetune"]["data"])
    assert data.label_names == ("on",) and data.labels[:2, 0].tolist() == [1, 0]
    words = cli._spelled_out(["probe", "--data", f"smiles:{table}", "--data.target", "010"])
    data = cli.read(json.loads(words[2]))
    assert data.label_names == ("010",) and data.kind == "regression"


def test_other_options_have_their_types():
    given = {
        "seed": "3",
        "target": "411",
        "folds": "3",
        "fold": 0,
        "stratify": "true",
        "fractions": "[1, 0, 0]",
    }
    expected = {
        "seed": 3,
        "target": "411",
        "folds": 3,
        "fold": 0,
        "stratify": True,
        "fractions": [1, 0, 0],
    }
    assert typed_options("smiles:a.csv", given) == expected


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("target", 411, r"`target` has 411 \(int\), expected text; put quotes around it"),
        ("classes", [True, "no"], r"`classes` has True \(bool\), .* or give it as --data.classes"),
        ("classes", "yes", r"`classes` is 'yes', expected a list or nothing; see: gtl list smiles"),
        ("smiles_column", None, r"`smiles_column` is None, expected text"),
        ("folds", "many", r"folds"),
    ],
)
def test_another_type_is_refused_with_the_remedy(option, value, message):
    with pytest.raises(ConfigError, match=message):
        typed_options("smiles:a.csv", {option: value})
