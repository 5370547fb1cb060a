"""Domain alignment: memory of MMD and WDGRL over the number of nodes, and time of a DANN step.

Memory is the rise of the resident memory in a process of its own, during the losses of vectors of
width 64, half of them of each domain, and their gradient; for WDGRL with its five critic steps.
The plain form of MMD holds all differences of all pairs at once, as published code does.

A step of DANN on two whole citation graphs is timed with source and target in one encoder pass,
which serves the labeled target too, and with a pass of its own for it. Without the files under
``--root`` (or ``GTL_DATA``), random graphs of the same sizes stand in, and the results say so.

    OMP_NUM_THREADS=1 python benchmarks/domain_alignment_memory.py --root path/to/data
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _measure import compare, peak_memory, write_results

import gtl
from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks import DANN, WDGRL, Supervised
from gtl.tasks.mmd import mmd_losses
from gtl.testing import SmallEncoder
from gtl.train import step as step_of_loop
from gtl.train.step import Step, TaskModel
from gtl.weightings import Equal

WIDTH = 64
SIZES = (1000, 2000, 5000, 10_000, 20_000)
PLAIN = 2000  # nodes up to which all differences fit: 1 GB
WIDTHS = torch.tensor([0.5, 1.0, 2.0]) * 2 * WIDTH  # of the usual squared distance, 2 h
NONE = torch.empty(0, dtype=torch.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(measured(options.cell[0], int(options.cell[1]))))
        return
    memory = {
        name: {str(n): in_own_process(name, n) for n in SIZES if name != "plain" or n <= PLAIN}
        for name in ("mmd", "plain", "wdgrl")
    }
    data, graphs = citation_graphs(options.root)
    steps = {"one pass": one_pass(graphs), "two passes": two_passes(graphs)}
    sides = {**steps, "source alone": source_alone(graphs)}
    payload = {
        "what": "rise of resident memory in MB, and seconds of one pass both ways",
        "width": WIDTH,
        "memory": memory,
        "step": {"data": data, **compare(sides, options.repeats)},
    }
    write_results("domain_alignment_memory", payload)
    for name, rows in memory.items():
        for n, found in rows.items():
            print(
                f"{name:>6} {n:>6} nodes  {found['megabytes']:8.1f} MB  {found['seconds']:7.2f} s"
            )
    for name, seconds in payload["step"]["seconds"].items():
        print(f"{name:>13}  {1e3 * seconds['median']:8.1f} ms a step")


# -- memory --------------------------------------------------------------------------------------


def in_own_process(name: str, nodes: int) -> dict[str, float]:
    """:func:`measured` in a new process, whose memory nothing has touched."""
    command = [sys.executable, __file__, "--cell", name, str(nodes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(name: str, nodes: int) -> dict[str, float]:
    """Peak memory and time of one method on random vectors."""
    rng = torch.Generator().manual_seed(0)
    half = nodes // 2
    x, y = torch.randn(2, half, WIDTH, generator=rng)
    call = {"mmd": mmd, "plain": plain_mmd, "wdgrl": wdgrl}[name]
    call(x[:50], y[:50] + 0.5)()  # libraries are loaded
    run = call(x, y + 0.5)
    start = time.perf_counter()
    rise = peak_memory(run)
    seconds = time.perf_counter() - start
    return {"megabytes": round(rise / 1e6, 1), "seconds": round(seconds, 3)}


def mmd(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """The squared MMD and its gradient."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    return lambda: mmd_losses(x, y, WIDTHS).mean().backward()


