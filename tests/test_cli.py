"""The command line does the same job as the library and answers mistakes with one line."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

from gtl import cli
from gtl.data.loading import SCHEMES, reader

SMILES = [
    "CCO",
    "C1CCN1",
    "c1ccccc1",
    "CC(=O)O",
    "CC",
    "C1CCCCC1",
    "c1ccncc1",
    "ClCC",
    "O1CC1",
    "CO",
]
SPARSE = ("data", "indices", "indptr", "shape")
SMALL = ["--encoder", "{name: gin, width: 8, depth: 2}", "--epochs", "2"]


@pytest.fixture
def table(tmp_path):
    """A CSV of 80 molecules: is there a ring?"""
    pytest.importorskip("rdkit")
    rows = [f"{s}{'C' * (i // 10)},{int('1' in s)},{len(s)}" for i, s in enumerate(SMILES * 8)]
    path = tmp_path / "molecules.csv"
    path.write_text("\n".join(["smiles,ring,length", *rows]) + "\n")
    return path


def _run(*words):
    return cli.main([str(word) for word in words])


def _refusal(capsys, *words):
    code = _run(*words)
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line]
    assert code == 2, err
    assert len(lines) == 1, err
    assert lines[0].startswith("gtl: error: ")
    assert not out
    return lines[0]


def test_pretrain_finetune_evaluate_predict_in_a_row(table, tmp_path, capsys):
    pre, fine, out = tmp_path / "pre", tmp_path / "fine", tmp_path / "out.csv"
    data = ["--data", f"smiles:{table}", "--data.smiles-column", "smiles"]
    assert _run("pretrain", *data, *SMALL, "--tasks", "[infomax]", "--out", pre) == 0
    labeled = [*data, "--data.target", "ring"]
    assert (
        _run(
            "finetune",
            *labeled,
            "--encoder",
            pre,
            "--auxiliary",
            "[infomax]",
            "--epochs",
            2,
            "--out",
            fine,
        )
        == 0
    )
    results = json.loads((fine / "results.json").read_text())
    capsys.readouterr()
    assert _run("evaluate", fine) == 0
    assert json.loads(capsys.readouterr().out)["rocauc"] == results["test"]
    assert _run("evaluate", fine, *labeled, "--split", "test") == 0
    assert json.loads(capsys.readouterr().out)["rocauc"] == results["test"]
    assert _run("predict", fine, *data, "--out", out) == 0
    lines = out.read_text().splitlines()
    assert lines[0] == "smiles,ring,length,predicted ring"
    assert len(lines) == 81 and lines[1].startswith("CCO,0,3,")


def test_a_list_of_smiles_is_pretrained_on(tmp_path):
    pytest.importorskip("rdkit")
    path = tmp_path / "molecules.smi"
    path.write_text("\n".join(SMILES * 2) + "\n")
    words = ["--data", "smiles:molecules.smi", "--root", tmp_path, "--data.duplicates", "drop"]
    run = tmp_path / "run"
    assert (
        _run("pretrain", *words, "--data.workers", 1, *SMALL, "--tasks", "[infomax]", "--out", run)
        == 0
    )
    options = json.loads((run / "config.json").read_text())["data_options"]
    assert options == {"seed": 0, "duplicates": "drop"}


@pytest.mark.filterwarnings("ignore:the task 'context_prediction' had no sample")
def test_a_task_without_anything_to_learn_from_has_no_loss_to_show(tmp_path, capsys):
    pytest.importorskip("rdkit")
    path = tmp_path / "tiny.smi"
    path.write_text("C\nO\nN\nCC\n")
    encoder = ["--encoder", "{name: gin, width: 8, depth: 1}", "--epochs", 1]
    assert _run("pretrain", "--data", f"smiles:{path}", *encoder, "--out", tmp_path / "run") == 0
    assert "undefined" in capsys.readouterr().out


def test_report_compares_what_finetune_left(tmp_path, capsys):
    runs = tmp_path / "runs"
    data = ["--data", "demo:shapes", "--batch-size", "64"]
    for seed in (0, 1):
        job = ["finetune", *data, *SMALL, "--seed", seed]
        assert _run(*job, "--out", runs / f"alone-{seed}") == 0
        helped = ["--auxiliary", "[infomax]", "--weighting", "equal"]
        assert _run(*job, *helped, "--out", runs / f"helped-{seed}") == 0
    capsys.readouterr()
    assert _run("report", runs, "--footprint", "--plots", "false") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("demo:shapes: higher rocauc is better")
    assert [line.split("  ")[0] for line in lines[2:4]] == ["target only", "equal"]
    assert lines[-1].startswith(f"report: {runs / 'report' / 'report.md'}")
    label = '{"helped-*": helped, "target only": alone}'
    out = tmp_path / "out"
    assert _run("report", runs, "--label", label, "--reference", "helped", "--out", out) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("helped ")
    assert (out / "plots" / "differences.png").exists() and (out / "report.html").exists()
    assert _run("report", runs / "alone-0", runs / "helped-0", "--out", tmp_path / "two") == 0
    assert "target only" in capsys.readouterr().out
    assert "methods: equal, target only" in _refusal(capsys, "report", runs, "--reference", "equl")


def test_options_may_come_from_a_file(table, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(
        f"data:\n  spec: smiles:{table}\n  target: ring\nepochs: 1\nout: {tmp_path / 'run'}\n"
        "encoder: {name: gcn, width: 8, depth: 1}\n"
    )
    assert _run("finetune", "--config", config) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["encoder"]["name"] == "gcn"


def test_a_graph_from_a_file_is_split_and_normalized_as_told(tmp_path, capsys):
    n = 60
    ring = np.arange(n)
    arrays = {f"attr_{k}": getattr(scipy.sparse.eye(n, 5, format="csr"), k) for k in SPARSE}
    np.savez(
        tmp_path / "ring.npz",
        adj_data=np.ones(n),
        adj_indices=(ring + 1) % n,
        adj_indptr=np.arange(n + 1),
        adj_shape=np.array([n, n]),
        labels=ring % 2,
        **arrays,
    )
    words = ["finetune", "--data", "npz:ring", "--root", tmp_path, *SMALL]
    shots = [
        "--data.labels-per-class",
        4,
        "--data.valid",
        12,
        "--data.test",
        20,
        "--data.normalize",
        "true",
    ]
    assert _run(*words, *shots, "--out", tmp_path / "shots") == 0
    config = json.loads((tmp_path / "shots" / "config.json").read_text())
    assert config["data_options"]["valid"] == 12 and config["data_options"]["normalize"] is True
    capsys.readouterr()
    assert _run("evaluate", tmp_path / "shots", "--root", tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 20
    shares = ["--data.fractions", "[0.5, 0.25, 0.25]", "--out", tmp_path / "shares"]
    assert _run(*words, *shares) == 0
    capsys.readouterr()
    assert "two ways to split" in _refusal(capsys, *words, *shots, *shares)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_option_of_a_reader_is_listed_with_a_description(scheme, capsys):
    assert _run("list", scheme) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, parameter in inspect.signature(reader(scheme)).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            (place,) = [i for i, line in enumerate(lines) if line.startswith(f"  {name} (")]
            assert lines[place + 1].startswith("      "), f"{scheme}: {name} has no description"


def test_the_config_of_a_run_starts_it_again(table, tmp_path):
    words = ["--data", f"smiles:{table}", "--data.target", "ring", *SMALL]
    helped = ["--auxiliary", "infomax", "--weighting", "{name: aux_ts, refresh: 2}"]
    assert _run("finetune", *words, *helped, "--seed", 3, "--out", tmp_path / "first") == 0
    config = tmp_path / "first" / "config.json"
    assert _run("finetune", "--config", config, "--out", tmp_path / "again") == 0
    first, again = (
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("first", "again")
    )
    assert first["selection"] == again["selection"] and first["test"] == again["test"]


def test_a_run_that_began_with_another_is_repeated_when_that_is_named(table, tmp_path, capsys):
    data = ["--data", f"smiles:{table}", "--data.target", "ring"]
    first = ["pretrain", *data[:2], *SMALL, "--tasks", "[infomax]", "--out", tmp_path / "pre"]
    assert _run(*first) == 0
    start = ["--encoder", tmp_path / "pre", "--epochs", 1]
    assert _run("finetune", *data, *start, "--out", tmp_path / "first") == 0
    config = ["--config", tmp_path / "first" / "config.json"]
    capsys.readouterr()
    assert "name its folder" in _refusal(capsys, "finetune", *config, "--out", tmp_path / "no")
    again = ["--encoder", tmp_path / "pre", "--out", tmp_path / "again"]
    assert _run("finetune", *config, *again) == 0
    results = [
        json.loads((tmp_path / name / "results.json").read_text()) for name in ("first", "again")
    ]
    assert results[0]["valid"] == results[1]["valid"] and results[0]["test"] == results[1]["test"]


def test_the_config_of_a_baseline_repeats_it_and_records_are_no_options():
    from gtl.run_options import _options_of

    config = {"command": "forecast", "data": "series:x", "data_options": {}, "baseline": "linear"}
    record = {"versions": {"gtl": "1"}, "items_checksum": "928f", "columns": 1, "history": 3}
    words = _options_of({**config, **record}, "forecast")
    assert words[2:] == ["--encoder", "linear", "--history", "3"]


def test_the_help_of_finetune_fits_two_screens(capsys):
    with pytest.raises(SystemExit):
        _run("finetune", "--help")
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 120
    for group in ("data", "parts:", "training:", "run:"):
        assert f"\n{group}" in shown


def test_options_of_a_part_may_be_given_one_by_one(table, tmp_path):
    words = ["finetune", "--data", f"smiles:{table}", "--data.target=ring", "--epochs", 1]
    encoder = ["--encoder.width", 8, "--encoder", "gin", "--encoder.depth=1"]
    assert _run(*words, *encoder, "--out", tmp_path / "run") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["encoder"] == {"name": "gin", "width": 8, "depth": 1}
    assert config["data_options"]["target"] == "ring"


def test_list_shows_the_options_of_a_part(capsys):
    assert _run("list", "gin") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("encoder gin:") and "  width (default: 300)" in shown
    assert _run("list", "prototype") == 0
    shown = capsys.readouterr().out
    assert "head prototype:" in shown and "few-shot method prototype:" in shown


def test_list_shows_every_part_with_a_line(capsys):
    assert _run("list") == 0
    shown = capsys.readouterr().out
    for name in ("gin", "attribute_masking", "aux_ts", "linear", "attention"):
        assert f"  {name}" in shown
    assert _run("list", "task") == 0
    assert "gin" not in capsys.readouterr().out


def test_predictions_are_not_overwritten(table, tmp_path, capsys):
    out = tmp_path / "out.csv"
    out.write_text("mine")
    assert "allow it with --overwrite" in _refusal(
        capsys, "predict", tmp_path, "--data", f"smiles:{table}", "--out", out
    )
    assert out.read_text() == "mine"
    nowhere = tmp_path / "nowhere" / "out.csv"
    words = ["predict", tmp_path, "--out", nowhere]
    assert "there is no folder" in _refusal(capsys, *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["finetune"], "data"),
        (["finetun"], "finetun"),
        (["finetune", "--data", "smiles:nowhere.csv", "--data.target", "y"], "nowhere.csv"),
        (["finetune", "--data", "smile:a.csv"], "smiles"),
        (["finetune", "--data", "TABLE", "--data.target", "rng"], "ring"),
        (
            [
                "finetune",
                "--data",
                "TABLE",
                "--data.target",
                "ring",
                "--data.smiles-column",
                "smile",
            ],
            "smiles",
        ),
        (["finetune", "--data", "TABLE"], "no labels"),
        (["finetune", "--data", "TABLE", "--data.target", "ring", "--encoder", "ginn"], "gin"),
        (
            ["finetune", "--data", "TABLE", "--data.target", "ring", "--auxiliary", "[infomx]"],
            "infomax",
        ),
        (["finetune", "--data", "TABLE", "--data.target", "ring", "--weighting", "aux"], "aux_ts"),
        (["finetune", "--data", "TABLE", "--data.target", "ring", "--epochs", "many"], "epochs"),
        (["finetune", "--data", "TABLE", "--data.target", "ring", "--epohcs", "3"], "epohcs"),
        (["finetune", "--data", "ogb:ogbg-molbace", "--root", "."], "ogbg"),
        (["finetune", "--data", "npz:photo", "--root", "."], "photo.npz"),
        (["finetune", "--data", "tu:MUTAG", "--root", ".", "--data.folds", "10"], "MUTAG_*.txt"),
        (["finetune", "--data", "mat:acmv9", "--root", "."], "acmv9.mat"),
        (
            ["finetune", "--data", "typed:acm", "--root", ".", "--data.features", "[p]"],
            "hetero/acm",
        ),
        (["finetune", "--data", "demo:shapes", "--data.folds", "10"], "no option 'folds'"),
        (["finetune", "--data", "tu:MUTAG", "--data.fold", "first"], "fold"),
        (["evaluate", "nowhere"], "nowhere"),
        (["report"], "folder"),
        (["report", "nowhere"], "nowhere"),
        (["report", "."], "no run folder"),
        (["list", "tasks"], "task"),
        (["finetune", "--data", "demo:shapes", "--encoder", "{name: gin, width: x}"], "width='x'"),
        (["finetune", "--data", "demo:shapes", "--batch_size", "-3"], "`batch_size` is -3"),
        (["finetune", "--data", "demo:shapes", "--device", "cuda:99"], "`device` is 'cuda:99'"),
        (["pretrain", "--data", "demo:shapes", "--out", "molecules.csv/run"], "cannot be made"),
    ],
)
def test_bad_input_is_answered_in_one_line(table, tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    words = [f"smiles:{table}" if word == "TABLE" else word for word in words]
    assert message in _refusal(capsys, *words)
    assert {path.name for path in tmp_path.iterdir()} <= {"molecules.csv", "cache"}


def test_an_undefined_metric_is_refused_before_training(tmp_path, capsys):
    table = tmp_path / "one.csv"
    rows = [f"{s},{int(i == 0)}" for i, s in enumerate(SMILES * 8)]
    table.write_text("\n".join(["smiles,y", *rows]) + "\n")
    words = [
        "finetune",
        "--data",
        f"smiles:{table}",
        "--data.target",
        "y",
        "--out",
        tmp_path / "run",
    ]
    assert "validation" in _refusal(capsys, *words)
    assert not (tmp_path / "run").exists()


def test_a_truncated_checkpoint_is_answered_in_one_line(table, tmp_path, capsys):
    run = tmp_path / "run"
    data = ["--data", f"smiles:{table}", "--data.target", "ring"]
    assert _run("finetune", *data, *SMALL, "--out", run) == 0
    path = run / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    capsys.readouterr()
    assert "truncated" in _refusal(capsys, "evaluate", run, *data)


@pytest.fixture
def rows(tmp_path):
    """Features of 60 samples in three classes that are easy to tell apart."""
    labels = np.arange(60) % 3
    draw = np.random.default_rng(0).normal(size=(60, 4))
    np.savez(tmp_path / "rows.npz", features=5 * np.eye(3, 4)[labels] + draw, labels=labels)
    return f"npz:{tmp_path / 'rows.npz'}"


def test_fewshot_compares_methods_on_a_file_of_features(rows, tmp_path, capsys):
    out = tmp_path / "run"
    methods = "[prototype, {name: gaussian, kind: qda}]"
    words = ["--methods", methods, "--shots", "[1, 5]", "--splits", 3, "--queries", 7, "--out", out]
    assert _run("fewshot", "--data", rows, *words) == 0
    shown = capsys.readouterr().out
    assert "gaussian, qda" in shown
    assert f"run folder: {out}" in shown
    values = json.loads((out / "results.json").read_text())["values"]
    assert min(values["prototype"]["5"]["top1"]) > 0.9


def test_fewshot_refuses_what_it_cannot_use_with_one_line(rows, capsys):
    data = ["fewshot", "--data", rows]
    assert "class 0 has 10 samples to train" in _refusal(capsys, *data, "--shots", "[11]")
    assert "did you mean 'linear'" in _refusal(capsys, *data, "--methods", "[liner]")
    assert "needs a graph" in _refusal(capsys, *data, "--methods", "[kgtn]")
    assert "there is no file" in _refusal(capsys, *data, "--graph", "tree.tsv")
    assert "give an encoder" in _refusal(capsys, "fewshot", "--data", "demo:shapes")


@pytest.fixture
def cases(tmp_path):
    """Weekly cases of three places in a row, in the file of the published ones."""
    folder = tmp_path / "spatio-temporal"
    folder.mkdir()
    weeks = np.sin(np.arange(60) / 4)[:, None] + np.arange(3)
    names = {name: i for i, name in enumerate("abc")}
    told = {"edges": [[0, 1], [1, 2], [1, 0], [2, 1]], "node_ids": names, "FX": weeks.tolist()}
    (folder / "chickenpox.json").write_text(json.dumps(told))
    return ["--data", "series:chickenpox", "--root", tmp_path]


def test_forecast_goes_on_from_a_run_on_single_snapshots(cases, tmp_path, capsys):
    sage = "{name: sage, width: 8, depth: 2, norm: layer}"
    words = ["forecast", *cases, "--horizons", "[1, 2]", "--epochs", 1]
    static, out = tmp_path / "static", tmp_path / "run"
    assert _run(*words, "--encoder", sage, "--history", 1, "--out", static) == 0
    adapted = ["--encoder", static, "--history", 3, "--adapter", "spatio_temporal"]
    assert _run(*words, *adapted, "--out", out) == 0
    shown = capsys.readouterr().out
    assert "  2 ahead: test mae" in shown and f"run folder: {out}" in shown
    results = json.loads((out / "results.json").read_text())
    sizes = results["footprint"]
    assert 0 < sizes["parameters_trained"] < sizes["parameters_total"]


def test_a_run_of_forecast_is_no_start_for_other_verbs(cases, tmp_path, capsys):
    words = ["forecast", *cases, "--history", 2, "--horizons", "[1]", "--out"]
    for encoder, more in (("sage", ["--epochs", 1]), ("linear", [])):
        out = tmp_path / encoder
        assert _run(*words, out, "--encoder", encoder, *more) == 0
        capsys.readouterr()
        for verb in ("finetune", "pretrain"):
            said = _refusal(capsys, verb, "--data", "demo:shapes", "--encoder", out)
            assert "is a forecast, not a pre-training or fine-tuning run" in said
        assert "not a fine-tuning run" in _refusal(capsys, "evaluate", out)


def test_options_of_forecast_that_are_switches_need_no_value(cases, tmp_path):
    words = ["forecast", *cases, "--encoder", "sage", "--horizons", "[1]", "--history", 2]
    words += ["--epochs", 1, "--memory", "gru"]
    for name, more, found in (
        ("a", ["--difference", "--frozen"], (True, True)),
        ("b", ["--frozen", "--difference", "false"], (False, True)),
        ("c", ["--frozen", "false", "--difference=true"], (True, False)),
        ("d", ["--frozen", "null"], (False, True)),
    ):
        assert _run(*words, *more, "--out", tmp_path / name) == 0
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert (config["difference"], config["frozen"]) == found


def test_a_series_is_forecast_and_nothing_else_is(cases, capsys):
    assert "gtl.forecast" in _refusal(capsys, "finetune", *cases)
    assert "no graph over time" in _refusal(capsys, "forecast", "--data", "demo:shapes")


def test_an_existing_run_is_refused(table, tmp_path, capsys):
    words = [
        "finetune",
        "--data",
        f"smiles:{table}",
        "--data.target",
        "ring",
        *SMALL,
        "--out",
        tmp_path / "run",
    ]
    assert _run(*words) == 0
    capsys.readouterr()
    assert "already holds a run" in _refusal(capsys, *words)
    assert _run(*words, "--resume") == 0


def test_probe_compare_evaluate_and_predict(table, tmp_path, capsys):
    data = ["--data", f"smiles:{table}", "--data.smiles-column", "smiles", "--data.target", "ring"]
    probe, out = tmp_path / "probe", tmp_path / "out.csv"
    model = "{name: forest, trees: 10, max_features: sqrt}"
    words = ["--model", model, "--properties", "[morgan]", "--out", probe]
    assert _run("probe", *data, *words) == 0
    assert "test rocauc" in capsys.readouterr().out
    assert _run("evaluate", probe, "--metrics", "[acc]") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rocauc"] == json.loads((probe / "results.json").read_text())["test"]
    assert _run("predict", probe, *data[:4], "--out", out) == 0
    assert out.read_text().splitlines()[0] == "smiles,ring,length,predicted ring"
    capsys.readouterr()
    methods = "[forest on fingerprints, probe, blend]"
    folder = tmp_path / "compare"
    small = ["--encoder", "{name: gin, width: 8, depth: 2}", "--repeats", 1]
    assert _run("compare", *data, *small, "--methods", methods, "--out", folder) == 0
    assert "chosen by validation data" in capsys.readouterr().out
    assert _run("predict", folder, "--out", out, "--overwrite") == 0
    assert _run("probe", "--config", probe / "config.json", "--out", tmp_path / "again") == 0
    again = json.loads((tmp_path / "again" / "results.json").read_text())
    assert again["test"] == found["rocauc"]
    capsys.readouterr()
    assert "property" in _refusal(capsys, "probe", *data, "--encoder", "morgan")


def test_federate_takes_options_of_partition_and_strategy_and_evaluates(table, tmp_path, capsys):
    pytest.importorskip("flwr", reason="Flower is not installed")
    words = ["federate", "--data", f"smiles:{table}", "--data.target=ring", "--clients", 2]
    words += ["--partition", "dirichlet", "--partition.alpha", 5, "--strategy", "fedprox"]
    words += ["--strategy.proximal_mu", 0.1, "--rounds", 1, "--adapter", "film"]
    words += ["--encoder", "{name: gin, width: 8, depth: 2}", "--out", tmp_path / "run"]
    assert _run(*words) == 0
    assert "test rocauc" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["partition"] == {"name": "dirichlet", "alpha": 5}
    assert config["strategy"] == {"name": "fedprox", "proximal_mu": 0.1}
    assert _run("evaluate", tmp_path / "run") == 0
    assert _run(*words[:-1], tmp_path / "other", "--partition.beta", 1) == 2
    assert "no option 'beta'" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error():
    command = [sys.executable, "-m", "gtl", "list", "task"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
