"""Predictions stand beside what the user's file has, one row for each of its rows."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

import gtl
from gtl.train.prediction_table import prediction_table

GIN = {"name": "gin", "width": 8, "depth": 1}


@pytest.fixture
def molecules(tmp_path):
    """A table of 42 rows, two of which are no molecules."""
    pytest.importorskip("rdkit")
    rows = [f"m{i},{'C' * (i + 1)},{(i % 2 and 'yes') or 'no'},{i / 7:.2f}" for i in range(40)]
    rows = [*rows[:3], "broken,C(((,yes,1.0", *rows[3:], "last,??,no,2.0"]
    path = tmp_path / "molecules.csv"
    path.write_text("\n".join(["id,smiles,active,logp", *rows]) + "\n")
    return path


def table_of(model, data, split="all"):
    values = gtl.predict(model, data, split)
    return prediction_table(model, data, values, data.items(split), whole=split == "all")


@pytest.mark.filterwarnings("ignore::gtl.errors.GtlWarning")
def test_every_row_of_the_file_has_a_row_and_what_could_not_be_read_is_empty(molecules):
    data = gtl.load(f"smiles:{molecules}", target="logp")
    model = gtl.finetune(GIN, data, epochs=1)
    table = table_of(model, data)
    assert list(table.columns) == ["id", "smiles", "active", "logp", "predicted logp"]
    assert len(table) == 42 and table["id"].tolist()[2:5] == ["m2", "broken", "m3"]
    empty = table["predicted logp"].isna()
    assert table["id"][empty].tolist() == ["broken", "last"]
    values = gtl.predict(model, data)[:, 0]
    assert torch.equal(torch.tensor(table["predicted logp"][~empty].to_numpy()), values)


@pytest.mark.filterwarnings("ignore::gtl.errors.GtlWarning")
def test_a_part_has_its_own_rows_only(molecules):
    data = gtl.load(f"smiles:{molecules}", target="logp")
    model = gtl.finetune(GIN, data, epochs=1)
    table = table_of(model, data, "test")
    assert table["smiles"].tolist() == [data.names[i] for i in data.split["test"].tolist()]


@pytest.mark.filterwarnings("ignore::gtl.errors.GtlWarning")
def test_a_table_of_predictions_is_predicted_again(molecules):
    model = gtl.finetune(GIN, gtl.load(f"smiles:{molecules}", target="logp"), epochs=1)
    for _ in range(2):
        table = table_of(model, gtl.load(f"smiles:{molecules}"))
        table.to_csv(molecules, index=False)
    assert list(table.columns[3:]) == ["logp", "predicted logp", "predicted logp 2"]
    again, first = (table[title].dropna().astype(float) for title in table.columns[-1:-3:-1])
    assert again.to_numpy() == pytest.approx(first.to_numpy(), rel=1e-6)


def test_classes_have_a_column_each_and_items_without_a_file_their_number(shapes):
    from dataclasses import replace

    data = replace(
        shapes, labels=torch.arange(60) % 3, kind="", metric="", class_names=("a", "b", "c")
    )
    table = table_of(gtl.finetune(GIN, data, epochs=1), data)
    assert list(table.columns) == ["item", "a", "b", "c"]
    assert table["item"].tolist() == list(range(60))
    assert table[["a", "b", "c"]].sum(axis=1).to_numpy() == pytest.approx(1)


def test_pairs_are_named_by_their_nodes(communities):
    data = gtl.data.link_dataset(communities.graph.unlabeled())
    model = gtl.finetune({"name": "gcn", "width": 8, "depth": 1}, data, epochs=1, batch_size=8)
    table = table_of(model, data, "test")
    assert list(table.columns)[:3] == ["item", "src", "dst"]
    assert isinstance(table, pd.DataFrame) and len(table) == len(data.split["test"])
