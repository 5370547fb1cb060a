"""few_shot: the splits it draws, the methods it compares, and the input it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import gtl
from gtl.catalog import FEW_SHOT_METHODS
from gtl.data import CategoryGraph, Dataset
from gtl.errors import CheckpointError, ConfigError, DataError, ShapeError, UnknownPartError
from gtl.fewshot.class_graphs import graph_for
from gtl.fewshot.draws import draw
from gtl.fewshot.features import as_samples
from gtl.fewshot.methods import as_methods
from gtl.fewshot.problem import Problem
from gtl.roles import FewShotMethod

PATHS = [f"/family{i // 3}/class{i}" for i in range(12)]
ENCODING = ("fit", "finetune")  # these need an encoder: test_few_shot_adaptive.py
QUICK = {"shots": (1, 3), "splits": 3}


def family_features(noise=1.0, each=14, seed=0):
    """Twelve classes in four families, near their family's mean; features and labels."""
    rng = torch.Generator().manual_seed(seed)
    family = 2 * torch.randn(4, 11, generator=rng)
    means = (family.unsqueeze(1) + torch.randn(4, 3, 11, generator=rng)).reshape(12, 11)
    labels = torch.arange(12).repeat(each)
    return means[labels] + noise * torch.randn(len(labels), 11, generator=rng), labels


@pytest.fixture
def tree():
    return CategoryGraph.from_paths(PATHS)


def as_data(features, labels, names=(), split=None):
    none = torch.empty(0, dtype=torch.int64)
    return Dataset(
        "test:rows",
        graph=gtl.Graph(none, none, len(features), features),
        labels=labels,
        split=split or {},
        level="node",
        class_names=tuple(names),
    )


# -- splits ----------------------------------------------------------------------------------------


def drawn(shots=3, queries=None, novel=0.5, seed=0, split=None):
    samples = as_samples(as_data(*family_features(), split=split))
    return samples, draw(samples, shots, queries, novel, torch.Generator().manual_seed(seed))


def test_who_is_asked_never_trains_and_every_pool_holds_its_class_alone():
    samples, split = drawn(queries=0.25)
    asked = set(split.queries.tolist())
    for number, pool in enumerate(split.pools):
        assert not asked & set(pool.tolist())
        assert (samples.labels[pool] == number).all()
        assert len(pool) == 14 - 4  # a quarter of 14, rounded


def test_a_number_of_queries_is_taken_of_each_class():
    samples, split = drawn(queries=5)
    assert torch.equal(torch.bincount(samples.labels[split.queries]), torch.full((12,), 5))


def test_the_split_of_the_data_is_used_if_it_has_one_and_no_other_is_asked_for():
    order = torch.randperm(168, generator=torch.Generator().manual_seed(3))
    own = {"train": order[:100].sort().values, "test": order[120:].sort().values}
    _, split = drawn(shots=1, split=own)
    assert torch.equal(split.queries.sort().values, own["test"])
    assert torch.equal(torch.cat(split.pools).sort().values, own["train"])
    _, other = drawn(shots=1, queries=0.5, split=own)
    assert not torch.equal(other.queries.sort().values, own["test"])


def test_novel_classes_are_a_share_numbers_names_or_chosen_by_a_function():
    assert int(drawn(novel=0.25)[1].novel.sum()) == 3
    assert drawn(novel=[1, 7])[1].novel.nonzero().flatten().tolist() == [1, 7]
    chosen = drawn(novel=lambda rng: torch.randperm(12, generator=rng)[:4])[1].novel
    assert int(chosen.sum()) == 4
    names = [f"n{i}" for i in range(12)]
    samples = as_samples(as_data(*family_features(), names))
    split = draw(samples, 1, None, ["n3", 5], torch.Generator())
    assert split.novel.nonzero().flatten().tolist() == [3, 5]


def test_another_seed_draws_another_split_and_the_same_seed_the_same():
    one, same, other = (drawn(seed=seed)[1] for seed in (0, 0, 1))
    assert torch.equal(one.queries, same.queries)
    assert torch.equal(one.novel, same.novel)
    assert not torch.equal(one.queries, other.queries)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shots": 8}, r"class 0 has 7 samples to train of 14, 8 are needed; use fewer shots"),
        ({"queries": 14}, "0 samples to train"),
        ({"queries": 0.0}, "`queries` is 0.0"),
        ({"queries": 2.5}, "whole number"),
        ({"novel": 1.5}, "share of the classes"),
        ({"novel": 0.99}, "not all"),
        ({"novel": [3]}, "at least 2"),
        ({"novel": [3, 12]}, "0 to 11"),
        ({"novel": ["lion", 1]}, "'lion'"),
        ({"novel": torch.arange(12) < 6}, "names True, expected names of classes or numbers"),
    ],
)
def test_a_split_that_cannot_be_drawn_is_refused(change, words):
    with pytest.raises((ConfigError, DataError), match=words):
        drawn(**change)


