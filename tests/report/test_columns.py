"""Every number of a report is the right one: each column, its direction, its split and its sign.

The runs have values that no two columns, splits or methods share, and an error metric beside one
that is better when high: a column swapped with another, a sign turned or a split mistaken fails.
"""

from __future__ import annotations

import csv
import json
import statistics
from dataclasses import replace

import pytest

from gtl.report import report
from gtl.report.compare import paired
from gtl.report.difference_plot import draw_differences
from gtl.report.drawing import Drawing
from gtl.report.few_shot import FewShotResult, advice
from gtl.report.few_shot_plot import plot_shots
from gtl.report.forecast_plot import plot_forecasts
from gtl.report.plots import plot_runs

SEEDS = (3, 5, 8)
# Values on validation and test by data set and method. By the test values `equal` is better where
# high is good and worse where low is; by the validation values it is the reverse.
TABLE = {
    ("demo:high", "rocauc"): {
        "target only": ((0.71, 0.74, 0.73), (0.61, 0.63, 0.62)),
        "equal": ((0.51, 0.53, 0.55), (0.82, 0.83, 0.81)),
        "gcs": ((0.57, 0.58, 0.59), (0.60, 0.64, 0.63)),
    },
    ("demo:low", "rmse"): {
        "target only": ((1.21, 1.23, 1.25), (1.31, 1.36, 1.33)),
        "equal": ((0.91, 0.92, 0.95), (1.51, 1.57, 1.59)),
        "gcs": ((1.11, 1.12, 1.17), (1.01, 1.02, 1.04)),
    },
}
COSTS = {
    "parameters_total": 7000,
    "parameters_trained": 1300,
    "stored_bytes": 5000,
    "seconds": 2.0,
    "peak_memory_bytes": 900,
}


@pytest.fixture
def found(write_run, tmp_path):
    """A report of two data sets, three methods and three seeds, without plots."""
    for (data, metric), methods in TABLE.items():
        for title, (valid, test) in methods.items():
            more = {} if title == "target only" else {"tasks": ("motif",), "weighting": title}
            for place, seed in enumerate(SEEDS):
                folder = write_run(
                    f"{data[5:]}/{title}-{seed}",
                    seed,
                    test[place],
                    valid=valid[place],
                    data=data,
                    metric=metric,
                    options={"seed": seed + 100, "fold": seed + 200},
                    **more,
                )
                results = json.loads((folder / "results.json").read_text())
                results["footprint"] = {k: v * (place + 1) for k, v in COSTS.items()}
                (folder / "results.json").write_text(json.dumps(results))
    return report(tmp_path / "runs", plots=False, footprint=True)


@pytest.fixture
def axes(monkeypatch):
    """What is drawn: the panels of all pictures, in order."""
    drawn, save = [], Drawing.save

    def keep(drawing, file):
        watched = lambda *shown: (drawn.extend(shown), drawing.draw(*shown))  # noqa: E731
        return save(replace(drawing, draw=watched), file)

    monkeypatch.setattr(Drawing, "save", keep)
    return drawn


def _lines(found, first):
    """Cells of the lines of the text that start with some words."""
    return [line.split() for line in found.text.splitlines() if line.startswith(first)]


def test_the_table_shows_validation_before_test_with_means_spreads_and_verdicts(found):
    high, high_costs, low, low_costs, overall = _lines(found, "equal")
    #       title  n   valid                 test                  difference        interval
    assert high == [
        *("equal", "3", "0.530", "±", "0.020", "0.820", "±", "0.010"),
        *("+0.200", "[+0.175,", "+0.225]", "better"),
    ]
    assert low[:8] == ["equal", "3", "0.927", "±", "0.021", "1.557", "±", "0.042"]
    assert low[8] == "+0.223" and low[-1] == "worse"
    gcs = _lines(found, "gcs")
    assert gcs[0][8] == "+0.003" and len(gcs[0]) == 11  # not significant
    assert gcs[2][8] == "-0.310" and gcs[2][-1] == "better"  # lower is better
    assert overall == ["equal", "2.00", "1", "of", "2", "1", "of", "2"]
    assert gcs[-1] == ["gcs", "1.50", "1", "of", "2", "0", "of", "2"]  # better, worse
    assert high_costs == low_costs == ["equal", "2,600", "9.8", "KiB", "4.0", "1.8", "KiB"]


