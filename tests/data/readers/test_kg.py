"""Files of triples: names survive, and what is wrong is said with its line and the remedy."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gtl
from gtl.data.readers.kg import load_kg, sorted_names
from gtl.errors import ConfigError, DataError

# Everything but what ends a field, NUL (no text), halves of characters, and the order mark.
SIGNS = st.characters(exclude_characters="\t\n\r\0\ufeff", exclude_categories=("Cs",))
NAME = st.text(SIGNS, min_size=1, max_size=8)
ODD = ["New York", '"quoted"', "it's", "Ω\u2028line", "\x0b\x1c", " lead", "trail ", "#1", "a,b"]
PLAIN = "a\tlikes\tb\nb\tlikes\tc\nc\thates\ta\n"


def write(folder, **parts):
    folder.mkdir(exist_ok=True)
    for name, text in parts.items():
        (folder / f"{name}.txt").write_bytes(text.encode("utf-8"))
    return folder


def named(data, part="train"):
    rows = data.triples[data.split[part]].tolist()
    names = data.vocabulary
    return [(names.entities[h], names.relations[r], names.entities[t]) for h, r, t in rows]


@given(st.lists(st.tuples(NAME, NAME, NAME), min_size=1, max_size=12, unique=True))
@settings(deadline=None, max_examples=80)
def test_names_come_back_as_they_were_written(tmp_path_factory, triples):
    text = "".join("\t".join(row) + "\n" for row in triples)
    folder = write(tmp_path_factory.mktemp("kg"), train=text)
    assert named(load_kg(str(folder), None, header=False)) == triples


def test_odd_names_survive_beside_ends_of_lines_of_either_kind(tmp_path):
    triples = [(a, "r e l", b) for a, b in zip(ODD, reversed(ODD))]
    for end in ("\n", "\r\n"):
        folder = write(tmp_path / repr(end), train=end.join("\t".join(row) for row in triples))
        assert named(load_kg(str(folder), None)) == triples


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip), (".bz2", bz2), (".xz", lzma)])
def test_compressed_files_are_read(tmp_path, ending, pack):
    (tmp_path / f"train.tsv{ending}").write_bytes(pack.compress(PLAIN.encode()))
    assert len(load_kg(str(tmp_path), None)) == 3


def test_spaces_separate_where_no_line_has_a_tab_and_commas_where_asked(tmp_path):
    spaces = write(tmp_path / "a", train=PLAIN.replace("\t", "  "))
    commas = write(tmp_path / "b", train=PLAIN.replace("\t", ","))
    expected = named(load_kg(str(write(tmp_path / "c", train=PLAIN)), None))
    assert named(load_kg(str(spaces), None)) == expected
    assert named(load_kg(str(commas), None, separator="comma")) == expected


def test_titles_are_known_by_their_words_and_give_the_order_of_columns(tmp_path):
    folder = write(tmp_path, train="Subject\tObject\tPredicate\na\tb\tlikes\n")
    assert named(load_kg(str(folder), None)) == [("a", "likes", "b")]
    assert len(load_kg(str(folder), None, header=False)) == 2
    other = write(tmp_path / "x", train="von\twie\tnach\na\tlikes\tb\n")
    assert named(load_kg(str(other), None, header=True)) == [("a", "likes", "b")]
    turned = write(tmp_path / "y", train="a\tb\tlikes\n")
    assert named(load_kg(str(turned), None, columns="htr")) == [("a", "likes", "b")]


@pytest.mark.parametrize(
    "order", ["head relation tail", "relation head tail", "tail relation head", "rel dst src"]
)
def test_titles_may_stand_in_any_order_and_are_logged(tmp_path, caplog, order):
    parts = {"head": "a", "relation": "likes", "tail": "b", "rel": "likes", "dst": "b", "src": "a"}
    row = "\t".join(parts[word] for word in order.split())
    folder = write(tmp_path, train="\t".join(order.split()) + f"\n{row}\n")
    with caplog.at_level("INFO"):
        assert named(load_kg(str(folder), None)) == [("a", "likes", "b")]
    assert f"titles in the first line: {order} (header=False: a triple)" in caplog.text


def test_single_letters_are_names_unless_there_is_a_header(tmp_path):
    folder = str(write(tmp_path, train="s\tr\tt\nt\tr\ts\n"))
    assert named(load_kg(folder, None)) == [("s", "r", "t"), ("t", "r", "s")]
    folder = str(write(tmp_path / "x", train="p\to\ts\nlikes\tb\ta\n"))
    assert named(load_kg(folder, None, header=True)) == [("a", "likes", "b")]


def test_numbers_are_names_in_their_own_order(tmp_path):
    folder = write(tmp_path, train="10\t0\t9\n9\t1\t2\n")
    assert load_kg(str(folder), None).vocabulary.entities == ("2", "9", "10")
    assert sorted_names({"07", "7", "x"}) == ["07", "7", "x"]


def test_the_graph_has_the_training_triples_and_unseen_entities_come_last(tmp_path):
    folder = write(tmp_path, train=PLAIN, valid="a\tlikes\tAaron\n", test="b\thates\ta\n")
    data = gtl.load(f"kg:{folder}")
    assert data.level == "triple" and data.metric == "mrr" and data.labels is None
    assert data.vocabulary.entities == ("a", "b", "c", "Aaron")
    assert data.graph.num_nodes == 4 and data.graph.num_edges == 3
    edges = torch.stack([data.graph.src, data.graph.edge_type, data.graph.dst], 1)
    assert torch.equal(edges, data.triples[data.split["train"]])
    assert named(data, "test") == [("b", "hates", "a")]
    assert data.schema.nodes == 4 and data.schema.edge_types == 2 and data.schema.node is None


def test_unseen_entities_are_kept_or_left_out_or_refused_with_what_to_do(tmp_path):
    folder = str(write(tmp_path, train=PLAIN, test="a\tlikes\tzoe\nb\thates\tb\nzoe\tlikes\ta\n"))
    assert len(load_kg(folder, None).split["test"]) == 3
    dropped = load_kg(folder, None, unseen="drop")
    assert named(dropped, "test") == [("b", "hates", "b")] and dropped.graph.num_nodes == 3
    with pytest.raises(DataError, match=r"line 1: the entity 'zoe' .* 1 more .*unseen='inductive'"):
        load_kg(folder, None, unseen="raise")


def test_a_relation_without_training_triples_is_refused_or_left_out(tmp_path):
    folder = str(write(tmp_path, train=PLAIN, test="a\tknows\tb\na\thates\tb\n"))
    with pytest.raises(DataError, match=r"test.txt, line 1: the relation 'knows'.*unseen='drop'"):
        load_kg(folder, None)
    assert named(load_kg(folder, None, unseen="drop"), "test") == [("a", "hates", "b")]


def test_repeated_triples_are_named_or_left_out_also_across_parts(tmp_path):
    twice = str(write(tmp_path / "a", train=PLAIN + "\nb\tlikes\tc\n"))
    with pytest.raises(DataError, match=r"train.txt, line 5 repeats .*train.txt, line 2.*'drop'"):
        load_kg(twice, None)
    assert len(load_kg(twice, None, duplicates="drop")) == 3
    leaked = str(write(tmp_path / "b", train=PLAIN, test="a\thates\tb\nc\thates\ta\n"))
    with pytest.raises(DataError, match=r"test.txt, line 2 repeats .*train.txt, line 3"):
        load_kg(leaked, None)
    assert named(load_kg(leaked, None, duplicates="drop"), "test") == [("a", "hates", "b")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tlikes\n", r"line 4 has 2 columns \('a', 'likes'\), expected 3"),
        ("a\tlikes\tb\t0.5\n", "line 4 has 4 columns"),
        ("a\t\tb\n", "line 4: an empty name"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    folder = write(tmp_path, train=PLAIN + line)
    with pytest.raises(DataError, match=message):
        load_kg(str(folder), None)


def test_inverses_double_relations_and_training_triples_alone(tmp_path):
    folder = str(write(tmp_path, train=PLAIN, test="a\thates\tb\n"))
    data = load_kg(folder, None, inverses=True)
    assert data.vocabulary.relations == ("hates", "likes", "inverse of hates", "inverse of likes")
    assert data.vocabulary.has_inverses and not load_kg(folder, None).vocabulary.has_inverses
    assert named(data)[3:] == [(t, f"inverse of {r}", h) for h, r, t in named(data)[:3]]
    assert data.graph.num_edges == 6 and named(data, "test") == [("a", "hates", "b")]


def test_what_is_missing_or_ambiguous_is_said(tmp_path):
    with pytest.raises(ConfigError, match="needs a folder to look in"):
        load_kg("nowhere", None)
    (tmp_path / "kg" / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match=r"no training triples; put a folder"):
        load_kg("mine", tmp_path)
    write(tmp_path / "kg" / "mine", train=PLAIN)
    assert len(gtl.load("kg:mine", root=tmp_path)) == 3
    (tmp_path / "kg" / "mine" / "train.tsv").write_text(PLAIN)
    with pytest.raises(DataError, match=r"several files for train: train.txt, train.tsv"):
        load_kg("mine", tmp_path)
    for options in ({"unseen": "keep"}, {"duplicates": "keep"}, {"columns": "thr"}):
        with pytest.raises(ConfigError, match="expected one of"):
            load_kg(str(write(tmp_path / "z", train=PLAIN)), None, **options)


def test_the_order_of_lines_changes_no_number(tmp_path):
    lines = PLAIN.splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    one, two = (
        load_kg(str(write(tmp_path / name, train=text)), None)
        for name, text in (("a", PLAIN), ("b", "".join(lines)))
    )
    assert one.vocabulary == two.vocabulary and sorted(named(one)) == sorted(named(two))


@pytest.mark.parametrize(
    ("name", "entities", "relations", "sizes"),
    [
        ("WN18RR", 40943, 11, (86835, 3034, 3134)),
        ("codex-s", 2034, 42, (32888, 1827, 1828)),
        ("umls", 135, 46, (5216, 652, 661)),
        ("nations", 14, 55, (1592, 199, 201)),
    ],
)
def test_published_graphs_have_their_known_sizes(shared_data, name, entities, relations, sizes):
    data = gtl.load(f"kg:{name}", root=shared_data)
    assert tuple(len(data.split[part]) for part in ("train", "valid", "test")) == sizes
    assert len(data.vocabulary.entities) == data.graph.num_nodes == entities
    assert len(data.vocabulary.relations) == relations
