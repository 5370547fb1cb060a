"""A report tells what the files tell: groups, differences, what is unfinished, what is damaged."""

from __future__ import annotations

import csv
import json
import math

import pytest

from gtl.errors import CheckpointError, ConfigError, GtlWarning
from gtl.report import report
from gtl.report.compare import paired

FILES = ["report.md", "report.html", "report.tex", "report.json", "runs.csv"]
ALONE = {0: 0.70, 1: 0.72, 2: 0.68}
HELPED = {0: 0.75, 1: 0.78, 2: 0.74}


@pytest.fixture
def runs(write_run, tmp_path):
    """Two methods, three seeds each, at different depths."""
    for seed in ALONE:
        write_run(f"alone-{seed}", seed, ALONE[seed])
        write_run(f"deep/er/{seed}", seed, HELPED[seed], tasks=("infomax",), weighting="aux_ts")
    return tmp_path / "runs"


def _methods(found, place=0):
    return {method.title: method for method in found.comparison.data_sets[place].methods}


def _write_few_shot(write_run, name="shots", **values):
    values = values or {"linear": 0.5, "prototype": 0.7}
    folder = write_run(name, metric=None, valid=None, test=None, command="fewshot")
    results = {
        **{"metric": None, "valid": None, "test": None, "protocol": "k_shot", "notes": []},
        **{"reference": "linear", "agreement": None},
        "values": {
            name: {"1": {"accuracy_top1": [value, value + 0.1, value + 0.03]}}
            for name, value in values.items()
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_few_shot_comparisons_have_tables_of_their_own_and_change_no_title(write_run, tmp_path):
    write_run("alone")
    before = str(report(tmp_path / "runs", out=tmp_path / "one", plots=False))
    _write_few_shot(write_run)
    found = str(report(tmp_path / "runs", out=tmp_path / "two", plots=False))
    assert found.startswith(before)
    rest = found.removeprefix(before)
    assert "demo:shapes, k-shot, accuracy top1: percent, mean of 3 splits" in rest
    assert "prototype  74.3 ± 12.7 +" in rest
    assert "prototype  +20.0 ± 0.0 better" in rest


def test_a_few_shot_comparison_alone_has_a_report_too(write_run, tmp_path):
    _write_few_shot(write_run)
    assert "prototype" in str(report(tmp_path / "runs", plots=False))


def test_results_of_another_form_are_named_and_left_out(write_run, tmp_path):
    write_run("alone")
    write_run("shots", metric=None, valid=None, test=None, command="fewshot")
    with pytest.warns(GtlWarning, match="shots/results.json"):
        found = report(tmp_path / "runs", plots=False)
    assert "shot" not in str(found)


def test_adaptations_show_what_their_stages_measured(write_run, tmp_path):
    folder = write_run("adapted", command="adapt", test=0.81, metric="acc")
    results = json.loads((folder / "results.json").read_text())
    stages = {
        "start": {"valid": 0.5, "measured": "linear probe"},
        "joint": {"valid": 0.62, "measured": "linear probe", "source_valid": 0.93},
        "adapt": {"valid": 0.7, "measured": "model", "test": 0.81},
    }
    more = {"data": "demo:shapes", "source": "demo:other", "method": "joint", "stages": stages}
    (folder / "results.json").write_text(json.dumps({**results, **more}))
    found = report(tmp_path / "runs", plots=False)
    lines = str(found).splitlines()
    assert lines[0] == "demo:shapes: acc, from demo:other by joint; test acc 0.8100"
    assert [line.split() for line in lines[2:5]] == [
        ["start", "0.5", "linear", "probe"],
        ["joint", "0.62", "linear", "probe", "0.93"],
        ["adapt", "0.7", "model", "0.81"],
    ]
    assert "| joint | 0.62 | linear probe | 0.93 |  |" in (found.folder / "report.md").read_text()


def test_comparisons_show_their_methods_and_the_one_that_was_chosen(write_run, tmp_path):
    folder = write_run("compared", command="compare", metric="rmse")
    gap = {"mean": -0.2, "low": -0.3, "high": -0.1, "n": 3, "p": 0.01}
    results = {
        **{"metric": "rmse", "valid": 0.8, "test": 0.9, "data": "demo:x", "reference": "forest"},
        "selection": {"selected": "probe", "candidates": {}},
        "methods": {
            "forest": {
                "valid": [1, 1.2],
                "test": [1.1, 1.3],
                "seconds": [1, 1],
                "difference": None,
            },
            "probe": {"valid": [0.7, 0.9], "test": [0.9, 1], "seconds": [2, 2], "difference": gap},
        },
    }
    (folder / "results.json").write_text(json.dumps(results))
    lines = str(report(tmp_path / "runs", plots=False)).splitlines()
    assert lines[0].startswith("demo:x: lower rmse is better; difference to forest")
    assert lines[3].startswith("* probe") and lines[3].endswith("-0.200 [-0.300, -0.100] better")


def test_several_folders_are_read_as_one(write_run, tmp_path):
    for seed in range(2):
        write_run(f"one/a{seed}", seed, 0.5)
        write_run(f"two/b{seed}", seed, 0.6, tasks=("motif",))
    tops = [tmp_path / "runs" / name for name in ("one", "two")]
    found = report([*tops, tops[0] / "a0"], plots=False)
    assert found.folder == tops[0] / "report"
    names = [run.name for method in _methods(found).values() for run in method.runs]
    assert names == ["one/a0", "one/a1", "two/b0", "two/b1"]
    with pytest.raises(CheckpointError, match=r"there is no folder .*three"):
        report([*tops, tmp_path / "three"])


def test_runs_are_grouped_and_compared_over_their_seeds(runs):
    found = report(runs, plots=False)
    (data,) = found.comparison.data_sets
    assert (data.title, data.metric, data.better) == ("demo:shapes", "rocauc", "higher")
    assert data.reference == "target only" and not found.comparison.overall
    methods = _methods(found)
    assert list(methods) == ["target only", "aux_ts"]
    assert [run.name for run in methods["aux_ts"].runs] == ["deep/er/0", "deep/er/1", "deep/er/2"]
    assert methods["target only"].difference is None
    assert methods["aux_ts"].difference == paired(
        {(s, s, 0): v for s, v in HELPED.items()}, {(s, s, 0): v for s, v in ALONE.items()}
    )


def test_the_text_says_what_the_numbers_say(runs):
    # differences 0.05, 0.06, 0.06: mean 0.05667, standard error 0.00333, t(0.975, 2) = 4.3027
    assert str(report(runs, plots=False)).splitlines() == [
        "demo:shapes: higher rocauc is better; test difference to target only, 95 % interval",
        "method       n  valid rocauc   test rocauc    difference",
        "target only  3  0.600 ± 0.000  0.700 ± 0.020",
        "aux_ts       3  0.600 ± 0.000  0.757 ± 0.021  +0.057 [+0.042, +0.071]  better",
    ]


def test_with_errors_lower_is_better(write_run, tmp_path):
    for seed in range(3):
        write_run(f"a{seed}", seed, 1.0 + seed / 100, metric="rmse")
        write_run(f"b{seed}", seed, 1.3 + seed / 90, metric="rmse", tasks=("infomax",))
    found = report(tmp_path / "runs", plots=False)
    assert found.text.splitlines()[-1].endswith("worse")
    assert "lower rmse is better" in found.text


def test_metrics_of_links_have_a_direction_too(write_run, tmp_path):
    for seed in range(2):
        write_run(f"a{seed}", seed, 0.5, metric="hits@20")
        write_run(f"b{seed}", seed, 0.6, metric="hits@20", tasks=("infomax",))
    text = report(tmp_path / "runs", plots=False).text
    assert "higher hits@20 is better" in text and text.endswith("better")


def test_only_common_seeds_are_compared(runs, write_run):
    write_run("alone-7", 7, 0.1)
    write_run("late", 9, 0.9, tasks=("infomax",), weighting="aux_ts")
    methods = _methods(report(runs, plots=False))
    assert methods["aux_ts"].difference.n == 3
    assert methods["aux_ts"].test.n == methods["target only"].test.n == 4
    assert "n=3" in report(runs, plots=False).text


def test_methods_without_a_common_seed_are_not_compared(write_run, tmp_path):
    write_run("a", 0)
    write_run("b", 1, tasks=("infomax",))
    found = report(tmp_path / "runs", plots=False)
    assert _methods(found)["equal"].difference is None
    assert "equal and target only share no seed" in found.text


def test_one_seed_gives_no_interval_and_no_verdict(write_run, tmp_path):
    write_run("a", 0, 0.5)
    write_run("b", 0, 0.9, tasks=("infomax",))
    last = report(tmp_path / "runs", plots=False).text.splitlines()[-1]
    assert last.split() == ["equal", "1", "0.600", "0.900", "+0.400"]


def test_unfinished_runs_are_listed(runs, write_run):
    write_run("half", 3, tasks=("infomax",), weighting="aux_ts", ended=False, logged=2)
    write_run("before", ended=False, logged=0, command="pretrain")
    found = report(runs, plots=False)
    assert found.comparison.unfinished == {
        "half": "aux_ts on demo:shapes, 2 of 3 epochs",
        "before": "pretrain on demo:shapes, 0 of 3 epochs",
    }
    assert "half: aux_ts on demo:shapes, 2 of 3 epochs" in found.text
    assert "- half: aux_ts" in (found.folder / "report.md").read_text()
    assert _methods(found)["aux_ts"].test.n == 3


def test_damaged_files_are_named_in_one_warning(runs, write_run):
    (write_run("no-config", 5) / "config.json").write_text('{"command": "fine')
    (write_run("odd-config", 5) / "config.json").write_text('{"command": "finetune", "data": 3}')
    (write_run("no-results", 6) / "results.json").write_text("")
    (write_run("odd-results", 7) / "results.json").write_text('{"test": 0.5}')
    (write_run("odd-kind", 5) / "config.json").write_text('{"command": "finetun"}')
    (write_run("odd-metric", 8, metric="magic")).exists()
    (write_run("no-number", 9, test=math.nan)).exists()
    (write_run("no-lines", 10) / "metrics.jsonl").write_bytes(b"\xff\xfe\n")
    (write_run("odd-lines", 11) / "metrics.jsonl").write_text('{"epoch": 0}\n')
    odd = {"losses": {"supervised": "high"}, "weights": {}, "consistency": {}, "valid": 0.5}
    (write_run("odd-loss", 12) / "metrics.jsonl").write_text(json.dumps(odd))
    values = {"metric": "rocauc", "valid": 0.5, "test": 0.5}
    for name, more in (("a", {"footprint": [1]}), ("b", {"footprint": {"seconds": "1"}})):
        folder = write_run(f"odd-costs-{name}", 13)
        (folder / "results.json").write_text(json.dumps({**values, **more}))
    with pytest.warns(GtlWarning) as caught:
        found = report(runs, plots=False)
    assert len(caught) == 1
    for name in (
        "no-config/config",
        "odd-config/config",
        "no-results/results",
        "odd-lines/metrics",
        "odd-loss/metrics",
        "odd-costs-a/results",
        "odd-costs-b/results",
    ):
        assert name in str(caught[0].message)
    assert "odd-kind/config.json (no kind of run is called 'finetun')" in str(caught[0].message)
    for reason in ("unknown metric 'magic'", "test is nan", "no-lines/metrics.jsonl"):
        assert reason in str(caught[0].message)
    assert set(found.comparison.unfinished) == {
        *("no-results", "odd-results", "odd-metric", "no-number"),
        *("odd-costs-a", "odd-costs-b"),
    }
    assert _methods(found)["target only"].test.n == 6  # what has only its curves damaged counts


def test_other_programs_files_of_that_name_are_no_damage(runs):
    (runs / "other").mkdir()
    (runs / "other" / "config.json").write_text('{"model_type": "bert"}')
    assert len(report(runs, plots=False).comparison.data_sets) == 1


def test_a_file_of_another_program_above_the_runs_does_not_hide_them(runs):
    (runs / "config.json").write_text('{"model_type": "bert"}')
    (runs / "deep" / "config.json").write_text("[]")
    (data,) = report(runs, plots=False).comparison.data_sets
    assert [len(method.runs) for method in data.methods] == [3, 3]


def test_candidates_of_a_run_with_a_damaged_config_are_no_runs(runs):
    inner = runs / "alone-0" / "candidates" / "equal"
    inner.mkdir(parents=True)
    (inner / "config.json").write_text((runs / "alone-0" / "config.json").read_text())
    (runs / "alone-0" / "config.json").write_text("{")
    with pytest.warns(GtlWarning, match="alone-0/config"):
        found = report(runs, plots=False)
    assert [run.name for run in _methods(found)["target only"].runs] == ["alone-1", "alone-2"]


@pytest.fixture
def forecasts(write_run, tmp_path):
    """Forecasts of one series: two baselines, a plain encoder, an adapter and a memory."""
    network = {"encoder": {"name": "gcn", "width": 8}, "head": {"name": "linear"}}
    adapted = {"adapter": [{"name": "spatio_temporal", "history": 12}], "frozen": True, **network}
    kinds = {
        "last": (0.9, {"baseline": "last_value", "encoder": None, "lr": None, "weighting": {}}),
        "season": (0.8, {"baseline": "seasonal_naive", "encoder": None, "lr": None}),
        "plain": (0.7, {"frozen": False, **network}),
        "adapted": (0.5, adapted),
        "recurrent": (0.6, {"memory": "gru", "frozen": True, **network}),
    }
    for name, (error, config) in kinds.items():
        for seed in range(3):
            more = {"command": "forecast", "data": "series:x", "metric": "mae", "history": 12}
            write_run(f"{name}-{seed}", seed, error + seed**2 / 1000, **more, **config)
    return tmp_path / "runs"


def test_forecasts_are_named_by_their_settings_and_compared_with_a_baseline(forecasts):
    found = report(forecasts, plots=False)
    assert found.comparison.reference == "last_value"
    assert set(_methods(found)) == {
        *("last_value", "seasonal_naive", "gcn", "gcn + spatio_temporal", "gcn + gru"),
    }
    verdicts = {
        title: method.difference.verdict("lower")
        for title, method in _methods(found).items()
        if method.difference is not None
    }
    assert set(verdicts.values()) == {"better"} and len(verdicts) == 4


def test_a_run_that_has_not_ended_is_named_by_its_settings_too(forecasts):
    (forecasts / "adapted-0" / "results.json").unlink()
    found = report(forecasts, plots=False)
    assert found.comparison.unfinished == {
        "adapted-0": "gcn + spatio_temporal on series:x, 3 of 3 epochs"
    }


def test_the_reference_may_be_chosen(runs):
    found = report(runs, reference="aux_ts", plots=False)
    assert list(_methods(found)) == ["aux_ts", "target only"]
    assert _methods(found)["target only"].difference.verdict("higher") == "worse"


def test_the_plain_method_is_the_reference_where_a_pre_trained_one_is_there_too(runs, write_run):
    for seed in range(3):
        write_run(f"pre-{seed}", seed, 0.8, pretrained="drugs")
    assert report(runs, plots=False).comparison.reference == "target only"


def test_without_a_method_on_the_target_alone_nothing_is_compared_and_said_so(write_run, tmp_path):
    write_run("a", tasks=("infomax",), weighting="equal")
    write_run("b", tasks=("infomax",), weighting="aux_ts")
    found = report(tmp_path / "runs", plots=False)
    assert found.comparison.reference is None
    assert "every method has auxiliary tasks" in found.text
    assert "difference" not in found.text


def test_labels_rename_methods_and_join_runs(runs, write_run):
    write_run("wide-3", 3, 0.9, encoder={"name": "gin", "width": 16})
    found = report(runs, label={"aux_ts": "learned", "*-?": "plain"}, plots=False)
    assert {title: len(m.runs) for title, m in _methods(found).items()} == {
        "plain": 4,
        "learned": 3,
    }
    assert "settings that differ between runs of one title: encoder.width" in found.text


def test_a_seed_that_a_method_has_twice_counts_once(runs, write_run):
    write_run("repeated", 1, 0.99)
    found = report(runs, plots=False)
    assert _methods(found)["target only"].test.n == 3
    assert "repeated is not counted: alone-1 has its method and seed" in found.text


def test_seeds_of_run_and_data_are_told_apart(write_run, tmp_path):
    for seed in (0, 1):
        for split in (0, 1):
            drawn = {"seed": split}
            write_run(f"a{seed}{split}", seed, seed + split / 10, data_options=drawn)
            write_run(f"b{seed}{split}", seed, 0.1 + split, data_options=drawn, tasks=("motif",))
    methods = _methods(report(tmp_path / "runs", plots=False))
    assert methods["target only"].test.n == methods["equal"].difference.n == 4


def test_folds_of_one_data_set_are_repetitions(write_run, tmp_path):
    for fold in range(3):
        drawn = {"data_options": {"seed": 0, "folds": 3, "fold": fold, "download": fold == 0}}
        write_run(f"a{fold}", 0, 0.5, **drawn, data_checksum=str(fold))
        write_run(f"b{fold}", 0, 0.6, **drawn, data_checksum=str(fold), tasks=("motif",))
    found = report(tmp_path / "runs", plots=False)
    assert found.comparison.data_sets[0].options == {"folds": 3}
    assert _methods(found)["equal"].difference.n == 3
    assert not found.comparison.notes


def test_data_that_changed_between_methods_is_noticed(runs, write_run):
    write_run("c", 1, tasks=("infomax",), weighting="gcs", data_checksum="another")
    assert "checksums differ) with seed 1" in report(runs, plots=False).text


def test_without_test_values_validation_values_are_compared(write_run, tmp_path):
    for seed in range(2):
        write_run(f"a{seed}", seed, None, valid=0.6)
        write_run(f"b{seed}", seed, None, valid=0.7, tasks=("infomax",))
    found = report(tmp_path / "runs", plots=False)
    assert found.comparison.data_sets[0].part == "valid"
    assert "validation values are compared" in found.text
    assert _methods(found)["equal"].difference.mean == pytest.approx(0.1)


def test_a_missing_test_value_is_noticed(runs, write_run):
    write_run("tiny", 3, None, tasks=("infomax",), weighting="aux_ts")
    write_run("blind", 4, None, valid=None)
    text = report(runs, plots=False).text
    assert "no test value of tiny" in text
    assert "neither a validation nor a test value: blind" in text


@pytest.fixture
def several(write_run, tmp_path):
    """Three data sets; `gcs` is missing on one."""
    for name, metric, gain in (("x", "rocauc", 0.1), ("y", "rmse", 0.1), ("z", "rocauc", 0.0)):
        for seed in range(3):
            more = {"data": f"demo:{name}", "metric": metric, "seed": seed}
            noise = seed / 100
            write_run(f"{name}/a{seed}", test=0.5 + noise, **more)
            write_run(f"{name}/b{seed}", test=0.5 + gain + noise**2, tasks=("motif",), **more)
            if name != "z":
                gcs = {"tasks": ("motif",), "weighting": "gcs"}
                write_run(f"{name}/c{seed}", test=0.4, **gcs, **more)
    return tmp_path / "runs"


def test_over_several_data_sets_ranks_and_verdicts_are_counted(several):
    found = report(several, plots=False)
    overall = found.comparison.overall
    # x: equal before target only; y, lower is better: target only before equal; z: target only
    assert {title: tally.rank for title, tally in overall.items()} == {
        "target only": pytest.approx(4 / 3),
        "equal": pytest.approx(5 / 3),
        "gcs": None,
    }
    assert (overall["equal"].better, overall["equal"].worse, overall["equal"].compared) == (1, 1, 3)
    assert (overall["gcs"].better, overall["gcs"].worse, overall["gcs"].compared) == (1, 1, 2)
    assert found.text.splitlines()[-4].split() == ["method", "mean", "rank", "better", "worse"]
    assert found.text.splitlines()[-2].split() == ["equal", "1.67", *(2 * ["1", "of", "3"])]


def test_data_sets_of_one_spec_are_told_apart_by_their_options(write_run, tmp_path):
    for target in ("mu", "alpha"):
        write_run(target, data="smiles:a.csv", options={"target": target})
    titles = [data.title for data in report(tmp_path / "runs", plots=False).comparison.data_sets]
    assert titles == ["smiles:a.csv (target=alpha)", "smiles:a.csv (target=mu)"]


def test_files_hold_the_raw_numbers(several):
    found = report(several, plots=False)
    assert [file.name for file in found.files] == FILES
    assert found.folder == several / "report"
    numbers = json.loads((found.folder / "report.json").read_text())
    x = numbers["data_sets"][0]
    assert [method["title"] for method in x["methods"]] == ["target only", "equal", "gcs"]
    assert x["methods"][2]["difference"]["verdict"] == "worse"
    assert x["methods"][0]["runs"][1]["test"] == 0.51
    rows = list(csv.DictReader((found.folder / "runs.csv").open()))
    assert len(rows) == 24
    assert rows[1]["method"] == "target only" and float(rows[1]["test"]) == 0.51
    assert rows[1]["folder"] == "x/a1" and rows[1]["seconds"] == "2.5"


def test_the_page_is_a_table_that_github_shows(runs):
    lines = (report(runs, plots=False).folder / "report.md").read_text().splitlines()
    assert lines[0] == "# Report"
    assert "| target only | 3 | 0.600 ± 0.000 | 0.700 ± 0.020 |  |  |" in lines
    bars = [line.count("|") for line in lines if line.startswith("|")]
    assert bars and set(bars) == {7}


def test_costs_are_shown_when_asked_for(runs):
    assert "seconds" not in report(runs, plots=False).text
    lines = report(runs, footprint=True, plots=False).text.splitlines()
    assert lines[-1].split() == ["aux_ts", "1,500", "5.9", "KiB", "2.5", "3.0", "GiB"]


def test_long_titles_are_broken_so_that_lines_fit_the_terminal(runs):
    title = "a title that explains at great length what nobody wanted to know so exactly"
    text = report(runs, label={"aux_ts": title}, reference="target only", plots=False).text
    assert max(map(len, text.splitlines())) <= 100
    assert "exactly" in text


def test_pictures_are_drawn_for_each_data_set(write_run, tmp_path):
    for name in ("a:x", "a_x"):
        write_run(f"{name[1]}0", 0, 0.5, data=name)
        write_run(f"{name[1]}1", 0, 0.6, data=name, tasks=("motif",))
    found = report(tmp_path / "runs", out=tmp_path / "elsewhere")
    pictures = {
        file.relative_to(found.folder).as_posix(): file for file in found.files[len(FILES) :]
    }
    kinds = ("learning_curves", "weights", "consistency")
    folders = ("a_x", "a_x_2")  # never one picture for two data sets
    assert list(pictures) == [
        "plots/differences.png",
        *(f"plots/{folder}/{kind}.png" for folder in folders for kind in kinds),
    ]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in pictures.values())
    page = (found.folder / "report.md").read_text()
    assert all(f"]({name})" in page for name in pictures)
    assert not (tmp_path / "runs" / "report").exists()


def test_a_second_report_replaces_the_first_and_is_no_run(runs):
    first = report(runs, plots=False).text
    assert report(runs, plots=False).text == first


def test_a_single_run_has_a_report_too(write_run):
    found = report(write_run("one"), plots=False)
    assert "target only  1" in found.text
    assert "<summary>one</summary>" in (found.folder / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reference": "target"}, ConfigError, "did you mean 'target only'.*aux_ts, target only"),
        ({"label": {"nothing*": "x"}}, ConfigError, "'nothing\\*' fits nothing"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(runs, options, error, message):
    with pytest.raises(error, match=message):
        report(runs, **options)
    assert not (runs / "report").exists()


def test_a_folder_without_runs_is_named(tmp_path, write_run):
    with pytest.raises(CheckpointError, match=r"there is no folder .*nowhere"):
        report(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no run folder in .*empty"):
        report(tmp_path / "empty")
    write_run("pre", metric=None, valid=None, test=None, command="pretrain")
    with pytest.raises(CheckpointError, match="there are runs of: pretrain"):
        report(tmp_path / "runs")
    write_run("half", ended=False)
    with pytest.raises(CheckpointError, match="no run on a target has ended; unfinished: half"):
        report(tmp_path / "runs")
    assert not (tmp_path / "runs" / "report").exists()


def test_a_file_in_the_way_is_named(runs):
    with pytest.raises(ConfigError, match="is a file"):
        report(runs, out=runs / "alone-0" / "config.json")


@pytest.mark.parametrize("former", [False, True])
def test_candidates_of_a_run_are_part_of_it_and_the_selected_ones_are_counted(runs, former):
    for seed, name in enumerate(["target only", "aux_ts (auxiliary_weight=1.0)", "target only"]):
        folder = runs / "deep" / "er" / str(seed)
        results = json.loads((folder / "results.json").read_text())
        if former:  # run folders of gtl 0.1
            results["race"] = {"winner": name, "entrants": {}}
        else:
            results["selection"] = {"selected": name, "candidates": {}}
        (folder / "results.json").write_text(json.dumps(results))
        inner = folder / ("race" if former else "candidates") / "target-only"
        inner.mkdir(parents=True)
        (inner / "config.json").write_text((folder / "config.json").read_text())
    found = report(runs, plots=False)
    assert [len(m.runs) for m in _methods(found).values()] == [3, 3]
    selected = "validation selected target only in 2, aux_ts (auxiliary_weight=1.0) in 1"
    assert found.comparison.notes == (f"demo:shapes: of 3 runs of aux_ts {selected}",)


def test_a_list_of_weightings_has_a_title(write_run, tmp_path):
    write_run("alone", 0, 0.5, guard=True)
    both = {"tasks": ("infomax",), "weighting": {}, "guard": True}
    write_run("both", 0, 0.6, **both)
    config = json.loads((tmp_path / "runs" / "both" / "config.json").read_text())
    config["weighting"] = [{"name": "gcs"}, {"name": "aux_ts", "auxiliary_weight": 0.3}]
    (tmp_path / "runs" / "both" / "config.json").write_text(json.dumps(config))
    found = report(tmp_path / "runs", plots=False)
    assert list(_methods(found)) == ["target only", "gcs or aux_ts"]