def plain_mmd(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """The same from the differences of all pairs of the pooled sample, ``[2b, 2b, d]``."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()

    def run() -> None:
        rows, n = torch.cat([x, y]), len(x)
        distances = (rows.unsqueeze(0) - rows.unsqueeze(1)).square().sum(2)
        kernel = torch.stack([torch.exp(-distances / width) for width in WIDTHS]).mean(0)
        within = [
            (part.sum() - len(part)) / (len(part) * (len(part) - 1))
            for part in (kernel[:n, :n], kernel[n:, n:])
        ]
        (within[0] + within[1] - 2 * kernel[:n, n:].mean()).backward()

    return run


def wdgrl(x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """A step of WDGRL: five critic steps, then the losses of the encoder and their gradient."""
    graphs = [Graph(NONE, NONE, len(rows), rows, seeds=torch.arange(len(rows))) for rows in (x, y)]
    source = graphs[0].replace(y=torch.zeros(len(x), dtype=torch.int64))
    schema = Schema.of(source)
    encoder, task = SmallEncoder(schema, WIDTH), WDGRL(steps=5)
    target = Supervised(kind="multiclass", outputs=2)
    for part in (target, task):
        part.setup(schema, WIDTH)
    model = TaskModel(encoder, {"supervised": target, "wdgrl": task})
    task.after_step(model, 0.0)

    def run() -> None:
        view = task.view(Batch(source, graphs[1]), torch.Generator().manual_seed(0))
        nodes = view.graph.x.clone().requires_grad_()  # the vectors themselves
        task.losses(nodes, view).mean().backward()
        task.after_step(model, 0.5)

    return run


# -- time of a step ------------------------------------------------------------------------------


def citation_graphs(root: str) -> tuple[str, tuple[Graph, Graph]]:
    """A labeled source graph and a target graph, and what they are."""
    names = ("acmv9", "citationv1")
    if root and all((Path(root) / "citation-domains" / f"{name}.mat").is_file() for name in names):
        data = [gtl.load(f"mat:{name}", root=root) for name in names]
        source, target = (part.batch(part.items("all")) for part in data)
        return " to ".join(names), (source, target.replace(y=None))
    source, target = random_citations(9360, 31_112, 0), random_citations(8935, 30_196, 1)
    y = (torch.rand(9360, 5, generator=torch.Generator().manual_seed(2)) < 0.3).float()
    return "random graphs of that size", (source.replace(y=y), target)


def random_citations(nodes: int, edges: int, seed: int) -> Graph:
    """Random edges and sparse bags of 6,775 words."""
    rng = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, edges // 2), generator=rng)
    src, dst = torch.cat([ends, ends.flip(0)], 1)
    x = (torch.rand(nodes, 6775, generator=rng) < 0.005).float()
    return Graph(src.contiguous(), dst.contiguous(), nodes, x, seeds=torch.arange(nodes))


def one_pass(graphs: tuple[Graph, Graph]) -> Callable[[], None]:
    """A step of DANN as it is."""
    return training_step(graphs, {"dann": DANN()})


def two_passes(graphs: tuple[Graph, Graph]) -> Callable[[], None]:
    """The same with an encoder pass of its own for the labeled target."""
    step = training_step(graphs, {"dann": DANN()})

    def run() -> None:
        shared = step_of_loop.begins_with
        step_of_loop.begins_with = lambda whole, part: False
        try:
            step()
        finally:
            step_of_loop.begins_with = shared

    return run


def source_alone(graphs: tuple[Graph, Graph]) -> Callable[[], None]:
    """A step without a domain task."""
    return training_step(graphs, {})


def training_step(graphs: tuple[Graph, Graph], more: dict[str, Any]) -> Callable[[], None]:
    """One step of the defaults of fine-tuning on nodes, with Adam and equal weights."""
    source, target = graphs
    torch.manual_seed(0)
    encoder = gtl.encoders.GCN(
        Schema.of(source), WIDTH, 2, norm=None, dropout=0.5, input_dropout=0.5, embedding=None
    )
    tasks = {"supervised": Supervised(kind="binary", outputs=source.y.shape[1]), **more}
    for task in tasks.values():
        task.setup(encoder.schema, WIDTH)
    model = TaskModel(encoder, tasks)
    for task in tasks.values():
        task.after_step(model, 0.0)
    optimizer, weighting = torch.optim.Adam(model.parameters(), lr=1e-3), Equal()
    weighting.setup(list(tasks), "supervised")
    rng = torch.Generator().manual_seed(0)

    def run() -> None:
        views = {
            name: task.view(Batch(source, target if task.uses_unlabeled else None), rng)
            for name, task in tasks.items()
        }
        optimizer.zero_grad()
        weighting.backward(Step(model, views, optimizer, "supervised"))
        optimizer.step()
        for task in tasks.values():
            task.after_step(model, 0.5)

    return run


if __name__ == "__main__":
    main()
