"""Can an encoder that has only seen single graphs learn to forecast? (AIM, Yang et al. 2023)

Trains an encoder on single snapshots, leaves it frozen, and lets it read windows of them: with
spatial, temporal and joint adaptation, or with a GRU over its vectors. Prints the mean absolute
error on the test part as mean and standard deviation over seeds, its paired difference to the last
value, and the share of parameters that were trained; draws the forecasts of the first seed.

    python examples/static_encoder_through_time.py --data series:chickenpox --root DIR --seeds 3

Without ``--data`` it makes up a series: heat that random sources give to the nodes of a grid.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import gtl
from gtl.data import Series
from gtl.report.compare import paired, spread
from gtl.report.forecast_plot import plot_forecasts


def main() -> None:
    """Parse the options, train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="series:chickenpox, ...; made up by default")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--history", type=int, default=8)
    parser.add_argument("--horizon", type=int, default=2, help="steps ahead")
    parser.add_argument("--out", type=Path, default=Path("forecasts.png"), help="picture")
    options = parser.parse_args()
    series = gtl.load(options.data, root=options.root) if options.data else heat()
    window = {"history": options.history, "horizons": [options.horizon]}
    training = {**window, "epochs": options.epochs, "lr": 1e-2}
    encoder = {"name": "sage", "width": options.width, "depth": 2, "norm": "layer"}
    adapter = {"name": "spatio_temporal", "hidden": 2}
    spatial = {**adapter, "parts": ["spatial"]}
    methods = {
        "last value": lambda seed, static: gtl.forecast("last_value", series, **window),
        "linear": lambda seed, static: gtl.forecast("linear", series, **window),
        "static encoder": lambda seed, static: static,
        "spatial": lambda seed, static: gtl.forecast(
            static, series, adapter=spatial, seed=seed, **training
        ),
        "spatial, temporal, joint": lambda seed, static: gtl.forecast(
            static, series, adapter=adapter, seed=seed, **training
        ),
        "GRU on frozen outputs": lambda seed, static: gtl.forecast(
            static, series, memory="gru", seed=seed, **training
        ),
    }
    scores: dict[str, dict[int, float]] = {name: {} for name in methods}
    first = {}
    for seed in range(options.seeds):
        static = gtl.forecast(encoder, series, seed=seed, **{**training, "history": 1})
        for name, method in methods.items():
            model = method(seed, static)
            scores[name][seed] = model.results["test"]
            first.setdefault(name, model)
    for name, values in scores.items():
        sizes = first[name].results["footprint"]
        share = 100 * sizes["parameters_trained"] / max(sizes["parameters_total"], 1)
        gain = "" if name == "last value" else paired(values, scores["last value"]).text()
        print(
            f"{name:25} test mae {spread(values.values()).text()}  {share:4.0f} %  {gain}".rstrip()
        )
    draw(series, {n: first[n] for n in ("last value", "spatial, temporal, joint")}, options)


def draw(series: Series, models: dict, options: argparse.Namespace) -> None:
    """What came at three nodes over the test part, and what was forecast of it."""
    windows = series.windows(options.history, [options.horizon], "test")
    windows = windows.pick(torch.arange(min(len(windows), 120)))
    steps = windows.future()[:, 0]
    nodes = torch.linspace(0, series.num_nodes - 1, min(3, series.num_nodes)).long()
    said = {n: m.predict(series, windows)[:, 0, nodes, 0].tolist() for n, m in models.items()}
    names = [series.names[i] if series.names else f"node {i}" for i in nodes.tolist()]
    came = series.values[steps][:, nodes, 0].tolist()
    labels = (series.step, f"value, forecast {options.horizon} steps ahead")
    print("picture:", plot_forecasts(steps.tolist(), came, said, names, options.out, labels))


def heat(side: int = 5, steps: int = 200) -> Series:
    """Heat on a grid: each step it spreads to neighbors, fades, and random nodes are heated."""
    rng = torch.Generator().manual_seed(0)
    nodes = torch.arange(side * side)
    right, below = nodes[nodes % side < side - 1], nodes[: -side or None]
    start, end = torch.cat([right, below]), torch.cat([right + 1, below + side])
    graph = gtl.Graph(torch.cat([start, end]), torch.cat([end, start]), len(nodes))
    spread_out = torch.zeros(len(nodes), len(nodes))
    spread_out[graph.dst, graph.src] = 0.2
    keep = 0.95 * (torch.eye(len(nodes)) * (1 - spread_out.sum(0)) + spread_out)
    values, now = [], torch.zeros(len(nodes))
    heated = torch.zeros(len(nodes))
    for _ in range(steps):
        heated = 0.8 * heated + (torch.rand(len(nodes), generator=rng) < 0.03).float()
        now = keep @ now + heated
        values.append(now)
    return Series("heat on a grid", torch.stack(values).unsqueeze(2), graph)


if __name__ == "__main__":
    main()