# -- features --------------------------------------------------------------------------------------


def test_samples_without_a_label_are_left_out():
    features, labels = family_features()
    labels[::2] = -1
    features[0] = torch.nan  # of a sample without a label: nobody reads it
    samples = as_samples((features, labels))
    assert torch.equal(samples.features, features[1::2])
    assert torch.equal(samples.labels, labels[1::2])


def test_features_come_from_an_encoder_once_for_nodes_and_for_graphs(communities, shapes):
    encoder = gtl.encoders.GCN(communities.schema, width=5, depth=2).eval()
    samples = as_samples(communities, encoder)
    with torch.no_grad():
        assert torch.allclose(samples.features, encoder(communities.graph))
    pooled = as_samples(shapes, {"name": "gin", "width": 6, "depth": 2})
    assert pooled.features.shape == (60, 6)
    assert torch.equal(pooled.labels, shapes.labels[:, 0].long())
    assert torch.equal(pooled.test.nonzero().flatten(), shapes.split["test"].sort().values)


def test_a_fine_tuned_model_and_a_run_folder_are_encoders_too(communities, tmp_path):
    small = {"name": "gcn", "width": 6, "depth": 2}
    model = gtl.finetune(small, communities, epochs=1, out=tmp_path / "fine")
    features = as_samples(communities, model).features
    assert torch.allclose(features, gtl.embed(model, communities))
    assert torch.allclose(as_samples(communities, tmp_path / "fine").features, features)


def test_one_column_of_several_labels_is_a_problem_of_two_classes(shapes):
    twice = torch.cat([shapes.labels, 1 - shapes.labels], 1)
    twice[4, 1] = torch.nan
    data = Dataset("test:two", shapes.graphs, labels=twice)
    with pytest.raises(ConfigError, match="2 columns"):
        as_samples(data, "gin")
    samples = as_samples(data, "gin", column=1)
    assert len(samples.labels) == 59
    assert samples.num_classes == 2


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (torch.full((4, 2), torch.nan), torch.tensor([0, 0, 1, 1]), "4 of 4 samples are NaN"),
        (torch.zeros(4, 2), torch.tensor([-1] * 4), "no sample has a label"),
        (torch.zeros(4, 2), torch.zeros(3, dtype=torch.int64), "expected int64 classes"),
        (torch.zeros(4, 2), torch.zeros(4), "float32"),
        (torch.zeros(4), torch.zeros(4, dtype=torch.int64), r"expected \(b, h\)"),
        (torch.zeros(4, 2), ["a", "a", "b", "b"], "`labels` are no numbers .* classes from 0 on"),
    ],
)
def test_features_that_cannot_be_used_are_refused(features, labels, words):
    with pytest.raises((DataError, ShapeError), match=words):
        gtl.few_shot((features, labels))


def test_data_without_classes_or_vectors_is_refused(shapes, communities):
    with pytest.raises(ConfigError, match="give an encoder"):
        gtl.few_shot(shapes)
    values = Dataset("test:values", shapes.graphs, labels=torch.rand(60, 1) + 2)
    with pytest.raises(DataError, match="not classes"):
        gtl.few_shot(values, encoder="gin")
    with pytest.raises(DataError, match="no labels"):
        gtl.few_shot(communities.graph)
    with pytest.raises(ConfigError, match="need no encoder"):
        gtl.few_shot(family_features(), encoder="gin")
    with pytest.raises(DataError, match="one class"):
        gtl.few_shot((torch.rand(9, 2), torch.zeros(9, dtype=torch.int64)))


# -- comparisons -----------------------------------------------------------------------------------


def test_a_run_is_the_same_again_and_does_not_depend_on_the_other_methods():
    data = family_features()
    both = gtl.few_shot(data, ["linear", "prototype"], **QUICK)
    again = gtl.few_shot(data, ["linear", "prototype"], **QUICK)
    alone = gtl.few_shot(data, ["prototype"], **QUICK)
    assert both.values == again.values
    assert both.values["prototype"] == alone.values["prototype"]
    later = gtl.few_shot(data, ["prototype"], shots=(1, 3), splits=1, seed=2)
    assert later.values["prototype"][3]["top1"][0] == alone.values["prototype"][3]["top1"][2]


def test_prototypes_are_those_of_a_plain_loop():
    features, labels = (part.numpy() for part in family_features())
    found = gtl.few_shot((features, labels), ["prototype"], shots=[2], splits=1, scaling="none")
    samples = as_samples((features, labels))
    split = draw(samples, 2, None, None, torch.Generator().manual_seed(0))
    means = np.stack([features[pool[:2]].mean(0) for pool in split.pools])
    asked = split.queries.numpy()
    nearest = [np.linalg.norm(means - row, axis=1).argmin() for row in features[asked]]
    expected = np.mean(np.array(nearest) == labels[asked])
    assert found.values["prototype"][2]["top1"] == [pytest.approx(expected)]


