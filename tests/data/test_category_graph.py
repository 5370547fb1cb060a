"""Graphs of classes: by hand, against plain loops, the reference's numbers and the real files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gtl.data import CategoryGraph
from gtl.data.hierarchy import near_classes, pairs_of_paths, read_hypernyms, read_paths
from gtl.errors import ConfigError, DataError, ShapeError
from gtl.heads import KGTN

PATHS = ["/cat/lion", "/cat/tiger", "/dog/wolf", "/dog/fox/red", "/dog"]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def matrix_graph(rows: list[list[float]]) -> CategoryGraph:
    """Row i is what class i hears."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    dst, src = matrix.nonzero().unbind(1)
    return CategoryGraph(src, dst, matrix[dst, src], len(matrix))


# -- hierarchies -----------------------------------------------------------------------------------


def test_distances_in_a_small_tree() -> None:
    found = zip(*(part.tolist() for part in near_classes(*pairs_of_paths(PATHS), 10)))
    assert {(a, b): d for a, b, d in found} == {
        (0, 1): 2,
        (0, 2): 4,
        (0, 3): 5,
        (0, 4): 3,
        (1, 2): 4,
        (1, 3): 5,
        (1, 4): 3,
        (2, 3): 3,
        (2, 4): 1,
        (3, 4): 2,
    }


def test_weights_decay_with_distance_and_end_with_the_largest() -> None:
    graph = CategoryGraph.from_paths(PATHS, decay=0.25, max_distance=2)
    assert graph.names == tuple(PATHS)
    assert graph.dense().tolist() == [
        [0, 0.25, 0, 0, 0],
        [0.25, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0.25],
        [0, 0, 1, 0.25, 0],
    ]


def test_of_two_parents_the_nearer_ancestor_counts() -> None:
    pairs = [("a", "p"), ("p", "root"), ("b", "root"), ("a", "q"), ("b", "q")]
    assert near_classes(["a", "b"], pairs, 5)[2].tolist() == [2]
    assert near_classes(["a", "b"], pairs[:3], 5)[2].tolist() == [3]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 13), st.integers(1, 7))
def test_distances_agree_with_a_plain_loop(data, count, most) -> None:
    above = {
        i: data.draw(st.lists(st.integers(0, i - 1), min_size=1, max_size=3, unique=True))
        for i in range(1, count)
    }
    classes = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))

    def heights(node: int) -> dict[int, int]:
        known = {node: 0}
        for parent in above.get(node, []):
            for ancestor, height in heights(parent).items():
                known[ancestor] = min(known.get(ancestor, count), height + 1)
        return known

    expected = {}
    for i, a in enumerate(classes):
        for j, b in enumerate(classes[:i]):
            one, two = heights(a), heights(b)
            distance = min(one[node] + two[node] for node in one.keys() & two.keys())
            if distance <= most:
                expected[j, i] = distance
    pairs = [(str(child), str(parent)) for child in above for parent in above[child]]
    first, second, distance = near_classes([str(c) for c in classes], pairs, most)
    assert dict(zip(zip(first.tolist(), second.tolist()), distance.tolist())) == expected


def test_thousands_of_classes_take_memory_of_their_edges() -> None:
    paths = [f"/{i // 300}/{i // 6}/{i}" for i in range(6000)]
    graph = CategoryGraph.from_paths(paths, max_distance=3)
    assert len(graph.src) == 6000 * 5
    assert graph.weight.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("classes", "pairs", "message"),
    [
        (["a", "a"], [("a", "b")], "'a' is named twice"),
        (["a", "c"], [("a", "b")], r"1 of 2 classes are in no pair of child and parent \(c\)"),
        (["a"], [("a", "b"), ("b", "c"), ("c", "a")], "has a cycle"),
        (["a"], [("a", "a")], "has a cycle"),
    ],
)
def test_a_broken_hierarchy_is_named(classes, pairs, message) -> None:
    with pytest.raises(DataError, match=message):
        CategoryGraph.from_pairs(classes, pairs)


@pytest.mark.parametrize("options", [{"decay": 0.0}, {"decay": 1.5}, {"max_distance": 0}])
def test_impossible_options_are_named(options) -> None:
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is"):
        CategoryGraph.from_paths(PATHS, **options)


# -- files -----------------------------------------------------------------------------------------


