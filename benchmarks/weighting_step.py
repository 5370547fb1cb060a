"""What AUX-TS costs a step, against equal weights, a `higher` loop and the published sequence.

All sides train the same model on the same graphs; a turn is four steps, so that `refresh=4` looks
ahead exactly once. The sides:

- `equal`: one backward pass a step;
- `aux_ts refresh R, parameters | representation`: this library, a look-ahead every R steps, cosines
  of the gradients of the shared parameters (a backward pass a task) or of the node vectors;
- `gcs`: gradient cosine similarity;
- `higher loop`: weighted loss, differentiable Adam step and meta loss through `higher`, one graph
  through all of it, in every step, with one measurement of the cosines;
- `published sequence`: what the published scripts do in every step: cosines and a weighted step of
  a copy of the model, a meta loss, then cosines and a weighted step of the model itself. (There the
  network receives no gradient; it costs the same.)

Two layouts: `one graph`, every task reads the same encoded graph, as in the published scripts; and
`own views`, every task has its own view and encoder pass, as the built-in tasks do.

Times are processor times. Cases that are not measured keep their former results.

    OMP_NUM_THREADS=1 python benchmarks/weighting_step.py --root path/to/data
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _measure import compare, peak_memory, read_results, write_results
from batching import random_molecules, read_molecules
from torch import Tensor, nn

import gtl
from gtl.encoders import GCN, GIN
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.roles import Batch, Task, View
from gtl.tasks.self_supervised.attribute_masking import AttributeMasking
from gtl.tasks.self_supervised.context_prediction import ContextPrediction
from gtl.tasks.self_supervised.edge_prediction import EdgePrediction
from gtl.tasks.self_supervised.infomax import Infomax
from gtl.tasks.supervised import Supervised
from gtl.train.allocation import keep_freed_memory
from gtl.train.step import Step, TaskModel
from gtl.weightings import GCS, AuxTS, Equal, WeightNetwork, gradient_consistency
from gtl.weightings.look_ahead.network import sample_features

STEPS, MOLECULES, WIDTH, DEPTH = 4, 64, 128, 5
NODES, EDGES = 20_000, 200_000
CASES = (
    "molecules, one graph",
    "molecules, own views",
    "cora, one graph",
    "cora, own views",
    "large graph, one graph",
    "large graph, own views",
)


class NodeValues(Task):
    """An auxiliary task on the graph as it is: squared error of values at the nodes."""

    def build(self, schema: Schema, width: int) -> None:
        self.head = nn.Linear(width, 1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        graph = batch.source
        return View(graph, {"values": torch.randn(graph.num_nodes, generator=rng)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        return (self.head(nodes).squeeze(1) - view.targets["values"]).square()


class Training:
    """A model, its graphs and an optimizer."""

    def __init__(self, case: str, auxiliary: int, root: str):
        torch.manual_seed(0)
        self.rng = torch.Generator().manual_seed(0)
        graphs, layout = case.split(", ")
        if graphs == "molecules":
            self.graphs, schema = molecules(root, self.rng)
            encoder: nn.Module = GIN(schema, WIDTH, DEPTH)
            width, real = (
                WIDTH,
                [AttributeMasking(), EdgePrediction(), ContextPrediction(), Infomax()],
            )
        else:
            draw = cora if graphs == "cora" else large_graph
            self.graphs, schema = draw(root, self.rng)
            width = 128
            encoder, real = GCN(schema, width, 3), [AttributeMasking(), EdgePrediction(), Infomax()]
        own = layout == "own views"
        tasks = real[:auxiliary] if own else [NodeValues() for _ in range(auxiliary)]
        while len(tasks) < auxiliary:
            tasks.append(AttributeMasking())
        named: dict[str, Task] = {"target": Supervised(kind="multiclass", outputs=4)}
        named.update({f"task{i}": task for i, task in enumerate(tasks)})
        for task in named.values():
            task.setup(schema, width)
        self.model = TaskModel(encoder, named)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)

    def views(self, turn: int) -> dict[str, View]:
        graph = self.graphs[turn % len(self.graphs)]
        return {name: task.view(Batch(graph), self.rng) for name, task in self.model.tasks.items()}  # type: ignore[operator]


def molecules(root: str, rng: torch.Generator) -> tuple[list[Graph], Schema]:
    folder = Path(root) / "ogb" / "ogbg_molbbbp" / "raw"
    packed: PackedGraphs = read_molecules(folder) if is_real(root) else random_molecules(512, 0)
    order = torch.randperm(len(packed), generator=rng)
    batches = [packed.batch(index) for index in order.split(MOLECULES)[:STEPS]]
    labels = [torch.randint(4, (MOLECULES,), generator=rng) for _ in batches]
    return [graph.replace(y=y) for graph, y in zip(batches, labels)], packed.schema


def large_graph(_: str, rng: torch.Generator) -> tuple[list[Graph], Schema]:
    ends = [torch.randint(NODES, (EDGES // 2,), generator=rng) for _ in "ab"]
    graph = Graph(
        torch.cat(ends),
        torch.cat(ends[::-1]),
        NODES,
        x=torch.randn(NODES, 64, generator=rng),
        seeds=torch.randperm(NODES, generator=rng)[:1000],
        y=torch.randint(4, (1000,), generator=rng),
    )
    return [graph], Schema(node=Columns(width=64))


def cora(root: str, rng: torch.Generator) -> tuple[list[Graph], Schema]:
    data = gtl.load("planetoid:cora", root=root)
    assert data.graph is not None
    seeds = data.split["train"]
    y = torch.randint(4, (len(seeds),), generator=rng)
    return [data.graph.replace(seeds=seeds, y=y)], data.schema


def is_real(root: str) -> bool:
    return bool(root) and (Path(root) / "ogb" / "ogbg_molbbbp" / "raw").is_dir()


# -- sides ---------------------------------------------------------------------------------------


def with_weighting(training: Training, weighting: Any) -> Callable[[], None]:
    weighting.setup(list(training.model.tasks), "target")

    def turn() -> None:
        for i in range(STEPS):
            step = Step(training.model, training.views(i), training.optimizer, "target")
            training.optimizer.zero_grad(set_to_none=True)
            weighting.backward(step)
            training.optimizer.step()

    return turn


def weighted(losses: dict[str, Tensor], network: nn.Module, cosines: Tensor) -> Tensor:
    """Weighted loss with history to the network, as in the paper: its answers as they are."""
    features = sample_features(losses, list(losses), cosines.tolist())
    weights = network(features).split([len(values) for values in losses.values()])
    return torch.stack([(v * w).mean() for v, w in zip(losses.values(), weights)]).sum()


def cosines_of(losses: dict[str, Tensor], shared: list[Tensor]) -> Tensor:
    target, *others = [values.mean() for values in losses.values()]
    return gradient_consistency(target, others, shared)


def published(training: Training) -> Callable[[], None]:
    model, optimizer = training.model, training.optimizer
    mirror = copy.deepcopy(model)
    other = torch.optim.Adam(mirror.parameters(), lr=1e-3, fused=True)
    count = len(model.tasks)
    network = WeightNetwork(2 * count)
    learner = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(views: dict[str, View]) -> None:
        mirror.load_state_dict(model.state_dict())
        losses, _ = mirror(views)
        cosines = cosines_of(losses, list(mirror.encoder.parameters()))
        other.zero_grad()
        weighted(losses, network, cosines).backward()
        torch.nn.utils.clip_grad_norm_(mirror.parameters(), 0.5)
        other.step()
        meta = mirror({"target": views["target"]})[0]["target"].mean()
        learner.zero_grad()
        meta.backward()
        learner.step()
        losses, _ = model(views)
        cosines = cosines_of(losses, list(model.encoder.parameters()))
        optimizer.zero_grad()
        with torch.no_grad():
            features = sample_features(losses, list(losses), cosines.tolist())
            weights = network(features).split([len(values) for values in losses.values()])
        torch.stack([(v * w).mean() for v, w in zip(losses.values(), weights)]).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()

    def turn() -> None:
        for i in range(STEPS):
            step(training.views(i))

    return turn


def higher_loop(training: Training) -> Callable[[], None]:
    import higher

    model, optimizer = training.model, training.optimizer
    network = WeightNetwork(2 * len(model.tasks))
    learner = torch.optim.Adam(network.parameters(), lr=1e-2)

    def step(views: dict[str, View]) -> None:
        with higher.innerloop_ctx(model, optimizer) as (inner, inner_optimizer):
            losses, _ = inner(views)
            shared = [p for n, p in zip(names, inner.fast_params) if n.startswith("encoder.")]
            cosines = cosines_of(losses, shared)
            inner_optimizer.step(weighted(losses, network, cosines))
            meta = inner({"target": views["target"]})[0]["target"].mean()
            learner.zero_grad()
            for p, g in zip(
                network.parameters(), torch.autograd.grad(meta, list(network.parameters()))
            ):
                p.grad = g
            learner.step()
        losses, _ = model(views)
        optimizer.zero_grad()
        with torch.no_grad():
            features = sample_features(losses, list(losses), cosines.tolist())
            weights = network(features).split([len(values) for values in losses.values()])
        torch.stack([(v * w).mean() for v, w in zip(losses.values(), weights)]).sum().backward()
        optimizer.step()

    names = [name for name, _ in model.named_parameters()]

    def turn() -> None:
        for i in range(STEPS):
            step(training.views(i))

    return turn


SIDES: dict[str, Callable[[Training], Callable[[], None]]] = {
    "equal": lambda t: with_weighting(t, Equal()),
    "aux_ts refresh 4, parameters": lambda t: with_weighting(
        t, AuxTS(refresh=4, consistency="parameters")
    ),
    "aux_ts refresh 4, representation": lambda t: with_weighting(
        t, AuxTS(refresh=4, consistency="representation")
    ),
    "aux_ts refresh 1, parameters": lambda t: with_weighting(
        t, AuxTS(refresh=1, consistency="parameters")
    ),
    "aux_ts refresh 1, representation": lambda t: with_weighting(
        t, AuxTS(refresh=1, consistency="representation")
    ),
    "gcs": lambda t: with_weighting(t, GCS()),
    "higher loop": higher_loop,
    "published sequence": published,
}
OWN = [name for name in SIDES if name.startswith(("equal", "aux_ts"))]


# -- measuring -----------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", action="append", choices=CASES, help="only these cases")
    parser.add_argument("--no-memory", action="store_true", help="times alone")
    parser.add_argument("--no-write", action="store_true", help="print, write no results")
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    keep_freed_memory()  # as the loops of gtl do
    if options.memory_of:
        side = SIDES[options.memory_of](Training(options.case[0], 4, options.root))
        print(json.dumps(peak_memory(side)))
        return
    known = read_results("weighting_step")
    timing, memory = known.get("timing", {}), known.get("memory", {})
    for case in options.case or CASES:
        if case.startswith("cora") and not options.root:
            continue
        for count in (1, 2, 4, 8) if case == CASES[1] else (4,):
            names = list(SIDES) if count == 4 else OWN
            sides = {name: SIDES[name](Training(case, count, options.root)) for name in names}
            result = compare(sides, options.repeats, clock=time.process_time)
            timing[f"{case}, {count} auxiliary"] = result
            report(f"{case}, {count} auxiliary tasks", result["ratio"], "x the time of equal")
        if options.no_memory:
            continue
        peaks = {name: memory_of(name, case, options.root) for name in SIDES}
        ratios = {name: round(peak / peaks["equal"], 3) for name, peak in peaks.items()}
        memory[case] = {"bytes": peaks, "ratio": ratios}
        report(f"{case}, 4 auxiliary tasks", ratios, "x the peak memory of equal")
    if not options.no_write:
        payload = {
            "what": f"{STEPS} training steps, GIN {DEPTH} x {WIDTH} on {MOLECULES} molecules, or "
            f"GCN 3 x 128 on Cora and on a graph of {NODES} nodes and {EDGES} edges",
            "data": "ogbg-molbbbp" if is_real(options.root) else "random molecule-like graphs",
            "timing": timing,
            "memory": memory,
        }
        write_results("weighting_step", payload)


def memory_of(side: str, case: str, root: str) -> int:
    """Rise of resident memory during four steps, in a process of its own."""
    command = [sys.executable, __file__, "--root", root, "--case", case, "--memory-of", side]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def report(title: str, ratios: dict[str, float], what: str) -> None:
    print(f"{title} ({what})")
    for name, ratio in ratios.items():
        print(f"  {name:<34} {ratio:6.2f}")


if __name__ == "__main__":
    main()