def test_every_method_by_name_beats_chance_and_more_shots_help(tree):
    result = gtl.few_shot(
        family_features(),
        [name for name in FEW_SHOT_METHODS.names() if name not in ENCODING],
        protocol="base_novel",
        graph=tree,
        shots=(1, 7),
        splits=4,
    )
    for method in result.methods:
        assert result.mean(method, 7, "novel_in_novel_top1").mean > 0.5
        few, many = (result.mean(method, k, "novel_in_all_top1").mean for k in (1, 7))
        assert many > few


def test_separable_classes_are_all_recognized():
    result = gtl.few_shot(family_features(noise=0.01), **QUICK)
    for method in result.methods:
        assert result.mean(method, 3).mean == 1.0


@pytest.mark.parametrize("scaling", ["center", "unit", "none"])
def test_base_classes_keep_all_their_samples_and_novel_ones_have_k(scaling):
    seen = []

    class Spy(FewShotMethod):
        def fit(self, problem):
            seen.append(problem)
            return lambda queries: queries.new_zeros(len(queries), problem.num_classes)

    result = gtl.few_shot(
        family_features(), Spy(), protocol="base_novel", novel=[0, 5, 9], scaling=scaling, **QUICK
    )
    for problem, k in zip(seen, [1, 3] * 3):
        assert torch.equal(problem.labels.unique(return_counts=True)[1], torch.full((3,), k))
        assert problem.novel[problem.labels].all()
        counts = torch.bincount(problem.base_labels, minlength=12)
        assert torch.equal(counts, torch.where(problem.novel, 0, 7))
        assert problem.balance()[: len(problem.base_labels)].sum() == pytest.approx(0.5)
    if scaling == "center":
        features, _ = seen[0].samples
        assert torch.allclose(features.mean(0), torch.zeros(11), atol=1e-5)
        assert float(features.square().mean()) == pytest.approx(1)
    assert result.values["Spy"][1]["novel_in_all_top1"] == pytest.approx([1 / 12] * 3)
    assert result.values["Spy"][1]["novel_in_novel_top1"] == pytest.approx([1 / 3] * 3)


def test_a_graph_without_meaning_is_told_apart_from_one_with(tree):
    how = {"methods": ["prototype"], "protocol": "base_novel", "novel": [2, 5, 8, 11], **QUICK}
    true = gtl.few_shot(family_features(), graph=tree, **how)
    assert true.agreement.p_value < 0.05
    assert "near in it are near in these features" in str(true)
    shuffled = tree.of(torch.tensor([0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]))
    wrong = gtl.few_shot(family_features(), graph=CategoryGraph(*_fields(shuffled)), **how)
    assert wrong.agreement.p_value > 0.05
    assert "do not use it" in str(wrong)
    assert wrong.base_classes == 8
    assert gtl.few_shot(family_features(), **how).advice() == ""


def _fields(graph):
    return graph.src, graph.dst, graph.weight, graph.num_classes


# -- graphs of classes -----------------------------------------------------------------------------


def test_a_graph_is_brought_into_the_order_of_the_data_by_names():
    wide = CategoryGraph.from_paths([*reversed(PATHS), "/family9/stranger"])
    data = as_data(*family_features(), PATHS)
    seen = []

    class Spy(FewShotMethod):
        def fit(self, problem):
            seen.append(problem.graph)
            return lambda queries: queries.new_zeros(len(queries), problem.num_classes)

    gtl.few_shot(data, Spy(), graph=wide, shots=[1], splits=1)
    assert seen[0].names == tuple(PATHS)
    assert torch.equal(seen[0].dense(), CategoryGraph.from_paths(PATHS).dense())


def test_a_graph_may_be_a_file(tmp_path):
    file = tmp_path / "tree.tsv"
    lines = [f"{i}\t{path}" for i, path in enumerate(PATHS)]
    file.write_text("\n".join(["class_id\tpath", *lines]) + "\n")
    found = gtl.few_shot(family_features(), "kgtn", graph=file, shots=[1], splits=1)
    assert found.methods == ["kgtn"]


@pytest.mark.parametrize(
    ("graph", "names", "words"),
    [
        (CategoryGraph.from_paths(PATHS[1:]), PATHS, "1 of 12 classes of the data have no node"),
        (CategoryGraph.from_paths(PATHS[1:]), (), "the graph has 11 classes, the data 12"),
        ([[0, 1, 0.5]], (), "expected a gtl.data.CategoryGraph or a file"),
        ("missing.tsv", (), "no file"),
    ],
)
def test_a_graph_of_other_classes_is_refused(graph, names, words):
    with pytest.raises((ConfigError, DataError), match=words):
        gtl.few_shot(as_data(*family_features(), names), "kgtn", graph=graph)


