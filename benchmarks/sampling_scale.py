"""AUX-TS steps on sampled neighborhoods: what they cost must not grow with the graph.

Graphs from 10k to 1M nodes, each in a process of its own; the processes take turns, so that a busy
spell hits all of them. A step trains an encoder of two layers of 64 on a batch of nodes and ten
neighbors at each of two hops, with three auxiliary tasks. Memory is what comes on top of the graph
and the edges sorted for sampling, the model included. With 512 nodes a batch reaches all of the
smallest graph and a third of the next; with 64 the samples of all graphs are of about one size.
Beside it, on the largest graph, the time that gtl's sampler takes and DGL's (one that draws the
edges for gtl, and the blocks of its own data loader).

Growth is that of processor time, which on one thread is what the clock shows when nothing else
runs.

    OMP_NUM_THREADS=1 python benchmarks/sampling_scale.py
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from _measure import compare, peak_memory, write_results
from torch import Tensor

from gtl.catalog import ENCODERS, WEIGHTINGS
from gtl.data.dataset import Dataset
from gtl.graph import Graph, neighbors, sample_neighbors
from gtl.graph.sample import incoming
from gtl.train import loop
from gtl.train.job import Job
from gtl.train.model import build_target
from gtl.train.optimizers import build_optimizer
from gtl.train.resolve import as_tasks
from gtl.train.step import TaskModel

TASKS = ("attribute_masking", "edge_prediction", "infomax")
SIZES = ((10_000, 100_000), (100_000, 1_000_000), (1_000_000, 10_000_000))
FAN_OUT = (10, 10)
STEPS = 4  # of a turn: AUX-TS looks ahead in one of four


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoders", nargs="+", default=["gcn", "sage"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 512])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", nargs=4, metavar=("ENCODER", "NODES", "EDGES", "BATCH"))
    options = parser.parse_args()
    if options.child:
        name, *numbers = options.child
        return serve(name, *map(int, numbers))
    runs = [
        measure(name, batch, options.turns)
        for name in options.encoders
        for batch in options.batches
    ]
    samplers = compare_samplers(*SIZES[-1])
    write_results("sampling_scale", {"runs": runs, "samplers": samplers})


def measure(encoder: str, batch: int, turns: int) -> dict[str, Any]:
    """Steps of all sizes, turn by turn; at least five turns."""
    if turns < 5:
        raise ValueError(f"`turns` is {turns}, expected at least 5")
    children = [Child(encoder, nodes, edges, batch) for nodes, edges in SIZES]
    answers: list[list[dict[str, float]]] = [[] for _ in children]
    for _ in range(turns):
        for child, taken in zip(children, answers):
            taken.append(child.ask("step"))
    rows = []
    for child, taken in zip(children, answers):
        clock, busy = ([turn[key] / STEPS for turn in taken] for key in ("clock", "busy"))
        rows.append(
            {**child.about, "seconds_per_step": spread(clock), "busy_per_step": spread(busy)}
        )
        child.close()
    growth = {}
    for name, other in (("smallest", 0), ("middle", 1)):
        ratios = (a["busy"] / b["busy"] for a, b in zip(answers[-1], answers[other]))
        growth[f"largest_over_{name}"] = {
            "busy": round(statistics.median(ratios), 3),
            "peak_bytes": round(rows[-1]["peak_bytes"] / rows[other]["peak_bytes"], 3),
            "sampled_nodes": round(rows[-1]["sampled_nodes"] / rows[other]["sampled_nodes"], 3),
        }
    for row in rows:
        print(
            f"{encoder:>5} {batch:>4}  {row['nodes']:>9,} nodes {row['edges']:>11,} edges  "
            f"{1e3 * row['busy_per_step']['median']:7.1f} ms a step "
            f"({1e3 * row['seconds_per_step']['median']:.1f} by the clock)  "
            f"{row['peak_bytes'] / 2**20:6.0f} MiB  sample of {row['sampled_nodes']:,} nodes"
        )
    print(growth)
    return {"encoder": encoder, "batch": batch, "fan_out": FAN_OUT, "sizes": rows, "growth": growth}


def spread(values: list[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    parts = {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}
    return {name: round(value, 4) for name, value in parts.items()}


class Child:
    """A process that holds one graph and takes steps when asked."""

    def __init__(self, *arguments: Any):
        command = [sys.executable, __file__, "--child", *map(str, arguments)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.about = self._answer()

    def ask(self, what: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(what, file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


def serve(encoder: str, nodes: int, edges: int, batch: int) -> None:
    """The child's side: first what the steps need, then a turn for every line that comes."""
    warm_up(encoder)
    data = random_data(nodes, edges)
    assert data.graph is not None
    started = time.perf_counter()
    incoming(data.graph)
    sorting = time.perf_counter() - started
    give_memory_back()
    jobs: list[Callable[[], int]] = []

    def first_steps() -> None:
        jobs.append(stepper(encoder, data, batch))
        for _ in range(2 * STEPS):
            jobs[0]()

    peak = peak_memory(first_steps)
    about = {"nodes": nodes, "edges": data.graph.num_edges, "peak_bytes": peak}
    fields = (data.graph.src, data.graph.dst, data.graph.x)
    held = sum(field.nbytes for field in fields if field is not None)
    index = sum(part.nbytes for part in incoming(data.graph))
    about.update(graph_bytes=held, sorted_bytes=index, sampled_nodes=jobs[0]())
    print(json.dumps({**about, "sorting_seconds": round(sorting, 3)}), flush=True)
    for _ in sys.stdin:
        clock, busy = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            jobs[0]()
        taken = {"clock": time.perf_counter() - clock, "busy": time.process_time() - busy}
        print(json.dumps(taken), flush=True)


