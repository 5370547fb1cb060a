"""OGB's node and link sets: raw files by hand under real names, and the counts of ogbl-ddi."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

import gtl
from gtl.errors import ConfigError, DataError
from gtl.optional import without_version_check

GCN = {"name": "gcn", "width": 8, "depth": 2}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(map(str, np.atleast_1d(row))) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()))


def write_graph(folder, n, edges, **files):
    write(folder / "raw" / "num-node-list.csv.gz", [n])
    write(folder / "raw" / "num-edge-list.csv.gz", [len(edges)])
    write(folder / "raw" / "edge.csv.gz", edges)
    for name, rows in files.items():
        write(folder / "raw" / f"{name.replace('__', '-')}.csv.gz", rows)


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    held = {name: np.array(value) for name, value in arrays.items()}
    torch.save(held, path, _use_new_zipfile_serialization=False)


@pytest.fixture
def arxiv(tmp_path):
    """Eleven papers, some of which cite others, one of them in a circle."""
    folder = tmp_path / "ogb" / "ogbn_arxiv"
    edges = [(i, (3 * i + 1) % 11) for i in range(11)] + [(1, 0), (4, 4)]
    features = [(0.5 * i, -0.25, i % 2) for i in range(11)]
    labels = [0, 39, 7, 0, 39, 7, 0, 39, 7, 0, 39]
    write_graph(folder, 11, edges, node__feat=features, node__label=labels, node_year=[2015] * 11)
    for part, items in (("train", [0, 1, 2, 5, 9]), ("valid", [3, 4, 8]), ("test", [6, 7, 10])):
        write(folder / "split" / "time" / f"{part}.csv.gz", items)
    return folder


@pytest.fixture
def proteins(tmp_path):
    folder = tmp_path / "ogbn_proteins"
    labels = [[(node >> bit % 4) & 1 for bit in range(112)] for node in range(13)]
    edges = [(i, i + 1) for i in range(12)]
    features = [[0.125 * i] * 8 for i in range(12)]
    write_graph(folder, 13, edges, edge__feat=features, node__label=labels)
    for part, items in (("train", range(5)), ("valid", range(5, 9)), ("test", range(9, 13))):
        write(folder / "split" / "species" / f"{part}.csv.gz", items)
    return folder


@pytest.fixture
def ddi(tmp_path):
    """Thirteen drugs; every pair is a link to train on, to validate or test on, or none."""
    folder = tmp_path / "ogbl_ddi"
    pairs = np.array([(i, j) for i in range(13) for j in range(i)])
    pairs = pairs[np.random.default_rng(0).permutation(len(pairs))]
    train, valid, test, wrong, other = np.split(pairs, [22, 27, 32, 54])
    write_graph(folder, 13, train)
    save(folder / "split" / "target" / "train.pt", edge=train)
    save(folder / "split" / "target" / "valid.pt", edge=valid, edge_neg=wrong)
    save(folder / "split" / "target" / "test.pt", edge=test, edge_neg=other)
    return folder


@pytest.fixture
def citation(tmp_path):
    """Seventeen papers; of some of them one citation is hidden, to be told from three others."""
    folder = tmp_path / "ogbl_citation2"
    edges = [(i, j) for i in range(17) for j in (i + 1, i + 5) if j < 17]
    write_graph(folder, 17, edges, node__feat=[[i, 1.5] for i in range(17)])
    source, target = zip(*edges)
    place = folder / "split" / "time"
    save(place / "train.pt", source_node=source, target_node=target)
    for part, shift in (("valid", 2), ("test", 3)):
        sources = np.array([5, 0, 3, 7])
        wrong = (sources[:, None] + np.array([[6, 7, 8]])) % 17
        save(
            place / f"{part}.pt",
            source_node=sources,
            target_node=sources + shift,
            target_node_neg=wrong,
        )
    return folder


# -- node sets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ogbn-arxiv", "ogbn_arxiv", "arxiv"])
def test_a_node_set_is_read(arxiv, name):
    data = gtl.load(f"ogb:{name}", root=arxiv.parent.parent)
    assert (data.spec, data.level, data.kind) == ("ogb:ogbn-arxiv", "node", "multiclass")
    assert (data.metric, data.num_outputs, len(data)) == ("acc", 40, 11)
    assert data.graph.num_edges == 13 and data.graph.src[:3].tolist() == [0, 1, 2]
    assert data.graph.dst[:3].tolist() == [1, 4, 7]
    assert data.graph.x.dtype == torch.float32 and data.graph.x[3].tolist() == [1.5, -0.25, 1]
    assert data.labels[:4].tolist() == [0, 39, 7, 0]
    assert data.split["valid"].tolist() == [3, 4, 8]


def test_edges_go_both_ways_if_asked_each_once_without_loops(arxiv):
    graph = gtl.load("ogb:ogbn-arxiv", root=arxiv.parent, undirected=True).graph
    ends = set(zip(graph.src.tolist(), graph.dst.tolist()))
    assert len(ends) == graph.num_edges and all(a != b for a, b in ends)
    assert ends == {(b, a) for a, b in ends} and {(0, 1), (1, 0), (2, 7)} <= ends


def test_a_node_set_is_trained_on_and_judged_by_ogbs_evaluator(arxiv):
    data = gtl.load("ogb:ogbn-arxiv", root=arxiv.parent)
    model = gtl.finetune(GCN, data, auxiliary=["infomax"], epochs=2)
    guess = gtl.predict(model, data, "test").argmax(1, keepdim=True).numpy()
    truth = data.labels[data.split["test"]].unsqueeze(1).numpy()
    with without_version_check():
        from ogb.nodeproppred import Evaluator
    theirs = Evaluator("ogbn-arxiv").eval({"y_true": truth, "y_pred": guess})["acc"]
    assert gtl.evaluate(model, data)["acc"] == theirs == model.results["test"]


def test_edge_features_and_many_labels_come_along(proteins):
    data = gtl.load("ogb:ogbn-proteins", root=proteins.parent)
    assert (data.kind, data.metric, data.labels.shape) == ("binary", "rocauc", (13, 112))
    assert data.graph.num_edges == 24 and data.graph.x is None  # OGB adds the opposite edges
    assert (data.graph.src[:4].tolist(), data.graph.dst[:4].tolist()) == (
        [0, 1, 1, 2],
        [1, 0, 2, 1],
    )
    assert data.graph.e.shape == (24, 8) and data.graph.e[:4, 0].tolist() == [0, 0, 0.125, 0.125]
    model = gtl.finetune(GCN, data, epochs=1)
    assert 0 <= gtl.evaluate(model, data)["rocauc"] <= 1


def test_nodes_are_told_apart_by_number_if_asked(proteins, arxiv):
    schema = gtl.load("ogb:ogbn-proteins", root=proteins.parent, identity=True).schema
    assert schema.node.identity and schema.node.categories == (13,)
    with pytest.raises(ConfigError, match="have features; leave out `identity`"):
        gtl.load("ogb:ogbn-arxiv", root=arxiv.parent, identity=True)


@pytest.mark.parametrize(
    ("file", "rows", "words"),
    [
        ("edge", [(0, 1)], r"edge.csv.gz has shape \(1, 2\), expected \(13, 2\)"),
        ("edge", [(0, 11)] * 13, "edge.csv.gz row 1, column 2, is 11, expected 0..10"),
        ("num-node-list", [11, 2], r"num-node-list.csv.gz has shape \(2, 1\), expected \(1, 1\)"),
        ("node-feat", [(1.0,)] * 10, r"node-feat.csv.gz has shape \(10, 1\), expected \(11, 1\)"),
        ("node-feat", [("a",)] * 11, "node-feat.csv.gz cannot be read"),
        ("node-label", [1] * 10, "holds 10 x 1 labels, expected 11 x 1"),
        ("node-label", [40] * 11, r"must name classes 0..39"),
        ("node-label", [0.5] * 11, r"must name classes 0..39"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(arxiv, file, rows, words):
    write(arxiv / "raw" / f"{file}.csv.gz", rows)
    with pytest.raises(DataError, match=words):
        gtl.load("ogb:ogbn-arxiv", root=arxiv.parent)


def test_a_missing_file_is_named(arxiv):
    (arxiv / "raw" / "node-feat.csv.gz").unlink()
    with pytest.raises(DataError, match=r"node-feat\.csv\.gz is missing"):
        gtl.load("ogb:ogbn-arxiv", root=arxiv.parent)


def test_a_missing_label_is_no_class(arxiv):
    write(arxiv / "raw" / "node-label.csv.gz", [0, "", *[5] * 9])
    assert gtl.load("ogb:ogbn-arxiv", root=arxiv.parent).labels[:3].tolist() == [0, -1, 5]


# -- link sets -------------------------------------------------------------------------------------


def test_a_link_set_is_read(ddi):
    data = gtl.load("ogb:ogbl-ddi", root=ddi.parent)
    assert (data.level, data.kind, data.metric) == ("edge", "binary", "hits@20")
    assert {part: len(items) for part, items in data.split.items()} == {
        "train": 22,
        "valid": 27,
        "test": 29,
    }
    assert [int(data.labels[items].sum()) for items in data.split.values()] == [22, 5, 5]
    assert data.graph.num_edges == 44 and data.schema.node.identity
    assert data.graph.src[:2].tolist() == data.pairs[0].tolist()
    assert gtl.load("ogb:ogbl-ddi", root=ddi.parent, identity=False).graph.x is None


def test_without_train_pt_the_links_of_the_graph_are_those_to_train_on(ddi):
    before = gtl.load("ogb:ogbl-ddi", root=ddi.parent).checksum()
    (ddi / "split" / "target" / "train.pt").unlink()
    assert gtl.load("ogb:ogbl-ddi", root=ddi.parent).checksum() == before


def test_a_link_set_is_trained_on_and_judged_by_ogbs_evaluator(ddi):
    data = gtl.load("ogb:ogbl-ddi", root=ddi.parent)
    model = gtl.finetune(GCN, data, auxiliary=["edge_prediction"], epochs=2, batch_size=11)
    raw = gtl.predict(model, data, "test", raw=True)[:, 0]
    links = data.labels[data.split["test"], 0] == 1
    with without_version_check():
        from ogb.linkproppred import Evaluator
    answers = {"y_pred_pos": raw[links].numpy(), "y_pred_neg": raw[~links].numpy()}
    theirs = Evaluator("ogbl-ddi").eval(answers)["hits@20"]
    assert gtl.evaluate(model, data)["hits@20"] == theirs == model.results["test"]


def test_hidden_citations_are_ranked_within_their_paper(citation):
    data = gtl.load("ogb:ogbl-citation2", root=citation.parent, undirected=True)
    assert data.metric == "mrr" and data.graph.x.shape == (17, 2)
    items = data.split["valid"]
    assert data.pairs[items][:5].tolist() == [[5, 7], [0, 2], [3, 5], [7, 9], [5, 11]]
    assert data.labels[items, 0].tolist() == [1] * 4 + [0] * 12
    model = gtl.finetune(GCN, data, epochs=1, batch_size=9, links={"corrupt": "second"})
    raw = gtl.predict(model, data, "test", raw=True)[:, 0]
    with without_version_check():
        from ogb.linkproppred import Evaluator
    answers = {"y_pred_pos": raw[:4], "y_pred_neg": raw[4:].view(4, 3)}
    theirs = Evaluator("ogbl-citation2").eval(answers)["mrr_list"].mean()
    assert gtl.evaluate(model, data)["mrr"] == pytest.approx(float(theirs))


def test_weights_and_years_of_edges_come_along(tmp_path):
    folder = tmp_path / "ogbl_collab"
    edges = [(0, 1), (1, 2), (0, 1)]
    write_graph(
        folder,
        4,
        edges,
        node__feat=[(1.0, 2.0)] * 4,
        edge_weight=[1, 2, 5],
        edge_year=[1990, 2001, 2015],
    )
    for part in ("train", "valid", "test"):
        save(
            folder / "split" / "time" / f"{part}.pt",
            edge=edges,
            weight=[1, 2, 5],
            year=[1990, 2001, 2015],
            edge_neg=[(0, 3), (2, 3)],
        )
    data = gtl.load("ogb:ogbl-collab", root=tmp_path)
    assert data.metric == "hits@50" and len(data) == 3 + 5 + 5
    assert data.graph.e.flatten().tolist() == [1, 1, 2, 2, 5, 5]
    assert data.graph.time.tolist() == [1990, 1990, 2001, 2001, 2015, 2015]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"edge": [(0, 1)]}, "`edge_neg` is <class 'NoneType'>, expected node numbers"),
        ({"edge": [(0, 1, 2)], "edge_neg": [(0, 1)]}, "`edge` has 3 columns"),
        ({"edge": [(0.5, 1.0)], "edge_neg": [(0, 1)]}, r"`edge` is float64 \(1, 2\)"),
        ({"edge": [(0, 13)], "edge_neg": [(0, 1)]}, r"name nodes outside 0\.\.12"),
        ({"source_node": [1], "target_node": [1, 2]}, "1 sources and 2 targets"),
        (
            {"source_node": [1], "target_node": [2], "target_node_neg": [[1], [2]]},
            "1 sources and others for 2 of them",
        ),
    ],
)
def test_splits_that_do_not_fit_are_refused(ddi, arrays, words):
    save(ddi / "split" / "target" / "valid.pt", **arrays)
    with pytest.raises(DataError, match=words):
        gtl.load("ogb:ogbl-ddi", root=ddi.parent)


def test_a_split_of_something_else_is_refused(ddi):
    torch.save([np.ones(2)], ddi / "split" / "target" / "valid.pt")
    with pytest.raises(DataError, match="holds a list, expected named arrays"):
        gtl.load("ogb:ogbl-ddi", root=ddi.parent)
    (ddi / "split" / "target" / "test.pt").unlink()
    save(ddi / "split" / "target" / "valid.pt", edge=[(0, 1)], edge_neg=[(0, 2)])
    with pytest.raises(DataError, match=r"test\.pt cannot be read"):
        gtl.load("ogb:ogbl-ddi", root=ddi.parent)


def test_the_command_line_trains_judges_and_answers_for_links(ddi, tmp_path, capsys):
    from gtl.cli import main

    def run(*words):
        assert main([str(word) for word in words]) == 0
        return capsys.readouterr().out

    folder, out = tmp_path / "run", tmp_path / "answers.csv"
    job = ["--data", "ogb:ogbl-ddi", "--root", ddi.parent, "--encoder", str(GCN), "--epochs", 1]
    links = "{negatives: 2, remove: false}"
    run("finetune", *job, "--links", links, "--head", "mlp", "--out", folder)
    assert "hits@20" in run("evaluate", folder, "--root", ddi.parent)
    run("predict", folder, "--root", ddi.parent, "--split", "test", "--out", out)
    lines = out.read_text().splitlines()
    assert lines[0] == "item,src,dst,prediction" and len(lines) == 30
    data = gtl.load("ogb:ogbl-ddi", root=ddi.parent)
    item = int(data.split["test"][0])
    assert lines[1].startswith(",".join(map(str, [item, *data.pairs[item].tolist()])))


def test_ddi_has_its_published_sizes(shared_data):
    from gtl.graph.sample import are_joined

    data = gtl.load("ogb:ogbl-ddi", root=shared_data)
    assert (data.graph.num_nodes, data.graph.num_edges) == (4267, 2 * 1067911)
    counts = {
        part: (int(data.labels[items].sum()), int((1 - data.labels[items]).sum()))
        for part, items in data.split.items()
    }
    assert counts == {"train": (1067911, 0), "valid": (133489, 101882), "test": (133489, 95599)}
    for part, joined in (("train", True), ("valid", False), ("test", False)):
        pairs = data.pairs[data.split[part]]
        assert (are_joined(data.graph, *pairs.unbind(1)) == joined).all()
    assert data.schema.node.identity
