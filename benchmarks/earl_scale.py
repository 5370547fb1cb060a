"""EARL on graphs of 10 thousand to a million entities: parameters, memory and time of an epoch.

Synthetic graphs with three triples an entity and twenty relations, of which a few are frequent
(Zipf), as in real ones. The number of reserved entities is an option and the same for all sizes:
then the number of parameters is the same, too. An epoch has ten steps, in each of which the graph
without a tenth of the triples is encoded, and that tenth is ranked. Time is the median of the steps
after the first, in processor time; memory is the rise of resident memory in all of them, above the
graph and the parameters, in a process of its own for each size.

    OMP_NUM_THREADS=1 python benchmarks/earl_scale.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch
from _measure import peak_memory, write_results
from _triples import bytes_of, parameters_of

from gtl.encoders import EARL
from gtl.graph import Graph, Schema
from gtl.roles import Batch
from gtl.tasks.link_ranking import LinkRanking
from gtl.train.step import TaskModel

SIZES = (10_000, 100_000, 1_000_000)
TRIPLES, RELATIONS, STEPS = 3, 20, 10  # triples an entity; steps of an epoch
WIDTH, RESERVED, NEGATIVES = 32, 1000, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=3, help="steps that are measured")
    options = parser.parse_args()
    if options.size:
        print(json.dumps(measure(options.size, options.steps)))
        return
    runs = []
    for size in SIZES:
        command = [sys.executable, __file__, "--size", str(size), "--steps", str(options.steps)]
        runs.append(
            json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        )
        print(runs[-1], flush=True)
    how = {"width": WIDTH, "reserved": RESERVED, "negatives": NEGATIVES, "steps_per_epoch": STEPS}
    write_results("earl_scale", {"settings": how, "runs": runs})


def knowledge_graph(entities: int) -> Graph:
    """Random triples; the frequency of relation ``i`` is proportional to ``1 / (i + 1)``."""
    rng = torch.Generator().manual_seed(0)
    count = TRIPLES * entities
    ends = torch.randint(entities, (2, count), generator=rng)
    frequency = 1 / torch.arange(1.0, RELATIONS + 1)
    kinds = torch.multinomial(frequency, count, replacement=True, generator=rng)
    return Graph(*ends, entities, edge_type=kinds)


def measure(entities: int, steps: int) -> dict[str, Any]:
    """One size: parameters, bytes, peak memory and time of steps."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    graph = knowledge_graph(entities)
    encoder = EARL(Schema(edge_types=RELATIONS), width=WIDTH, reserved=RESERVED)
    encoder.observe(graph)
    task = LinkRanking(negatives=NEGATIVES, drawn=graph.num_edges // STEPS, relations="encoder")
    task.setup(encoder.schema, WIDTH)
    model = TaskModel(encoder, {"link_ranking": task})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rng = torch.Generator().manual_seed(0)
    seconds = []

    def step() -> None:
        started = time.process_time()
        view = task.view(Batch(graph), rng)
        model({"link_ranking": view})[0]["link_ranking"].mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - started)

    peak = peak_memory(lambda: [step() for _ in range(1 + steps)])
    middle = statistics.median(seconds[1:])
    return {
        "entities": entities,
        "triples": graph.num_edges,
        "parameters": parameters_of(model),
        "bytes": bytes_of(model),
        "table_parameters": entities * WIDTH,
        "peak_bytes": peak,
        "seconds_per_step": round(middle, 3),
        "seconds_per_epoch": round(STEPS * middle, 2),
        "seconds_first_step": round(seconds[0], 3),
    }


if __name__ == "__main__":
    main()