def test_the_captions_name_direction_and_split(found):
    captions = [line for line in found.text.splitlines() if line.startswith("demo:")]
    assert captions[0].startswith("demo:high: higher rocauc is better; test difference to target")
    assert captions[2].startswith("demo:low: lower rmse is better; test difference to target only")
    header = found.text.splitlines()[1].split()
    assert header == ["method", "n", "valid", "rocauc", "test", "rocauc", "difference"]


def test_ranks_count_the_best_test_value_as_first(found):
    # high: equal, gcs, target only; low: gcs, target only, equal
    assert {title: tally.rank for title, tally in found.comparison.overall.items()} == {
        "gcs": 1.5,
        "equal": 2.0,
        "target only": 2.5,
    }
    assert list(found.comparison.overall) == ["gcs", "equal", "target only"]
    verdicts = {title: (t.better, t.worse) for title, t in found.comparison.overall.items()}
    assert verdicts == {"gcs": (1, 0), "equal": (1, 1), "target only": (0, 0)}


@pytest.mark.parametrize("place", [0, 1])
def test_the_json_file_has_the_numbers_of_each_method(found, place):
    (data, metric), methods = list(TABLE.items())[place]
    told = json.loads((found.folder / "report.json").read_text())["data_sets"][place]
    assert (told["data"], told["metric"], told["part"]) == (data, metric, "test")
    assert told["better"] == ("higher", "lower")[place]
    for method in told["methods"]:
        for side, part in enumerate(("valid", "test")):
            values = methods[method["title"]][side]
            assert method[part]["mean"] == pytest.approx(statistics.fmean(values))
            assert method[part]["std"] == pytest.approx(statistics.stdev(values))
            assert method[part]["n"] == 3
            assert [run[part] for run in method["runs"]] == list(values)
        seeds = [(run["seed"], run["data_seed"], run["fold"]) for run in method["runs"]]
        assert seeds == [(seed, seed + 100, seed + 200) for seed in SEEDS]
    differences = {m["title"]: m["difference"] for m in told["methods"]}
    assert differences["target only"] is None
    verdicts = [differences[title]["verdict"] for title in ("equal", "gcs")]
    assert verdicts == [["better", ""], ["worse", "better"]][place]
    for title in ("equal", "gcs"):
        expected = paired(
            dict(zip(SEEDS, methods[title][1])), dict(zip(SEEDS, methods["target only"][1]))
        )
        assert differences[title]["mean"] == pytest.approx(expected.mean)
        assert differences[title]["low"] == pytest.approx(expected.low)
        assert differences[title]["p"] == pytest.approx(expected.p)


def test_each_row_of_the_csv_file_has_the_numbers_of_its_run(found):
    rows = list(csv.DictReader((found.folder / "runs.csv").open()))
    assert len(rows) == 18
    for row in rows:
        methods = next(m for (data, _), m in TABLE.items() if data == row["data"])
        place = SEEDS.index(int(row["seed"]))
        valid, test = methods[row["method"]]
        assert (float(row["valid"]), float(row["test"])) == (valid[place], test[place])
        assert (int(row["data_seed"]), int(row["fold"])) == (SEEDS[place] + 100, SEEDS[place] + 200)
        assert {key: float(row[key]) for key in COSTS} == {
            key: value * (place + 1) for key, value in COSTS.items()
        }
        assert row["folder"].endswith(f"{row['method']}-{row['seed']}")