def test_a_table_of_paths_is_read_in_the_order_of_its_numbers(tmp_path) -> None:
    file = tmp_path / "classes.tsv"
    file.write_text("class_id\tpath\n1\t/a/c\n0\t/a/b\n")
    assert CategoryGraph.from_path_file(file).names == ("/a/b", "/a/c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class_id\tpaths\n0\t/a\n", "no column 'path'; did you mean 'paths'"),
        ("class_id\tpath\n0\t/a\n2\t/b\n", "must be 0 to 1, each once"),
        ("class_id\tpath\nx\t/a\n", "'x'"),
        ("class_id\tpath\n0\n", "item 0 has 1 cells, expected 2"),
        ("", "no column 'class_id'"),
    ],
)
def test_a_broken_table_is_named(tmp_path, text, message) -> None:
    file = tmp_path / "classes.tsv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_paths(file)


def test_a_table_that_is_no_text_is_named(tmp_path) -> None:
    file = tmp_path / "classes.tsv"
    file.write_bytes(b"class_id\tpath\n0\t/\xff\n")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_paths(file)


def test_a_missing_table_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_paths(tmp_path / "classes.tsv")


def test_cora_has_seventy_classes_in_ten_areas(shared_data) -> None:
    file = shared_data / "cora-hierarchy" / "class_hierarchy.tsv"
    paths = read_paths(file)
    assert len(paths) == 70
    assert len({path.split("/")[1] for path in paths}) == 10
    graph = CategoryGraph.from_path_file(file)
    src, dst = graph.src.tolist(), graph.dst.tolist()
    assert all(paths[a].split("/")[1] == paths[b].split("/")[1] for a, b in zip(src, dst))


def test_imagenet_is_as_its_notes_say(shared_data) -> None:
    folder = shared_data / "wordnet-imagenet"
    files = folder / "classes.tsv", folder / "hypernym_edges.tsv"
    classes, pairs = read_hypernyms(*files)
    assert (len(classes), len(pairs), len({n for pair in pairs for n in pair})) == (
        1000,
        1937,
        1860,
    )
    _, second, distance = near_classes([*classes, "n00001740"], pairs, 17)
    to_root = distance[second == 1000].double()
    assert (len(to_root), to_root.min(), to_root.max()) == (1000, 4, 17)
    assert round(float(to_root.mean()), 1) == 10.2
    assert distance[second != 1000].min() == 2  # no class is above another
    graph = CategoryGraph.from_hypernym_files(*files)
    near = (distance <= 3) & (second != 1000)
    assert len(graph.src) == 2 * int(near.sum())


# -- other sources ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [100, 50])
@pytest.mark.parametrize("kind", ["hierarchy", "semantic"])
def test_graphs_of_distances_are_those_of_the_reference(golden, kind, ratio) -> None:
    with np.load(golden / "kgtn.npz", allow_pickle=False) as file:
        distances = torch.from_numpy(file[f"adj_dist_{kind}"])
        ignored = torch.from_numpy(file["adj_ignored_classes"])
        expected = torch.from_numpy(file[f"adj_{kind}_ratio{ratio}"])
        kept = int(file["adj_num_valid"]) * ratio // 100 + 1  # the reference counts from 0
    if kind == "hierarchy":
        graph = CategoryGraph.from_distances(distances, 0.5).with_self_weight(2).without(ignored)
    else:
        graph = CategoryGraph.from_distances(distances, 0.4, relative=True)
        graph = graph.without(ignored).with_self_weight(2)
    torch.testing.assert_close(graph.top_k(kept).dense(), expected, rtol=1e-10, atol=1e-12)


def test_near_vectors_are_the_strongest_of_all_distances() -> None:
    vectors = torch.randn(1031, 3, dtype=torch.float64)  # more than are read at a time
    whole = CategoryGraph.from_distances(torch.cdist(vectors, vectors), 0.4, relative=True)
    near = CategoryGraph.from_vectors(vectors, neighbors=5)
    assert len(near.src) == 1031 * 5
    torch.testing.assert_close(near.dense(), whole.top_k(5).dense())