def problem_with(graph):
    features, labels = family_features(noise=0.1, each=2)
    none, rng = labels[:0], torch.Generator().manual_seed(0)
    every = torch.ones(12, dtype=torch.bool)
    return Problem(features[:0], none, features, labels, every, 2, graph, rng)


def test_controls_know_nothing_and_prototypes_find_the_families(tree):
    problem = problem_with(tree)
    assert torch.equal(graph_for("given", problem).dense(), tree.dense())
    assert torch.equal(graph_for("identity", problem).dense(), torch.eye(12).double())
    assert len(graph_for("uniform", problem).src) == 144
    assert len(graph_for("random", problem).src) == len(tree.src)
    dense = graph_for("prototypes", problem).dense()
    family = torch.arange(12) // 3
    same = (family.unsqueeze(1) == family) & ~torch.eye(12, dtype=torch.bool)
    assert dense[same].mean() > 2 * dense[family.unsqueeze(1) != family].mean()


def test_a_method_without_the_graph_it_needs_says_how_to_give_it_one(tree):
    with pytest.raises(ConfigError, match="give `graph`"):
        graph_for("given", problem_with(None))
    with pytest.raises(ConfigError, match="'semantic', expected a CategoryGraph or one of: given"):
        graph_for("semantic", problem_with(tree))
    with pytest.raises(DataError, match="has 3 classes, the data 12"):
        graph_for(CategoryGraph.identity(3), problem_with(tree))


# -- methods by name -------------------------------------------------------------------------------


def test_methods_are_named_by_their_options_or_by_their_titles():
    qda = {"name": "gaussian", "kind": "qda"}
    assert list(as_methods(["linear", qda])) == ["linear", "gaussian, qda"]
    assert list(as_methods({"mine": qda, "plain": "linear"})) == ["mine", "plain"]
    assert list(as_methods("cosine")) == ["cosine"]
    assert list(as_methods(qda)) == ["gaussian, qda"]


@pytest.mark.parametrize(
    ("methods", "error", "words"),
    [
        ([], ConfigError, "empty"),
        (["linear", "linear"], ConfigError, "twice"),
        (["liner"], UnknownPartError, "did you mean 'linear'"),
        ([{"name": "linear", "depth": 3}], ConfigError, "no option 'depth'"),
        ([torch.nn.Linear(2, 2)], ConfigError, "expected a name, a mapping"),
    ],
)
def test_methods_that_cannot_be_used_are_refused(methods, error, words):
    with pytest.raises(error, match=words):
        gtl.few_shot(family_features(), methods)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "n_way"}, "k_shot, base_novel"),
        ({"shots": ()}, "`shots`"),
        ({"shots": (0, 1)}, "`shots`"),
        ({"shots": (1, 1)}, "once"),
        ({"splits": 0}, "`splits`"),
        ({"prior": 1.0}, "`prior`"),
        ({"scaling": "rows"}, "`scaling`"),
        ({"reference": "kgtn"}, "`reference`"),
    ],
)
def test_options_outside_their_range_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        gtl.few_shot(family_features(), **change)


# -- what it leaves behind -------------------------------------------------------------------------


def test_a_run_folder_holds_options_values_and_curves(tree, tmp_path):
    out = tmp_path / "run"
    how = {"protocol": "base_novel", "graph": tree, "novel": 0.25, **QUICK}
    result = gtl.few_shot(family_features(), ["prototype", "kgtn"], out=out, **how)
    config = json.loads((out / "config.json").read_text())
    assert config["command"] == "fewshot"
    assert config["methods"]["kgtn"] == {"name": "kgtn"}
    assert config["graph"]["classes"] == 12
    results = json.loads((out / "results.json").read_text())
    assert results["values"]["kgtn"]["3"] == result.values["kgtn"][3]
    assert results["agreement"]["p_value"] == result.agreement.p_value
    assert [len(classes) for classes in results["novel"]] == [3, 3, 3]
    assert (out / "plots" / "few_shot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CheckpointError, match="already holds a run"):
        gtl.few_shot(family_features(), "prototype", out=out)


def test_nothing_is_written_where_the_input_is_refused(tmp_path):
    with pytest.raises(ConfigError):
        gtl.few_shot(family_features(), "kgtn", out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_an_encoder_that_nobody_trained_is_noted(communities):
    result = gtl.few_shot(communities, "prototype", encoder="gcn", shots=[1], splits=1)
    assert "not trained" in str(result)