def test_with_validation_values_alone_these_are_compared_ranked_and_named(write_run, tmp_path):
    for (data, metric), methods in TABLE.items():
        for title, (valid, _) in methods.items():
            more = {} if title == "target only" else {"tasks": ("motif",), "weighting": title}
            for place, seed in enumerate(SEEDS):
                where = {"data": data, "metric": metric, "valid": valid[place]}
                write_run(f"{data[5:]}/{title}-{seed}", seed, None, **where, **more)
    found = report(tmp_path / "runs", plots=False)
    assert found.text.splitlines()[0].startswith("demo:high: higher rocauc is better; valid diff")
    assert [row[-1] for row in _lines(found, "equal")[:2]] == ["worse", "better"]
    ranks = {title: tally.rank for title, tally in found.comparison.overall.items()}
    assert ranks == {"target only": 2.0, "equal": 2.0, "gcs": 2.0}
    numbers = json.loads((found.folder / "report.json").read_text())
    assert [data["part"] for data in numbers["data_sets"]] == ["valid", "valid"]
    assert not any("no valid value" in note for note in found.comparison.notes)


def test_a_data_set_counts_as_tested_if_any_method_is(write_run, tmp_path):
    for seed in SEEDS:
        write_run(f"a{seed}", seed, 0.5 + seed / 100)
        write_run(f"b{seed}", seed, None, tasks=("motif",))
    found = report(tmp_path / "runs", plots=False)
    (data,) = found.comparison.data_sets
    assert data.part == "test" and data.methods[1].difference is None
    assert "no test value of b3, b5, b8" in found.text


def test_of_several_methods_on_the_target_alone_the_one_with_most_runs_is_the_reference(
    write_run, tmp_path
):
    for seed in range(3):
        write_run(f"narrow-{seed}", seed, encoder={"name": "gin", "width": 8})
    write_run("wide", 0, encoder={"name": "gin", "width": 16})
    found = report(tmp_path / "runs", plots=False)
    assert found.comparison.reference == "target only (width=8)"


def test_decimals_follow_the_largest_value_of_either_split(write_run, tmp_path):
    write_run("one", 0, 123.456, valid=1.23456, metric="mae")
    (row,) = _lines(report(tmp_path / "runs", plots=False), "target only")
    assert row == ["target", "only", "1", "1.2", "123.5"]


def test_notes_name_the_run_that_counts_and_the_seed_of_other_data(found, write_run, tmp_path):
    at = {"options": {"seed": 105, "fold": 205}, "data": "demo:low", "metric": "rmse"}
    write_run("low/zzz", 5, 9.0, **at)
    write_run("low/other", 5, 1.0, **at, tasks=("motif",), weighting="dwa", data_checksum="x")
    again = report(tmp_path / "runs", plots=False)
    assert again.comparison.notes == (
        "demo:low: methods read different data (checksums differ) with seed 5",
        "low/zzz is not counted: low/target only-5 has its method and seed",
    )


def test_the_picture_of_differences_has_their_sign_interval_and_color(found, axes, tmp_path):
    draw_differences(found.comparison.data_sets).save(tmp_path / "d.png")
    for ax, data, good in zip(axes, found.comparison.data_sets, ("right", "left")):
        assert f"({good} is better)" in ax.get_xlabel().replace("\n", " ")
        assert ax.get_xlabel().startswith(f"test {data.metric}")
        base = dict(data.methods[0].values("test"))
        shown = [line for line in ax.lines if line.get_marker() == "None"][1:]  # the first is zero
        means = [line for line in ax.lines if line.get_marker() == "o"]
        for place, method in enumerate(data.methods[1:]):
            gap = method.difference
            assert means[place].get_xdata()[0] == gap.mean
            assert list(shown[place].get_xdata()) == [gap.low, gap.high]
            dots = ax.collections[place].get_offsets()[:, 0]
            expected = [value - base[seed] for seed, value in method.values("test").items()]
            assert list(dots) == pytest.approx(expected)
            color = {"better": "C0", "worse": "C1", "": "0.45"}[gap.verdict(data.better)]
            assert means[place].get_color() == color


def test_the_picture_of_differences_shows_validation_where_that_is_compared(
    write_run, axes, tmp_path
):
    for seed in SEEDS:
        write_run(f"a{seed}", seed, None, valid=0.5 + seed / 100)
        write_run(f"b{seed}", seed, None, valid=0.6 + seed**2 / 1000, tasks=("motif",))
    found = report(tmp_path / "runs", plots=False)
    draw_differences(found.comparison.data_sets).save(tmp_path / "d.png")
    assert axes[0].get_xlabel().startswith("valid rocauc")
    assert len(axes[0].collections[0].get_offsets()) == 3