def test_vectors_by_hand() -> None:
    graph = CategoryGraph.from_vectors(torch.tensor([[0.0], [1.0], [3.0]]), 0.5, neighbors=2)
    expected = torch.tensor([[0, 1, 0.25], [1, 0, 0.5], [0.5, 1, 0]]).double()
    torch.testing.assert_close(graph.dense(), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_no_other_class_is_no_edge(count) -> None:
    assert not len(CategoryGraph.from_vectors(torch.zeros(count, 3)).src)


def test_shared_labels_by_hand() -> None:
    labels = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, float("nan")], [1, 0, 0, 0]])
    expected = [[0, 0.5, 0.25, 0], [1, 0, 0.5, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert CategoryGraph.from_labels(labels).dense().tolist() == expected
    with pytest.raises(DataError, match="other values than 0, 1 and NaN"):
        CategoryGraph.from_labels(2 * labels)


def test_controls() -> None:
    assert CategoryGraph.uniform(4).dense().tolist() == [[0.25] * 4] * 4
    assert CategoryGraph.identity(3).dense().tolist() == torch.eye(3).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 13), st.data())
def test_random_edges_are_different_pairs_of_different_classes(count, data) -> None:
    edges = data.draw(st.integers(0, count * (count - 1)))
    graph = CategoryGraph.random(count, edges, rng(1))
    assert len(graph.src) == edges
    assert bool((graph.src != graph.dst).all())
    again = CategoryGraph.random(count, edges, rng(1))
    assert torch.equal(graph.dense(), again.dense())
    assert edges < 8 or not torch.equal(
        graph.dense(), CategoryGraph.random(count, edges, rng(2)).dense()
    )


# -- changed ---------------------------------------------------------------------------------------

ROWS = [[2.0, 0.5, 0.25, 0.25], [0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.3], [0.0, 0.0, 0.7, 0.0]]


def test_the_strongest_edges_are_kept_with_ties() -> None:
    graph = matrix_graph(ROWS)
    assert graph.top_k(3).dense().tolist() == ROWS
    cut = [[2.0, 0.5, 0, 0], [0] * 4, [0.1, 0, 0, 0.3], [0, 0, 0.7, 0]]
    assert graph.top_k(2).dense().tolist() == cut
    assert graph.top_ratio(0.5).dense().tolist() == cut
    assert len(graph.top_ratio(0.01).src) == 3
    assert not len(graph.without(torch.arange(4)).top_k(2).src)


def test_self_weights_replace_those_that_were() -> None:
    graph = matrix_graph(ROWS)
    assert graph.with_self_weight(3).dense().diagonal().tolist() == [3.0] * 4
    assert graph.with_self_weight(0).dense().diagonal().tolist() == [0.0] * 4


def test_rows_sum_to_one_or_nothing() -> None:
    rows = matrix_graph(ROWS).normalized().dense()
    torch.testing.assert_close(rows.sum(1), torch.tensor([1.0, 0.0, 1.0, 1.0]).double())
    torch.testing.assert_close(rows[2, 3], torch.tensor(0.75).double())


def test_held_out_classes_neither_speak_nor_hear() -> None:
    dense = matrix_graph(ROWS).without(torch.tensor([0])).dense()
    assert dense[0].tolist() == dense[:, 0].tolist() == [0.0] * 4
    assert dense[1:, 1:].tolist() == [row[1:] for row in ROWS[1:]]


def test_heads_read_it_as_a_graph() -> None:
    graph = matrix_graph(ROWS).graph()
    assert (graph.num_nodes, graph.num_edges, graph.e.shape) == (4, 7, (7, 1))
    head = KGTN(5, 4, graph, steps=1).double()
    weight = head.weight.detach()
    with torch.no_grad():
        change = head.parts[0].change
        change.messages.weight.copy_(torch.cat([torch.eye(5), torch.zeros(5, 5)], 1))
    state = head.parts[0].states(head._graphs[0], weight)[1]
    heard = torch.tensor(ROWS).double() @ weight
    torch.testing.assert_close(state, 0.5 * weight + 0.5 * heard.tanh())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": torch.ones(2)}, ShapeError, "expected float64"),
        ({"weight": -torch.ones(2).double()}, DataError, "negative"),
        ({"dst": torch.tensor([1, 5])}, DataError, "out of range"),
        ({"src": torch.tensor([0, 0]), "dst": torch.tensor([1, 1])}, DataError, "there twice"),
        ({"names": ("a",)}, ShapeError, "`names` has 1, expected 3"),
    ],
)
def test_what_is_no_graph_of_classes_is_refused(change, error, message) -> None:
    ends = {"src": torch.tensor([0, 1]), "dst": torch.tensor([1, 2])}
    with pytest.raises(error, match=message):
        CategoryGraph(**{**ends, "weight": torch.ones(2).double(), "num_classes": 3, **change})


