"""WordNet's nouns: a small file made here, the real hierarchy written in its format, bad lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gtl.data import CategoryGraph
from gtl.data.hierarchy import read_hypernyms
from gtl.data.readers.wordnet import read_wordnet
from gtl.errors import DataError

SMALL = [
    ("00000001", [], "entity"),
    ("00000002", [("@", "00000001"), ("~", "00000003")], "animal"),
    ("00000003", [("@", "00000002"), ("!", "00000001")], "cat 0 true_cat"),
    ("00000004", [("@", "00000002"), ("@i", "00000005")], "Laika"),
    ("00000005", [("@", "00000001")], "traveler"),
    ("00000006", [("@", "00000001")], "stone"),
]


def write(folder: Path, synsets) -> Path:
    """A data.noun: licence first, then a line per synset, words counted in base 16."""
    lines = ["  1 This software and database is being provided to you  "]
    for offset, pointers, words in synsets:
        words = words.split()[::2]
        told = " ".join(f"{word} 0" for word in words)
        marks = "".join(f" {kind} {other} n 0000" for kind, other in pointers)
        lines.append(
            f"{offset} 03 n {len(words):02x} {told} {len(pointers):03d}{marks} | a gloss | @ more  "
        )
    file = folder / "data.noun"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_links_lead_from_the_classes_up_to_the_root(tmp_path) -> None:
    assert read_wordnet(write(tmp_path, SMALL), ["n00000003", "n00000004"]) == [
        ("n00000002", "n00000001"),
        ("n00000003", "n00000002"),
        ("n00000004", "n00000002"),
        ("n00000004", "n00000005"),
        ("n00000005", "n00000001"),
    ]


def test_words_are_counted_in_base_16(tmp_path) -> None:
    many = " 0 ".join(f"name{i}" for i in range(17))
    file = write(tmp_path, [*SMALL[:1], ("00000007", [("@", "00000001")], many)])
    assert " 11 name0 0 " in file.read_text()
    assert read_wordnet(file, ["n00000007"]) == [("n00000007", "n00000001")]


def test_a_graph_of_its_classes(tmp_path) -> None:
    names = ["n00000003", "n00000004", "n00000006"]
    graph = CategoryGraph.from_wordnet(names, write(tmp_path, SMALL))
    assert graph.dense().tolist() == [[0, 0.5, 0.25], [0.5, 0, 0.25], [0.25, 0.25, 0]]
    assert graph.names == tuple(names)


def test_the_hierarchy_of_imagenet_in_that_format_is_the_same_graph(tmp_path, shared_data) -> None:
    folder = shared_data / "wordnet-imagenet"
    files = folder / "classes.tsv", folder / "hypernym_edges.tsv"
    classes, pairs = read_hypernyms(*files)
    above: dict[str, list] = {name: [] for pair in pairs for name in pair}
    for child, parent in pairs:
        above[child].append(("@", parent[1:]))
    file = write(tmp_path, [(name[1:], up, "thing 0") for name, up in sorted(above.items())])
    assert sorted(pairs) == read_wordnet(file, classes)
    one, two = CategoryGraph.from_wordnet(classes, file), CategoryGraph.from_hypernym_files(*files)
    for name in ("src", "dst", "weight"):
        assert torch.equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize(
    "line",
    ["something else", "00000002 03 n 01 cat 0 001 @ 00000001", "2 03 n 01 cat 0 000 | gloss"],
)
def test_a_line_that_is_no_synset_is_named(tmp_path, line) -> None:
    file = write(tmp_path, SMALL[:1])
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(DataError, match=r"data\.noun, line 3 is no synset of WordNet"):
        read_wordnet(file, ["n00000001"])


def test_what_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_wordnet(tmp_path / "data.noun", [])
    with pytest.raises(DataError, match=r"no synset n00000008 \(1 of 2 classes\)"):
        read_wordnet(write(tmp_path, SMALL), ["n00000001", "n00000008"])