def stepper(encoder: str, data: Dataset, batch: int) -> Callable[[], int]:
    """A call that takes one AUX-TS step as fine-tuning does; returns the nodes of its sample."""
    assert data.graph is not None
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    options = {"name": encoder, "width": 64, "depth": len(FAN_OUT)}
    built = ENCODERS.build(options, data.schema)
    shape = {"kind": data.kind, "outputs": data.num_outputs, "level": data.level}
    target = build_target(built, shape, "linear", "mean")
    target.setup(data.schema, built.width)
    helpers = as_tasks(TASKS, data, built, {})
    model = TaskModel(built, {"supervised": target, **helpers}).train()
    weighting = WEIGHTINGS.build("aux_ts")
    weighting.setup(list(model.tasks), "supervised")
    optimizer = build_optimizer(model, "adam", 1e-3, 0.0)
    job = Job(
        model,
        weighting,
        optimizer,
        data,
        data.items("train"),
        1,
        batch,
        rng,
        target="supervised",
        fan_out=FAN_OUT,
    )
    turn = itertools.chain.from_iterable(
        loop.batches(job.items, batch, rng) for _ in itertools.count()
    )

    def step() -> int:
        taken, _ = loop.train_step(job, next(turn))
        return taken.views["supervised"].graph.num_nodes

    return step


def random_data(nodes: int, edges: int) -> Dataset:
    """Both directions of random pairs, 64 random features, ten classes."""
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randint(nodes, (2, edges // 2), generator=rng)
    x = torch.randn(nodes, 64, generator=rng)
    graph = Graph(torch.cat([one, other]), torch.cat([other, one]), nodes, x)
    labels = torch.randint(10, (nodes,), generator=rng)
    split = {"train": torch.arange(0, nodes, 2)}
    return Dataset("benchmark:random", graph=graph, labels=labels, split=split, level="node")


def warm_up(encoder: str) -> None:
    """Load what is loaded late, so that it does not count as memory of the steps."""
    step = stepper(encoder, random_data(100, 400), 10)
    for _ in range(2 * STEPS):
        step()


def give_memory_back() -> None:
    """Ask the allocator to return what it keeps for later, or peaks would look too small."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)


# -- samplers ------------------------------------------------------------------------------------


def compare_samplers(nodes: int, edges: int, seeds: int = 1000) -> dict[str, Any]:
    """One sample around ``seeds`` nodes, features cut out, by gtl's sampler and with DGL's."""
    graph = random_data(nodes, edges).graph
    assert graph is not None and graph.x is not None
    rng = torch.Generator().manual_seed(1)
    batches = iter(torch.randint(nodes, (1000, seeds), generator=rng).unbind())

    def ours() -> Graph:
        return sample_neighbors(graph, next(batches), FAN_OUT, rng)

    sides: dict[str, Callable[[], Any]] = {"gtl": ours}
    try:
        sides.update(dgl_sides(graph, ours, lambda: next(batches)))
    except ImportError as error:
        print(f"skipped dgl: {error}")
    result = compare(sides, repeats=15, warmup=3)
    for name, taken in result["seconds"].items():
        print(f"{name:>22}  {1e3 * taken['median']:7.1f} ms a sample")
    return {"nodes": nodes, "edges": graph.num_edges, "seeds": seeds, **result}


def dgl_sides(
    graph: Graph, ours: Callable[[], Graph], seeds: Callable[[], Tensor]
) -> dict[str, Callable[[], Any]]:
    """DGL's draws in the place of gtl's, and the blocks that DGL's own loader would make."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl

    _, order, senders = incoming(graph)
    whole = dgl.graph((senders, graph.dst[order]), num_nodes=graph.num_nodes).formats("csc")
    whole.create_formats_()

    def draw(starts: Tensor, nodes: Tensor, limit: int, rng: Any) -> tuple[Tensor, Tensor]:
        part = dgl.sampling.sample_neighbors(whole, nodes, limit)
        ascending, rows = nodes.sort()
        row = rows[torch.searchsorted(ascending, part.edges()[1])]
        return part.edata[dgl.EID], row

    def drawn_by_dgl() -> Graph:
        with mock.patch.object(neighbors, "edges_into", draw):
            return ours()

    sampler = dgl.dataloading.NeighborSampler(list(FAN_OUT))

    def blocks() -> Tensor:
        inputs, _, _ = sampler.sample_blocks(whole, torch.unique(seeds()))
        assert graph.x is not None
        return graph.x[inputs]

    return {"gtl, DGL draws": drawn_by_dgl, "DGL's blocks": blocks}


if __name__ == "__main__":
    main()