# -- agreement -------------------------------------------------------------------------------------


def leaves(areas: int, fields: int, each: int) -> tuple[list[str], torch.Tensor]:
    """Classes of a tree, and means whose distance follows from the area and field they share."""
    paths, rows = [], []
    for leaf in range(areas * fields * each):
        field, area = leaf // each, leaf // (each * fields)
        paths.append(f"/{area}/{field}/{leaf}")
        row = torch.zeros(areas * fields * each + areas * fields + areas)
        row[leaf], row[len(row) - 1 - area], row[areas * fields * each + field] = 1, 4, 2
        rows.append(row)
    return paths, torch.stack(rows)


def test_means_drawn_along_the_tree_agree_with_it() -> None:
    paths, means = leaves(3, 3, 3)
    found = CategoryGraph.from_paths(paths, max_distance=6).agreement(means, rng())
    assert found.correlation == pytest.approx(1.0)
    assert found.p_value == 1 / 200


def test_random_means_do_not() -> None:
    graph = CategoryGraph.from_paths(leaves(3, 3, 3)[0], max_distance=6)
    found = [graph.agreement(torch.randn(27, 5), rng(seed), 49) for seed in range(10)]
    assert abs(sum(f.correlation for f in found) / 10) < 0.05
    assert sum(f.p_value <= 0.05 for f in found) <= 2


def test_the_correlation_is_that_of_scipy() -> None:
    import scipy.stats

    graph = CategoryGraph.random(11, 40, rng())
    means = torch.randn(11, 3, dtype=torch.float64)
    first, second = torch.triu_indices(11, 11, 1)
    both = graph.dense() + graph.dense().T
    expected = scipy.stats.spearmanr(
        both[first, second], -(means[first] - means[second]).norm(dim=1)
    )
    found = graph.agreement(means, rng(), 1)
    assert found.correlation == pytest.approx(expected.statistic, abs=1e-10)


def test_of_many_classes_some_pairs_are_asked() -> None:
    paths, means = leaves(5, 9, 11)
    graph = CategoryGraph.from_paths(paths)
    assert graph.num_classes == 495
    found = graph.agreement(means, rng(), 9)
    # Pairs that edges join are the nearest of all; the others differ and the graph does not say.
    assert found.correlation > 0.8
    assert found.p_value == 0.1
    assert abs(graph.agreement(torch.randn(495, 5), rng(), 9).correlation) < 0.1


@pytest.mark.parametrize(
    "graph", [CategoryGraph.uniform(7), CategoryGraph.identity(7), CategoryGraph.identity(1)]
)
def test_a_graph_that_tells_no_pairs_apart_agrees_with_nothing(graph) -> None:
    found = graph.agreement(torch.randn(graph.num_classes, 3), rng())
    assert found == (0.0, 1.0)


def test_what_cannot_be_compared_is_named() -> None:
    graph = CategoryGraph.identity(3)
    with pytest.raises(ShapeError, match="2 rows, expected 3"):
        graph.agreement(torch.zeros(2, 5), rng())
    with pytest.raises(DataError, match="`class_means` of class 1 is not finite"):
        graph.agreement(torch.tensor([[0.0], [float("nan")], [0.0]]), rng())
    with pytest.raises(ConfigError, match="`permutations` is 0"):
        graph.agreement(torch.zeros(3, 5), rng(), 0)


def test_the_graph_of_some_classes_is_numbered_in_their_order():
    graph = CategoryGraph.from_paths(["/cat/lion", "/cat/tiger", "/dog/wolf", "/dog/fox"])
    order = torch.tensor([3, 0, 2])
    some = graph.of(order)
    assert some.names == ("/dog/fox", "/cat/lion", "/dog/wolf")
    assert torch.equal(some.dense(), graph.dense()[order][:, order])
    assert graph.num_classes == 4


def test_a_class_that_is_named_twice_is_refused_rather_than_losing_its_edges() -> None:
    with pytest.raises(DataError, match="a class twice"):
        CategoryGraph.uniform(4).of(torch.tensor([1, 2, 1]))
