"""Data-parallel steps: throughput of one process and of two, and bytes that a step exchanges.

Pre-training (GIN of five layers of 300, attribute masking and motifs) with 256 molecules a step in
all, and with 256 in each process; fine-tuning with AUX-TS and two auxiliary tasks, 64 molecules a
step. The process alone, the same as a group of one, whose sharing costs arithmetic and no waiting,
and the two that share a step, one thread each, take turns, so that a busy spell hits all. Beside
the clock stands processor time: where other work shares the cores, the
clock says little. The last part computes the efficiency of 64 graphics cards from the bytes and
the number of exchanges, by the model of docs/distributed.md; nothing of that is measured.

    OMP_NUM_THREADS=1 python benchmarks/data_parallel.py --root DIR
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _measure import write_results
from torch import distributed as dist

import gtl
from gtl.catalog import ENCODERS, WEIGHTINGS
from gtl.train.distributed.processes import Processes
from gtl.train.distributed.sharing import DividedBatch
from gtl.train.job import Job
from gtl.train.loop import train_on_batches
from gtl.train.model import build_target
from gtl.train.optimizers import build_optimizer
from gtl.train.resolve import as_tasks
from gtl.train.step import TaskModel

DATA = "ogb:ogbg-molbbbp"
GIN = {"name": "gin", "width": 300, "depth": 5}
TASKS = ("attribute_masking", "motif")
# Molecules of a step with one process and with two, steps of a turn, whether there is a target.
CASES = {
    "pretrain, 256 in all": (256, 256, 2, False),
    "pretrain, 256 each": (256, 512, 2, False),
    "finetune, aux_ts, 64 in all": (64, 64, 4, True),
}
SIDES = {"alone": 1, "group of one": 1, "two": 2}
# The model on paper: cards, molecules of each in a step, and what is assumed of the hardware.
CARDS, BATCHES = 64, (64, 256, 1024)
ASSUMED = {"flops": 15e12, "bandwidth": (12.5e9, 50e9), "latency": 50e-6}
NODES = 25  # of a molecule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--child", nargs=4, metavar=("CASE", "SIDE", "RANK", "FOLDER"))
    options = parser.parse_args()
    if options.child:
        case, side, rank, folder = options.child
        return serve(options.root, case, side, int(rank), Path(folder))
    runs = {case: measure(options.root, case, options.turns) for case in CASES}
    write_results("data_parallel", {"runs": runs, "paper": on_paper(runs)})


def measure(root: Path | None, case: str, turns: int) -> dict[str, Any]:
    """Turns of one process and of two, the first of which is not counted."""
    found: dict[str, list[list[dict[str, float]]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        sides = {
            side: [started(root, case, side, rank, folder) for rank in range(count)]
            for side, count in SIDES.items()
        }
        for turn in range(turns + 1):
            for side, workers in sides.items():
                for worker in workers:
                    worker.stdin.write("go\n")
                    worker.stdin.flush()
                lines = [json.loads(worker.stdout.readline()) for worker in workers]
                if turn:
                    found[side].append(lines)
        for worker in (worker for workers in sides.values() for worker in workers):
            worker.stdin.close()
            worker.wait()
    return {"turns": turns, **summary(case, found)}


def summary(case: str, found: dict[str, list[list[dict[str, float]]]]) -> dict[str, Any]:
    """Medians over turns; ratios are those of neighboring turns."""
    alone, together, steps, _ = CASES[case]
    batch = {"alone": alone, "group of one": alone, "two": together}
    clock = {n: [max(w["clock"] for w in turn) / steps for turn in found[n]] for n in found}
    each = {
        n: [statistics.mean(w["processor"] for w in turn) / steps for turn in found[n]]
        for n in found
    }
    waits = [statistics.mean(w["waiting"] / w["clock"] for w in turn) for turn in found["two"]]
    last = found["two"][-1][0]
    return {
        "molecules_per_step": batch,
        "parameters": int(last["parameters"]),
        "molecules_per_second": {n: median(batch[n] / s for s in clock[n]) for n in clock},
        "speedup_by_clock": ratio(batch, clock),
        "processor_seconds_per_step_of_a_process": {n: median(each[n]) for n in each},
        "speedup_by_processor_time": ratio(batch, each),
        "processor_time_of_a_group_of_one": median(
            b / a for a, b in zip(each["alone"], each["group of one"])
        ),
        "share_of_clock_in_exchanges": median(waits),
        "bytes_per_step_of_a_process": int(last["bytes"] / steps),
        "exchanges_per_step": last["exchanges"] / steps,
    }


def ratio(batch: dict[str, int], seconds: dict[str, list[float]]) -> dict[str, float]:
    """Molecules in the time of one process, as multiples: median, lowest and highest turn."""
    pairs = zip(seconds["alone"], seconds["two"])
    values = [(batch["two"] / b) / (batch["alone"] / a) for a, b in pairs]
    lowest, highest = round(min(values), 3), round(max(values), 3)
    return {"median": median(values), "lowest": lowest, "highest": highest}


def median(values: Any) -> float:
    return float(f"{statistics.median(values):.4g}")


def on_paper(runs: dict[str, Any]) -> dict[str, Any]:
    """Efficiency of 64 cards: time of the arithmetic over that with the exchanges after it."""
    run = runs["pretrain, 256 in all"]
    width, depth = GIN["width"], GIN["depth"]
    # Two products with matrices of width x 2 width in each layer, forward and twice as much back,
    # in a view of each task.
    per_molecule = NODES * depth * 2 * (2 * width * 2 * width) * 3 * len(TASKS)
    gradients = 4 * run["parameters"]
    # Each card gets mean, squares and count of every other one, in each batch norm of each view.
    moments = 4 * CARDS * depth * (2 * width + 1) * len(TASKS)
    rows = []
    for batch in BATCHES:
        for bandwidth in ASSUMED["bandwidth"]:
            arithmetic = batch * per_molecule / ASSUMED["flops"]
            transfer = (2 * (CARDS - 1) / CARDS * gradients + moments) / bandwidth
            waiting = run["exchanges_per_step"] * ASSUMED["latency"]
            rows.append(
                {
                    "molecules_per_card": batch,
                    "bytes_per_second": bandwidth,
                    "milliseconds": [
                        round(1e3 * part, 2) for part in (arithmetic, transfer, waiting)
                    ],
                    "efficiency": round(arithmetic / (arithmetic + transfer + waiting), 2),
                }
            )
    return {"cards": CARDS, "assumed": {**ASSUMED, "nodes": NODES}, "rows": rows}


def started(root: Path | None, case: str, side: str, rank: int, folder: str) -> Any:
    place = [] if root is None else ["--root", str(root)]
    child = ["--child", case, side, str(rank), folder]
    return subprocess.Popen(
        [sys.executable, __file__, *place, *child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def serve(root: Path | None, case: str, side: str, rank: int, folder: Path) -> None:
    """Train for a turn at each line that is read."""
    count, processes = SIDES[side], None
    if side != "alone":
        meeting = f"file://{folder}/meeting of {count}"
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
        processes = Watched()
    job = job_of(gtl.load(DATA, root=root), *CASES[case], count=count, processes=processes)
    for epoch, _ in enumerate(sys.stdin):
        before = processes.state() if processes else (0, 0, 0.0)
        clock, busy = time.perf_counter(), time.process_time()
        train_on_batches(job, epoch, None)
        line = {
            "clock": time.perf_counter() - clock,
            "processor": time.process_time() - busy,
            "parameters": sum(p.numel() for p in job.model.parameters()),
        }
        after = processes.state() if processes else (0, 0, 0.0)
        names = ("bytes", "exchanges", "waiting")
        line |= {name: b - a for name, a, b in zip(names, before, after)}
        print(json.dumps(line), flush=True)


class Watched(Processes):
    """Processes that measure the time of their exchanges."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def _exchange(self, *arguments: Any, **options: Any) -> None:
        begun = time.perf_counter()
        super()._exchange(*arguments, **options)
        self.seconds += time.perf_counter() - begun

    def state(self) -> tuple[int, int, float]:
        return self.exchanged, self.exchanges, self.seconds


def job_of(
    data: gtl.Dataset,
    alone: int,
    together: int,
    steps: int,
    has_target: bool,
    count: int,
    processes: Processes | None,
) -> Job:
    """A training whose epoch has the steps of a turn."""
    torch.manual_seed(0)
    encoder = ENCODERS.build(GIN, data.schema)
    tasks = as_tasks(list(TASKS), data, encoder, {})
    target = "supervised" if has_target else None
    if target:
        shape = {"kind": data.kind, "outputs": data.num_outputs, "level": data.level}
        built = build_target(encoder, shape, "linear", "mean")
        built.setup(data.schema, encoder.width)
        tasks = {target: built, **tasks}
    model = TaskModel(encoder, tasks).train()
    weighting = WEIGHTINGS.build("aux_ts" if target else "equal")
    weighting.setup(list(tasks), target)
    batch = together if count > 1 else alone
    return Job(
        model,
        weighting,
        build_optimizer(model, "adam", 1e-3, 0.0),
        data,
        data.items("train" if target else "all")[: steps * batch],
        1_000,
        batch,
        torch.Generator().manual_seed(0),
        target=target,
        sharing=None if processes is None else DividedBatch(processes),
    )


if __name__ == "__main__":
    main()
