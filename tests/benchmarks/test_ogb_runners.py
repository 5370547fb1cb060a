"""The runners of OGB's sets: one seed after the other, judged as OGB judges, and never twice."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gtl
from gtl.checkpoint import read_json
from gtl.data import load
from gtl.optional import without_version_check
from gtl.run_folder import RunFolder, read_metrics
from gtl.train import loop

ROOT = Path(__file__).resolve().parents[2]
SMALL = [
    *("--encoder", "gcn", "--width", "5", "--depth", "1", "--epochs", "3", "--batch_size", "6"),
    *("--auxiliary", "infomax", "--tasks", "attribute_masking", "--pretrain_epochs", "1"),
    *("--seeds", "2"),
]


@pytest.fixture
def runner(monkeypatch):
    """A script of benchmarks/ by name, called as from the command line; gives the exit code."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr("gtl.train.session.write_plots", lambda folder: None)
    before = set(sys.modules)

    def run(script, *words):
        module = importlib.import_module(script)
        try:
            return module.RUNNER.main(module.__doc__, [str(word) for word in words])
        except SystemExit as left:
            return left.code

    yield run
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent.name == "benchmarks":
            del sys.modules[name]


def compressed(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    file.write_bytes(gzip.compress(text.encode()))


def write_parts(folder, parts):
    for part, items in zip(("train", "valid", "test"), parts):
        compressed(folder / f"{part}.csv.gz", [(int(i),) for i in items])


def write_graph(folder, n, edges):
    compressed(folder / "raw" / "num-node-list.csv.gz", [(n,)])
    compressed(folder / "raw" / "num-edge-list.csv.gz", [(len(edges),)])
    compressed(folder / "raw" / "edge.csv.gz", edges)


@pytest.fixture
def bace(tmp_path):
    """Raw files of 24 molecules, paths of 2 to 6 atoms, under the name of a set with one label."""
    folder = tmp_path / "data" / "ogbg_molbace"
    sizes = [2 + i % 5 for i in range(24)]
    atoms = [
        (5 + (i + j) % 3, 0, 2, 5, 0, 0, 2, 0, 0) for i, n in enumerate(sizes) for j in range(n)
    ]
    bonds = [(j, j + 1) for n in sizes for j in range(n - 1)]
    compressed(folder / "raw" / "num-node-list.csv.gz", [(n,) for n in sizes])
    compressed(folder / "raw" / "num-edge-list.csv.gz", [(n - 1,) for n in sizes])
    compressed(folder / "raw" / "edge.csv.gz", bonds)
    compressed(folder / "raw" / "node-feat.csv.gz", atoms)
    compressed(folder / "raw" / "edge-feat.csv.gz", [(0, 0, 0)] * len(bonds))
    compressed(folder / "raw" / "graph-label.csv.gz", [(i % 2,) for i in range(24)])
    write_parts(folder / "split" / "scaffold", (range(12), range(12, 18), range(18, 24)))
    return ["--data", "ogbg-molbace", "--root", folder.parent, *SMALL]


@pytest.fixture
def arxiv(tmp_path):
    """Raw files of 30 papers, each of which cites those three and seven numbers before it."""
    folder = tmp_path / "data" / "ogbn_arxiv"
    write_graph(folder, 30, [(i, i - step) for i in range(30) for step in (3, 7) if step <= i])
    compressed(folder / "raw" / "node-feat.csv.gz", [(i % 3 - 1.0, i / 30) for i in range(30)])
    compressed(folder / "raw" / "node-label.csv.gz", [(i % 3,) for i in range(30)])
    write_parts(folder / "split" / "time", (range(14), range(14, 22), range(22, 30)))
    return ["--data", "ogbn-arxiv", "--root", folder.parent, *SMALL]


@pytest.fixture
def ddi(tmp_path):
    """Raw files of 13 drugs; every pair is a link to train on, to validate or test on, or none."""
    folder = tmp_path / "data" / "ogbl_ddi"
    pairs = torch.combinations(torch.arange(13))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))]
    train, valid, test, wrong, other = (part.numpy() for part in pairs.split([26, 4, 4, 22, 22]))
    write_graph(folder, 13, train.tolist())
    (folder / "split" / "target").mkdir(parents=True)
    for part, held in (
        ("train", {"edge": train}),
        ("valid", {"edge": valid, "edge_neg": wrong}),
        ("test", {"edge": test, "edge_neg": other}),
    ):
        file = folder / "split" / "target" / f"{part}.pt"
        torch.save(held, file, _use_new_zipfile_serialization=False)
    return ["--data", "ogbl-ddi", "--root", folder.parent, *SMALL]