def test_learning_curves_show_losses_and_validation_values_with_mean_and_extremes(tmp_path, axes):
    for seed, loss in enumerate((1.0, 2.0, 6.0)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        names = ("supervised", "motif")
        lines = [
            {
                "epoch": epoch,
                "losses": {"supervised": loss + epoch, "motif": 50.0},
                "weights": dict.fromkeys(names, 0.25 + loss),
                "consistency": {"motif": -0.5 + loss / 100},
                "valid": 10 * loss + epoch,
            }
            for epoch in range(2)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    plot_runs({"mine": [tmp_path / str(seed) for seed in range(3)]}, tmp_path / "out")
    losses, valid, weights, consistency = axes
    assert list(losses.lines[0].get_ydata()) == [3.0, 4.0]
    assert list(valid.lines[0].get_ydata()) == [30.0, 31.0]
    heights = losses.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1.0, 7.0)
    assert [list(line.get_ydata()) for line in weights.lines] == [[3.25, 3.25]] * 2
    assert list(consistency.lines[0].get_ydata()) == pytest.approx([-0.47, -0.47])


def test_curves_over_shots_have_mean_and_half_the_interval_in_percent(axes, tmp_path):
    values = {"a": {1: {"top1": [0.2, 0.3, 0.7]}, 5: {"top1": [0.5, 0.5, 0.8]}}}
    plot_shots(values, ["top1"], tmp_path / "shots.png")
    (line,) = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert list(line.get_ydata()) == pytest.approx([40.0, 60.0])
    low, high = axes[0].collections[0].get_segments()[0][:, 1]
    mean = paired({0: 0.2, 1: 0.3, 2: 0.7}, dict.fromkeys(range(3), 0.0))
    assert (low, high) == pytest.approx((100 * mean.low, 100 * mean.high))


def test_forecast_panels_show_their_own_node(axes, tmp_path):
    observed, forecast = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]
    plot_forecasts([0, 1], observed, {"mine": forecast}, ["a", "b"], tmp_path / "f.png")
    shown = [[list(line.get_ydata()) for line in ax.lines] for ax in axes]
    assert shown == [[[1.0, 3.0], [5.0, 7.0]], [[2.0, 4.0], [6.0, 8.0]]]


def test_the_summary_of_a_few_shot_comparison_has_each_number():
    values = {
        "a": {1: {"top1": [0.50, 0.62, 0.71]}, 5: {"top1": [0.70, 0.72, 0.74]}},
        "b": {1: {"top1": [0.61, 0.74, 0.80]}, 5: {"top1": [0.60, 0.61, 0.63]}},
    }
    result = FewShotResult("test:rows", "k_shot", values, "a")
    told = result.to_json()["summary"]["b"]
    for shots, verdict in ((1, "better"), (5, "worse")):
        mine, other = values["b"][shots]["top1"], values["a"][shots]["top1"]
        gap = paired(dict(enumerate(mine)), dict(enumerate(other)))
        mean = paired(dict(enumerate(mine)), dict.fromkeys(range(3), 0.0))
        assert told[str(shots)]["top1"] == {
            "mean": mean.mean,
            "interval": [mean.low, mean.high],
            "splits": 3,
            "difference": gap.mean,
            "difference_interval": [gap.low, gap.high],
            "verdict": verdict,
        }
    row = result.table().splitlines()[-1].split()
    assert row[0::4] == ["b", "+"] or (row[4], row[-1]) == ("+", "-")
    assert result.table(differences=True).splitlines()[-1].split()[4::4][0] == "better"


def test_a_graph_is_advised_where_its_agreement_is_significant():
    from gtl.data.agreement import Agreement

    assert "do not use it" in advice(Agreement(0.4, 0.051), 9)
    assert "not significant" in advice(Agreement(0.4, 0.051), 9)
    assert "graph of classes: use it" in advice(Agreement(0.4, 0.05), 9)
