"""What compression costs in quality: the Pareto front of one target (Menghani 2023).

Trains a model on nodes or graphs, compresses it in several ways and draws the metric on test data
against bytes of the weights and latency of a prediction. A line in the picture joins the methods
on the front, those that no other beats in both; the table marks them with a star and has the metric
as mean and standard deviation over seeds. On nodes the distilled student is an MLP that reads no
neighbors (Zhang et al. 2022).

    python examples/pareto_front.py --data planetoid:cora --encoder gcn --seeds 3
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

import gtl
from gtl.metrics import direction
from gtl.report.compare import spread
from gtl.report.pareto import Point, draw_front, front

COSTS = {"bytes": "kB of weights", "latency_p50_ms": "ms for 16 items"}
UNITS = {"bytes": 1000, "latency_p50_ms": 1}


def main() -> None:
    """Parse the options, train, compress, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:shapes", help="any labeled data set")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--encoder", default="gin")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=50, help="of each training, at most")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("pareto_front.png"), help="the picture")
    options = parser.parse_args()
    tests, costs = defaultdict(list), defaultdict(lambda: defaultdict(list))
    for seed in range(options.seeds):
        data = gtl.load(options.data, root=options.root, seed=seed)
        encoder = {"name": options.encoder, "width": options.width, "depth": 2}
        model = gtl.finetune(encoder, data, epochs=options.epochs, seed=seed)
        for name, ends in both_ends(model, data, options.epochs, seed).items():
            tests[name].append(ends["test"])
            for cost, title in COSTS.items():
                costs[name][title].append(ends[cost] / UNITS[cost])
    points = []
    for name, values in tests.items():
        middle = spread(values)
        medians = {title: median(found) for title, found in costs[name].items()}
        points.append(Point(name, middle.mean, medians, middle.std or 0.0))
    better = direction(data.metric) or "higher"
    fronts = {
        title: front([(point.costs[title], point.value) for point in points], better)
        for title in COSTS.values()
    }
    for number, point in enumerate(points):
        cells = [
            f"{value:9.3g} {title}{'*' if number in fronts[title] else ' '}"
            for title, value in point.costs.items()
        ]
        text = spread(tests[point.name]).text()
        print(f"{point.name:32} test {data.metric} {text} {''.join(cells)}")
    picture = draw_front(points, data.metric, "test")
    if picture is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        print(f"picture: {picture.save(options.out)}")


def both_ends(model: gtl.Model, data: gtl.Dataset, epochs: int, seed: int) -> dict[str, dict]:
    """Quality and cost of the model and of its compressed forms, by name."""
    half = {"name": "prune", "keep": 0.5}
    tune = {"name": "finetune", "epochs": epochs}
    methods = {
        "int8": ["int8"],
        "half of the channels": [half],
        "half, fine-tuned": [half, tune],
        "half, fine-tuned, int8": [half, tune, "int8"],
        "low rank": [{"name": "low_rank", "energy": 0.9}],
        "distilled": [{"name": "distill", "epochs": epochs}],
    }
    found = {}
    for name, steps in methods.items():
        small = gtl.compress(model, data, method=steps, seed=seed)
        ends = small.results["compression"]
        found.setdefault("full", ends["before"])
        found[name] = ends["after"]
    return found


if __name__ == "__main__":
    main()
