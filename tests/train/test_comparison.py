"""A comparison chooses by validation data alone and says what the choice was worth."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest
import torch

import gtl
from gtl.errors import CheckpointError, ConfigError, DataError
from gtl.train.comparison import BOTH, FOREST, HELPED, PROBE, PROCESS, TUNED
from gtl.train.repeated import choose, corrected, redivided

SMALL = {"name": "gin", "width": 8, "depth": 1}
FAST = {"epochs": 1, "repeats": 2, "auxiliary": ["infomax"]}


def test_a_division_keeps_test_items_sizes_and_shares(shapes):
    assert redivided(shapes, 0, 0) is shapes
    seen = set()
    for number in (1, 2, 3):
        other = redivided(shapes, 0, number)
        assert torch.equal(other.split["test"], shapes.split["test"])
        pool = torch.cat([other.split["train"], other.split["valid"]]).sort().values
        given = torch.cat([shapes.split["train"], shapes.split["valid"]]).sort().values
        assert torch.equal(pool, given)
        assert len(other.split["valid"]) == len(shapes.split["valid"])
        share = shapes.labels[pool].mean()
        assert abs(other.labels[other.split["valid"]].mean() - share) < 0.05
        assert torch.equal(redivided(shapes, 0, number).split["valid"], other.split["valid"])
        seen.add(tuple(other.split["valid"].tolist()))
    assert len(seen) == 3


def test_a_metric_that_no_division_defines_is_named(shapes):
    labels = shapes.labels.clone()
    labels[shapes.split["train"]] = 0.0
    labels[shapes.split["valid"]] = 0.0
    with pytest.raises(DataError, match="undefined on 50 random"):
        redivided(replace(shapes, labels=labels), 0, 1)


def test_the_interval_is_wider_by_what_divisions_share():
    values, reference = [3.0, 5.0, 4.0], [1.0, 2.0, 3.0]
    alone, found = corrected(values, reference, 0.0), corrected(values, reference, 0.5)
    assert alone.mean == found.mean == 2.0
    assert alone.high - alone.mean == pytest.approx(4.302653 * (1 / 3) ** 0.5)  # std of the gaps 1
    assert found.high - found.mean == pytest.approx(4.302653 * (1 / 3 + 0.5) ** 0.5)
    assert corrected([1.0], [0.5], 0.2).low is None
    assert corrected([1.0, 1.0], [1.0, 1.0], 0.2).p == 1.0


def test_the_choice_is_the_best_mean_unless_the_preferred_one_is_as_good():
    values = {"a": [0.9, 0.8], "blend": [0.8, 0.7]}
    assert choose(values, "acc", "blend", 0.2) == "a"
    assert choose(values, "rmse", "blend", 0.2) == "blend"
    assert choose({**values, "blend": [0.7, 0.95]}, "acc", "blend", 0.2) == "blend"
    assert choose({"a": [0.9], "blend": [0.89]}, "acc", "blend", 0.2) == "a"
    assert choose({"a": [0.9], "b": [0.91]}, "acc", "blend", 0.2) == "b"


def test_a_comparison_is_stored_and_predicts_with_the_chosen_method(shapes, tmp_path):
    made = gtl.compare(SMALL, shapes, **FAST, out=tmp_path / "a")
    results = json.loads((tmp_path / "a" / "results.json").read_text())
    assert list(results["methods"]) == [PROBE, TUNED, HELPED, "blend"]
    means = {n: statistics.fmean(m["valid"]) for n, m in results["methods"].items()}
    candidates = results["selection"]["candidates"]
    assert {n: e["valid"] for n, e in candidates.items()} == pytest.approx(means)
    assert made.selected in ("blend", max(means, key=means.get))
    assert results["test"] == statistics.fmean(results["methods"][made.selected]["test"])
    first = results["methods"][made.selected]["test"][0]
    assert gtl.evaluate(tmp_path / "a", shapes)["rocauc"] == pytest.approx(first)
    chosen = tmp_path / "a" / "methods" / made.selected.replace(" ", "-") / "0"
    values = gtl.predict(made, shapes)
    for other in (gtl.load_run(tmp_path / "a"), chosen):
        assert torch.equal(gtl.predict(other, shapes), values)
    assert str(made) + "\n" == (tmp_path / "a" / "table.txt").read_text()
    assert f"* {made.selected}" in str(made) and "±" in str(made)
    again = gtl.compare(SMALL, shapes, **FAST, out=tmp_path / "a", resume=True)
    assert again.results["methods"].keys() == made.results["methods"].keys()
    for name, method in made.results["methods"].items():
        assert again.results["methods"][name]["test"] == method["test"]


def test_the_choice_does_not_depend_on_test_labels(shapes):
    labels = shapes.labels.clone()
    labels[shapes.split["test"]] = 1 - labels[shapes.split["test"]]
    options = {**FAST, "methods": [PROBE, TUNED]}
    a = gtl.compare(SMALL, shapes, **options).results
    b = gtl.compare(SMALL, replace(shapes, labels=labels), **options).results
    assert a["selection"] == b["selection"]
    assert all(a["methods"][n]["test"] != b["methods"][n]["test"] for n in a["methods"])


def test_molecules_have_forests_and_a_gaussian_process():
    pytest.importorskip("rdkit")
    rows = [f"{s}{'C' * n}" for n in range(10) for s in ("CCO", "C1CCN1", "c1ccccc1", "CC(=O)O")]
    data = gtl.Dataset.from_graphs(rows, labels=[float("1" in row) for row in rows])
    found = gtl.compare(SMALL, data, repeats=1, methods=[FOREST, BOTH, PROCESS])
    assert found.results["reference"] == BOTH
    assert found.results["test"] > 0.9
    values = gtl.predict(found, ["CCCCO", "c1ccccc1CC"])
    assert values[0] < 0.5 < values[1]


def test_nodes_have_propagated_features_and_labels(communities):
    methods = ["SGC", "label propagation", "linear solutions"]
    found = gtl.compare({"name": "gcn", "width": 8}, communities, repeats=2, methods=methods)
    assert list(found.results["methods"]) == methods
    assert found.results["test"] > 0.5


def test_unusable_comparisons_are_refused(shapes, communities, tmp_path):
    with pytest.raises(ConfigError, match="unknown method 'fine-tunin'"):
        gtl.compare(SMALL, shapes, methods=["fine-tunin"])
    with pytest.raises(ConfigError, match="at least two"):
        gtl.compare(SMALL, shapes, methods=["blend", "probe"])
    with pytest.raises(ConfigError, match="`repeats` is 0"):
        gtl.compare(SMALL, shapes, repeats=0)
    with pytest.raises(DataError, match="test"):
        gtl.compare(SMALL, replace(shapes, split={**shapes.split, "test": torch.arange(0)}))
    gtl.probe(SMALL, shapes, model={"name": "linear", "strength": 1.0}, out=tmp_path / "a")
    with pytest.raises(CheckpointError, match="not a comparison"):
        gtl.train.comparison.Comparison.load(tmp_path / "a")


RINGS = ("c1ccccc1", "C1CCCC1", "C1CCNCC1", "c1ccncc1", "c1ccoc1", "C1CCOC1", "C1CC1", "c1ccsc1")


@pytest.fixture(scope="module")
def scaffolds_of_rings():
    """Eight ring systems with ten substituents each, divided by scaffold."""
    smiles = ["C" * length + ring for ring in RINGS for length in range(1, 11)]
    labels = torch.rand(len(smiles), 1, generator=torch.Generator().manual_seed(0))
    split = {
        "train": torch.arange(50),
        "valid": torch.arange(50, 70),
        "test": torch.arange(70, 80),
    }
    data = gtl.Dataset.from_graphs(smiles, labels.numpy(), spec="rings")
    return replace(data, split=split)


def test_parts_that_share_no_scaffold_are_divided_by_scaffold(scaffolds_of_rings):
    data, seen = scaffolds_of_rings, set()
    for number in range(1, 6):
        other = redivided(data, 0, number)
        assert torch.equal(other.split["test"], data.split["test"])
        together = torch.cat([other.split["train"], other.split["valid"]]).sort().values
        assert torch.equal(together, torch.arange(70))
        rings = {part: set((other.split[part] // 10).tolist()) for part in ("train", "valid")}
        assert not rings["train"] & rings["valid"]
        assert len(rings["valid"]) == 2
        seen.add(tuple(sorted(rings["valid"])))
    assert len(seen) > 1


def test_parts_that_share_scaffolds_are_divided_at_random(scaffolds_of_rings):
    data = scaffolds_of_rings
    mixed = {"train": torch.arange(0, 70, 2), "valid": torch.arange(1, 70, 2)}
    data = replace(data, split={**data.split, **mixed})
    other = redivided(data, 0, 1)
    rings = [set((other.split[part] // 10).tolist()) for part in ("train", "valid")]
    assert rings[0] & rings[1]
    assert len(other.split["valid"]) == len(mixed["valid"])


@pytest.mark.parametrize("kind", ["regression", "binary"])
def test_copies_of_a_molecule_are_in_one_part_of_every_division(kind):
    pytest.importorskip("rdkit")
    smiles = ["C" * i + "O" for i in range(1, 31)] + ["O" + "C" * i for i in range(1, 31)]
    labels = torch.arange(60) % 30 / 7
    labels = (labels > 2).long() if kind == "binary" else labels
    data = gtl.Dataset.from_graphs(smiles, labels.numpy())
    for number in range(3):
        split = redivided(data, 0, number).split
        own = {part: set((items % 30).tolist()) for part, items in split.items()}
        assert not own["train"] & own["valid"] and len(split["valid"]) == 6
        assert len(split["train"]) == 48


def test_names_that_are_no_smiles_do_not_hinder_a_division(scaffolds_of_rings):
    data = scaffolds_of_rings
    names = tuple(f"compound {i}" for i in range(len(data)))
    double = data.graphs.subset(torch.arange(len(data)) // 2)
    other = redivided(replace(data, graphs=double, names=names), 0, 1)
    assert len(other.split["valid"]) == len(data.split["valid"])


def test_molecules_have_tasks_of_chemistry_by_default(scaffolds_of_rings, tmp_path):
    gtl.compare(
        SMALL, scaffolds_of_rings, epochs=1, repeats=1, methods=[PROBE, HELPED], out=tmp_path / "a"
    )
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["auxiliary"] == ["descriptors", "fingerprint", "attribute_masking"]
