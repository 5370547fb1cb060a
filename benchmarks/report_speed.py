"""Time of a report of 50 runs: tables, PNG files, LaTeX, and the page with its images.

The run folders are written here, as loops write them: 5 methods with 5 seeds on 2 data sets, 100
epochs with 3 auxiliary tasks each, and predictions for 300 molecules. The report itself is that of
`gtl report`, from finding the folders to the last file. Seconds of the processor are beside those
of the clock, which on a shared machine also count what others do.

    OMP_NUM_THREADS=1 python benchmarks/report_speed.py
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import statistics
import tempfile
import time
from pathlib import Path

from _measure import write_results

from gtl.report import report

METHODS = {
    "target only": ((), "equal"),
    "equal": (("attribute_masking", "infomax", "motif"), "equal"),
    "aux_ts": (("attribute_masking", "infomax", "motif"), "aux_ts"),
    "gcs": (("attribute_masking", "infomax", "motif"), "gcs"),
    "dwa": (("attribute_masking", "infomax", "motif"), "dwa"),
}
DATA = {"smiles:solubility.csv": "rmse", "smiles:activity.csv": "rocauc"}
SEEDS, EPOCHS, ITEMS = 5, 100, 300
PARTS = ("C", "CC", "O", "N", "c1ccccc1", "C(=O)", "C(F)", "C1CCNCC1", "S", "C(Cl)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        write_runs(runs, random.Random(0))
        wall, processor = [], []
        for number in range(options.repeats):
            started, worked = time.perf_counter(), time.process_time()
            found = report(runs, out=Path(folder) / f"report-{number}")
            wall.append(round(time.perf_counter() - started, 3))
            processor.append(round(time.process_time() - worked, 3))
        page = (found.folder / "report.html").stat().st_size
    payload = {
        "what": "gtl report of 50 runs: 5 methods, 5 seeds, 2 data sets",
        "wall_seconds": wall,
        "processor_seconds": processor,
        "page_bytes": page,
        "pictures": len(found.files) - 5,
    }
    write_results("report_speed", payload)
    for name, values in (("clock", wall), ("processor", processor)):
        print(f"{name:>9}: median {statistics.median(values):.1f} s of {values}")


def write_runs(folder: Path, rng: random.Random) -> None:
    """Write 50 run folders."""
    for data, metric in DATA.items():
        for title, (tasks, weighting) in METHODS.items():
            for seed in range(SEEDS):
                place = folder / f"{data.split(':')[1]}-{title.replace(' ', '-')}-{seed}"
                place.mkdir(parents=True)
                write_run(place, data, metric, tasks, weighting, seed, rng)


def write_run(
    folder: Path,
    data: str,
    metric: str,
    tasks: tuple[str, ...],
    weighting: str,
    seed: int,
    rng: random.Random,
) -> None:
    """Write one run folder with all that a report reads."""
    config = {
        "command": "finetune",
        "data": data,
        "data_options": {"seed": seed},
        "data_checksum": f"{data} {seed}",
        "encoder": {"name": "gin", "width": 300},
        "pretrained": None,
        "tasks": {name: {"name": name} for name in tasks},
        "weighting": {"name": weighting},
        "epochs": EPOCHS,
        "seed": seed,
        "versions": {"gtl": "0"},
    }
    value = rng.uniform(0.6, 0.9)
    footprint = {
        "parameters_total": 1_800_000 + 90_000 * len(tasks),
        "parameters_trained": 1_800_000,
        "stored_bytes": 7_200_000,
        "seconds": rng.uniform(20, 60),
        "peak_memory_bytes": 2**30,
    }
    results = {"metric": metric, "valid": value, "test": value - 0.02, "epoch": 9, "seed": seed}
    lines = [_epoch(number, tasks, value, rng) for number in range(EPOCHS)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps({**results, "footprint": footprint}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with open(folder / "predictions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("smiles", "label", "predicted", "component 1", "component 2"))
        for _ in range(ITEMS):
            smiles = "".join(rng.choices(PARTS, k=8)) or "C"
            label = rng.gauss(0, 1)
            guess = label + rng.gauss(0, 0.5)
            if metric == "rocauc":
                label, guess = float(label > 0), 1 / (1 + math.exp(-guess))
            writer.writerow((smiles, label, guess, rng.gauss(0, 2), rng.gauss(0, 1)))


def _epoch(number: int, tasks: tuple[str, ...], value: float, rng: random.Random) -> dict:
    every = ("supervised", *tasks)
    return {
        "epoch": number,
        "losses": {name: 1 / (number + 1) + rng.random() / 9 for name in every},
        "weights": {name: rng.random() for name in every},
        "consistency": {name: rng.uniform(-1, 1) for name in tasks},
        "valid": value * (1 - 1 / (number + 2)),
        "seconds": 0.4,
    }


if __name__ == "__main__":
    main()