def judged(folder, name, root, package, **reading):
    """What OGB's evaluator says of a stored model's predictions for the test split."""
    with without_version_check():
        evaluator = importlib.import_module(f"ogb.{package}").Evaluator(name)
    data = load(f"ogb:{name}", root=root, **reading)
    guess = gtl.predict(gtl.Model.load(folder), data, "test", raw=True).numpy()
    truth = data.labels[data.split["test"]].numpy()
    if data.level == "edge":
        both = {"y_pred_pos": guess[truth == 1], "y_pred_neg": guess[truth == 0]}
        return evaluator.eval(both)[data.metric]
    if data.kind == "multiclass":
        guess, truth = guess.argmax(1)[:, None], truth[:, None]
    return evaluator.eval({"y_true": truth, "y_pred": guess})[data.metric]


def values(folder):
    """Test and validation values of the run folders below ``folder``, by seed."""
    found = [read_json(file) for file in sorted(folder.glob("seed-*/results.json"))]
    return {results["seed"]: (results["test"], results["valid"]) for results in found}


# -- what is told ----------------------------------------------------------------------------------


def test_each_method_has_a_line_for_the_leaderboard_and_its_runs_in_the_json(
    runner, bace, tmp_path, capsys
):
    methods = ["target_only", "equal", "pretrain", "pretrain+aux_ts"]
    words = [*bace, "--method", *methods, "--out", tmp_path / "out"]
    assert runner("ogb_graph", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ogbg-molbace, 12 / 6 / 6 items to train / validate / test"
    results = json.loads((tmp_path / "out" / "ogbg-molbace.json").read_text())
    assert results["metric"] == "rocauc" and results["environment"]["ogb"]
    assert list(results["methods"]) == methods
    assert str(tmp_path) not in json.dumps(results)
    for method, line in zip(methods, lines[1:]):
        runs = values(tmp_path / "out" / "ogbg-molbace" / method)
        test, valid = zip(*runs.values())
        mean, deviation = statistics.fmean(test), abs(test[0] - test[1]) / 2**0.5
        assert line.startswith(
            f"{method}: Test ROC-AUC: {mean:.4f} ± {deviation:.4f} (2 seeds), "
            f"Validation: {statistics.fmean(valid):.4f} ± {statistics.stdev(valid):.4f}, "
        )
        told = results["methods"][method]
        assert (told["test"]["mean"], told["test"]["std"]) == pytest.approx((mean, deviation))
        assert [tuple(run[:3]) for run in told["runs"]] == [(s, *v) for s, v in runs.items()]
        assert told["columns"][:3] == ["seed", "test", "valid"]
    gain = results["minus_first"]["equal"][0]
    assert f"equal minus target_only: {gain:+.4f} [".replace("+0.0000", "0.0000") in lines[5]


@pytest.mark.parametrize(
    ("script", "files", "package", "title"),
    [
        ("ogb_graph", "bace", "graphproppred", "ROC-AUC"),
        ("ogb_node", "arxiv", "nodeproppred", "Accuracy"),
        ("ogb_link", "ddi", "linkproppred", "Hits@20"),
    ],
)
def test_the_epoch_is_chosen_on_validation_data_and_judged_by_ogbs_evaluator(
    runner, tmp_path, capsys, request, script, files, package, title
):
    words = request.getfixturevalue(files)
    assert runner(script, *words, "--method", "pretrain+equal", "--out", tmp_path / "out") == 0
    assert f"pretrain+equal: Test {title}: " in capsys.readouterr().out
    run = tmp_path / "out" / words[1] / "pretrain+equal" / "seed-1"
    results, lines = read_json(run / "results.json"), read_metrics(run)
    valid = [line["valid"] for line in lines]
    assert results["epoch"] == valid.index(max(valid)) and results["valid"] == max(valid)
    assert list(lines[0]["losses"]) == ["supervised", "infomax"]
    reading = {} if files == "bace" else {"undirected": True}
    assert results["test"] == pytest.approx(judged(run, words[1], words[3], package, **reading))


def test_one_seed_has_no_spread(runner, bace, tmp_path, capsys):
    assert runner("ogb_graph", *bace, "--seeds", 1, "--out", tmp_path / "out") == 0
    line = capsys.readouterr().out.splitlines()[1]
    told = (
        r"target_only: Test ROC-AUC: \d\.\d{4} \(1 seed\), Validation: \d\.\d{4}, 1,046 parameters"
    )
    assert re.fullmatch(told, line)
    assert (
        read_json(tmp_path / "out" / "ogbg-molbace.json")["methods"]["target_only"]["test"]["std"]
        is None
    )


def test_results_may_go_elsewhere_and_a_name_may_be_short(runner, bace, tmp_path, capsys):
    words = [
        *bace,
        "--data",
        "molbace",
        "--seeds",
        1,
        "--out",
        tmp_path / "out",
        "--results",
        tmp_path / "kept",
    ]
    assert runner("ogb_graph", *words) == 0
    assert [file.name for file in (tmp_path / "kept").iterdir()] == ["ogbg-molbace.json"]
    assert not list((tmp_path / "out").glob("*.json"))


def test_a_graph_may_be_sampled_and_left_directed(runner, arxiv, tmp_path, capsys):
    words = [*arxiv, "--seeds", 1, "--method", "pretrain", "--pretrain_batch_size", 10]
    words += ["--fan_out", 2, "--out"]
    assert runner("ogb_node", *words, tmp_path / "both") == 0
    runs = tmp_path / "both" / "ogbn-arxiv"
    for run in (runs / "pretrain" / "seed-0", runs / "pretraining" / "seed-0"):
        assert read_json(run / "config.json")["fan_out"] == [2]
    assert runner("ogb_node", *words, tmp_path / "one", "--directed", "--fan_out", "all") == 0
    config = read_json(tmp_path / "one" / "ogbn-arxiv" / "pretrain" / "seed-0" / "config.json")
    assert config["fan_out"] == [None]
    directed = load("ogb:ogbn-arxiv", root=arxiv[3])
    assert config["data_checksum"] == directed.checksum()
    assert (
        config["data_checksum"] != read_json(runs / "pretrain/seed-0/config.json")["data_checksum"]
    )


def test_pairs_may_be_read_and_asked_otherwise(runner, ddi, tmp_path, capsys):
    words = [*ddi, "--seeds", 1, "--out", tmp_path, "--head", "linear", "--features", "l2"]
    words += ["--negatives", 3, "--corrupt", "second", "--keep_links"]
    assert runner("ogb_link", *words) == 0
    config = read_json(tmp_path / "ogbl-ddi" / "target_only" / "seed-0" / "config.json")
    assert config["head"]["name"] == "linear"
    asked = {"negatives": 3, "corrupt": "second", "remove": False, "features": "l2"}
    assert config["links"] == asked


# -- what is not done twice ------------------------------------------------------------------------


def test_what_was_cut_off_goes_on_and_ends_the_same(runner, bace, tmp_path, capsys, monkeypatch):
    words = [*bace, "--method", "pretrain+equal", "--out"]
    assert runner("ogb_graph", *words, tmp_path / "whole") == 0
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    save = RunFolder.save

    def cut(folder, state):
        save(folder, state)
        if (folder.path.parent.name, folder.path.name) == ("pretrain+equal", "seed-1"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", cut)
        assert runner("ogb_graph", *words, tmp_path / "parts") == 130
    assert capsys.readouterr().err.endswith("interrupted; the same command goes on\n")
    folder = tmp_path / "parts" / "ogbg-molbace" / "pretrain+equal"
    assert not (folder / "seed-1" / "results.json").exists()
    finished = {file: file.stat().st_mtime_ns for file in (folder / "seed-0").iterdir()}
    assert runner("ogb_graph", *words, tmp_path / "parts") == 0
    assert {file: file.stat().st_mtime_ns for file in (folder / "seed-0").iterdir()} == finished
    assert len(read_metrics(folder / "seed-1")) == 3
    assert values(folder) == values(tmp_path / "whole" / "ogbg-molbace" / "pretrain+equal")


def test_more_seeds_and_methods_are_added_to_what_is_there(runner, bace, tmp_path, capsys):
    words = [*bace, "--out", tmp_path / "out"]
    assert runner("ogb_graph", *words, "--seeds", 1, "--method", "pretrain") == 0
    folder = tmp_path / "out" / "ogbg-molbace"
    shared = folder / "pretraining" / "seed-0" / "results.json"
    files = [shared, folder / "pretrain" / "seed-0" / "results.json"]
    before = [file.stat().st_mtime_ns for file in files]
    assert runner("ogb_graph", *words, "--method", "pretrain", "pretrain+equal") == 0
    assert [file.stat().st_mtime_ns for file in files] == before
    assert (
        sorted(values(folder / "pretrain+equal")) == sorted(values(folder / "pretrain")) == [0, 1]
    )


def test_other_options_do_not_mix_with_what_is_there(runner, bace, tmp_path, capsys):
    words = [*bace, "--seeds", 1, "--out", tmp_path / "out"]
    assert runner("ogb_graph", *words) == 0
    capsys.readouterr()
    assert runner("ogb_graph", *words, "--lr", 0.5) == 2
    assert re.search(r"have lr=0\.001, now it is 0\.5; use .* another --out$", _line(capsys))


def test_pre_training_sees_the_training_graphs_or_the_corpus(runner, bace, tmp_path, capsys):
    words = [*bace, "--seeds", 1, "--method", "pretrain", "--out"]
    assert runner("ogb_graph", *words, tmp_path / "own") == 0
    data = load("ogb:ogbg-molbace", root=bace[3])
    config = read_json(tmp_path / "own/ogbg-molbace/pretraining/seed-0/config.json")
    seen = gtl.Dataset("seen", data.graphs.subset(data.split["train"]))
    assert config["data_checksum"] == seen.checksum()
    all_ = [*words, tmp_path / "all", "--corpus", "ogb:ogbg-molbace"]
    assert runner("ogb_graph", *all_) == 0
    config = read_json(tmp_path / "all/ogbg-molbace/pretraining/seed-0/config.json")
    assert config["data_checksum"] == data.checksum()


# -- what is refused -------------------------------------------------------------------------------


def _line(capsys):
    """The one line of complaint, and nothing else."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data", "ogbg-molbaec"], "did you mean 'ogbg-molbace'"),
        (["--data", "ogbg-molhiv"], "no folder ogbg_molhiv/raw in .*--download"),
        (["--data", "ogbn-arxiv"], "ogbn-arxiv is judged by nodes; use benchmarks/ogb_node.py"),
        (["--data", "ogb:ogbl_ddi"], "ogbl-ddi is judged by links; use benchmarks/ogb_link.py"),
        (
            ["--method", "auxts"],
            "unknown method 'auxts'; expected target_only.*did you mean 'aux_ts'",
        ),
        (["--method", "pretrain+"], "unknown method 'pretrain\\+'"),
        (["--method", "fixed"], "weighting 'fixed' needs the option 'weights'"),
        (["--encoder", "gim"], "unknown encoder 'gim'; did you mean 'gin'"),
        (["--auxiliary", "infomx"], "did you mean 'infomax'"),
        (["--readout", "medn"], "unknown readout 'medn'"),
        (["--depth", "-1"], "`depth` is -1"),
        (["--seeds", "0"], "`seeds` is 0, expected 1 or more"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'; see: .* --help"),
        (["--epoch", "3", "--widths", "3"], "unrecognized arguments: --widths 3"),
        (["--out", "FILE"], "FILE"),
        (["--method", "pretrain", "--corpus", "demo:nothing"], "demo:nothing"),
        (
            ["--method", "pretrain", "--corpus", "demo:shapes"],
            "for ogbg-molbace was built for node",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_answered_in_one_line(runner, bace, tmp_path, capsys, words, message):
    (tmp_path / "FILE").write_text("mine")
    words = [str(tmp_path / word) if word == "FILE" else word for word in words]
    assert runner("ogb_graph", *bace, "--out", tmp_path / "out", *words) == 2
    line = _line(capsys)
    assert line.startswith("ogb_graph.py: error: ") and re.search(message, line), line
    assert not list(tmp_path.rglob("config.json"))


def test_without_a_set_the_command_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "ogb_graph.py"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("ogb_graph.py: error: ") and "--data" in line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fan_out", "2", "many"], "argument --fan_out: invalid draws value: 'many'"),
        (["--fan_out", "0"], "`fan_out` is \\[0\\], expected whole numbers"),
        (
            ["--depth", "2", "--fan_out", "3"],
            "expected a number for each of the encoder's 2 layers",
        ),
        (["--data", "ogbg-molbace"], "ogbg-molbace is judged by graphs; use benchmarks/ogb_graph"),
        (["--data", "arxivv"], "ogbn-arxivv is not one of .* did you mean 'ogbn-arxiv'"),
        (["--data", "ogbn-mag"], "ogb:ogbn-mag .* these are read: ogbn-"),
    ],
)
def test_bad_input_about_nodes_is_answered_in_one_line(
    runner, arxiv, bace, tmp_path, capsys, words, message
):
    assert runner("ogb_node", *arxiv, "--out", tmp_path / "out", *words) == 2
    assert re.search(message, _line(capsys))


def test_bad_input_about_links_is_answered_in_one_line(runner, ddi, tmp_path, capsys):
    words = [*ddi, "--out", tmp_path / "out"]
    for option, value in (("features", "sum"), ("corrupt", "none"), ("negatives", -1)):
        assert runner("ogb_link", *words, f"--{option}", value) == 2
        assert f"`{option}` is {value!r}, expected" in _line(capsys)
    assert runner("ogb_link", *words, "--negatives", 0) == 2
    assert "draw at least 1 of `negatives`" in _line(capsys)
    assert not list(tmp_path.rglob("results.json"))
    assert runner("ogb_link", *words, "--seeds", 1) == 0


def test_methods_are_taken_apart(runner):
    assert runner("ogb_graph", "--help") == 0
    read = sys.modules["_study"].Method.read
    assert (read("target_only").pretrained, read("target_only").weighting) == (False, None)
    assert (read("pretrain").pretrained, read("pretrain").weighting) == (True, None)
    assert (read("gcs").pretrained, read("gcs").weighting) == (False, "gcs")
    assert (read("pretrain+gcs").pretrained, read("pretrain+gcs").weighting) == (True, "gcs")


def test_make_bench_leaves_the_runners_out():
    if shutil.which("make") is None:
        pytest.skip("make is not here")
    make = ["make", "-n", "bench"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "weighting_step.py" in done.stdout and "ogb_" not in done.stdout
