"""Pre-training from a corpus: is memory bounded, and cost linear, in the number of molecules?

Packs SMILES into a file, piece by piece, then trains one epoch from the mapped file (GIN, 3 layers
of 64, masked attributes, batches of 512, one thread): 50,000, 100,000 and 200,000 molecules of
MOSES, read out of its wheel (``pip download --no-deps molsets``; never imported), and the 93,087 of
MUV. Each job has a process of its own, and the sizes are gone through up and down, so that a busy
spell does not look like growth. Cost is processor time, which waiting for others does not lengthen.

Anonymous memory is what a process holds for itself. Mapped pages of the file are listed apart: the
system takes them back when memory is short. The last part asks whether the random order of an epoch
should be gathered in blocks: what a batch costs from the mapped file, with its pages in the
system's cache and without, against the same graphs in memory.

    OMP_NUM_THREADS=1 python benchmarks/corpus_scale.py --root path/to/data --molsets molsets.whl
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from _measure import write_results

import gtl
from gtl.data.readers.table import Table
from gtl.data.text_file import TextFile
from gtl.graph.pack import PackedGraphs

SIZES = (50_000, 100_000, 200_000)
ENCODER = {"name": "gin", "width": 64, "depth": 3}
BATCH = 512
MOSES = "moses/dataset/data/train.csv.gz"
MUV = "moleculenet/muv.csv.gz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--molsets", default="", help="wheel of molsets")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="molecules of MOSES")
    parser.add_argument("--passes", type=int, default=2, help="times that each size is measured")
    parser.add_argument("--job", default="", help="(used by the script itself)")
    options = parser.parse_args()
    if options.job:
        print(json.dumps(JOBS[(job := json.loads(options.job)).pop("job")](**job)))
        return
    sources, skipped = find_sources(options.root, options.molsets, sorted(options.sizes))
    for line in skipped:
        print(f"skipped {line}")
    if not sources:
        print("nothing to measure; give --root or --molsets")
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(sources, Path(folder), options.passes)
        largest = max(rows, key=lambda name: rows[name]["molecules"])
        reading = run("read", path=f"{folder}/{largest}")
    payload = {
        "what": f"packing, and an epoch of {ENCODER} with attribute_masking, batches of {BATCH}",
        "rdkit": version("rdkit"),
        "passes": options.passes,
        "corpora": rows,
        "growth": growth([row for name, row in rows.items() if name.startswith("moses")]),
        "batches": {"corpus": largest, **reading},
        "skipped": skipped,
    }
    write_results("corpus_scale", payload)
    show(payload)


def find_sources(
    root: str, wheel: str, sizes: list[int]
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Where the SMILES of each corpus are, and what is missing."""
    sources, skipped = {}, []
    moses, muv = f"{wheel}/{MOSES}", Path(root) / MUV
    if wheel and Path(wheel).is_file():
        sources = {
            f"moses {size}": {"file": moses, "column": "SMILES", "count": size} for size in sizes
        }
    else:
        skipped.append("MOSES: give its wheel as --molsets (pip download --no-deps molsets)")
    if root and muv.is_file():
        sources["muv"] = {"file": str(muv), "column": "smiles", "count": None}
    else:
        skipped.append(f"MUV: there is no {MUV} in --root")
    return sources, skipped


def measure(
    sources: dict[str, dict[str, Any]], folder: Path, passes: int
) -> dict[str, dict[str, Any]]:
    """Pack and train on each corpus, from the smallest to the largest and back."""
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in sources}
    for turn in range(passes):
        for name in list(sources)[:: -1 if turn % 2 else 1]:
            path = str(folder / name)
            packing = run("pack", path=path, **sources[name])
            taken[name].append({"packing": packing, "training": run("train", path=path)})
            print(name, taken[name][-1], file=sys.stderr, flush=True)
    return {name: joined(results) for name, results in taken.items()}


def joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean cost of a molecule and highest memory of the passes."""
    row: dict[str, Any] = {"molecules": results[0]["packing"]["molecules"]}
    row["file_mib"] = results[0]["packing"]["file_mib"]
    for stage in ("packing", "training"):
        parts = [result[stage] for result in results]
        row[stage] = {}
        for kind in ("processor", "elapsed"):
            seconds = statistics.mean(part[f"{kind}_seconds"] for part in parts)
            row[stage][f"{kind}_microseconds"] = round(1e6 * seconds / row["molecules"], 1)
        for key in ("anonymous_before_mib", "anonymous_mib", "mapped_mib", "resident_mib"):
            row[stage][key] = max(part[key] for part in parts)
    return row


def growth(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Largest against smallest: cost of a molecule, and memory."""
    if len(rows) < 2:
        return {}
    small, large = rows[0], rows[-1]
    return {
        stage: {
            key: round(large[stage][key] / small[stage][key], 3)
            for key in ("processor_microseconds", "anonymous_mib", "resident_mib")
        }
        for stage in ("packing", "training")
    } | {"molecules": large["molecules"] / small["molecules"]}


def run(job: str, **arguments: Any) -> dict[str, Any]:
    """Do a job in a process of its own."""
    words = [sys.executable, __file__, "--job", json.dumps({"job": job, **arguments})]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# -- jobs ----------------------------------------------------------------------------------------


def pack(path: str, file: str, column: str, count: int | None) -> dict[str, Any]:
    """Pack the first molecules of a table."""

    def texts() -> Iterable[str]:
        for table in Table.chunks(TextFile.find(file), 5000):
            yield from table.column(column)

    def packing() -> int:
        return gtl.data.pack_corpus(itertools.islice(texts(), count), path)

    gtl.data.pack_corpus(["C"], path)  # imports are no cost of a molecule
    molecules, cost = watched(packing)
    return {"molecules": molecules, "file_mib": round(os.path.getsize(path) / 2**20, 1), **cost}


def train(path: str) -> dict[str, Any]:
    """One epoch from the mapped file, everything before it included."""
    torch.set_num_threads(1)

    def epoch(data: Any) -> None:
        gtl.pretrain(ENCODER, data, ["attribute_masking"], epochs=1, batch_size=BATCH)

    epoch(gtl.load("demo:shapes"))  # imports are no cost of a molecule
    return watched(lambda: epoch(gtl.load(f"packed:{path}")))[1]


def read(path: str) -> dict[str, Any]:
    """Seconds to assemble a batch, from each place and in each order; medians of all batches."""
    torch.set_num_threads(1)
    order = torch.randperm(
        len(PackedGraphs.load(path)), generator=torch.Generator().manual_seed(0)
    ).split(BATCH)
    rows = {}
    for name, batches in (("random", order), ("in order", torch.cat(order).sort()[0].split(BATCH))):
        evict(path)
        rows[f"{name}, from disk"] = assemble(PackedGraphs.load(path), batches)
    mapped = PackedGraphs.load(path)
    mapped.checksum()  # brings every page into the system's cache
    rows["random, mapped"] = assemble(PackedGraphs.load(path), order)
    rows["random, in memory"] = assemble(mapped.subset(torch.arange(len(mapped))), order)
    return {"milliseconds": rows}


def assemble(graphs: PackedGraphs, batches: Iterable[torch.Tensor]) -> dict[str, float]:
    """Milliseconds of a batch: the median, and the mean, which slow first touches weigh on."""
    taken = []
    for index in batches:
        start = time.perf_counter()
        graphs.batch(index)
        taken.append(1e3 * (time.perf_counter() - start))
    return {
        "median": round(statistics.median(taken), 3),
        "mean": round(statistics.mean(taken), 3),
    }


JOBS: dict[str, Callable[..., dict[str, Any]]] = {"pack": pack, "train": train, "read": read}


def evict(path: str) -> None:
    """Ask the system to forget the file's pages, so that the next touch reads the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def watched(job: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a job returns, its seconds, and its highest memory, looked at 50 times a second."""
    logging.disable(logging.WARNING)
    before = peaks = memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peaks
        while not done.wait(0.02):
            peaks = tuple(map(max, peaks, memory()))  # type: ignore[assignment]

    watcher = threading.Thread(target=watch)
    watcher.start()
    started, processor = time.perf_counter(), time.process_time()
    result = job()
    cost = {
        "elapsed_seconds": round(time.perf_counter() - started, 3),
        "processor_seconds": round(time.process_time() - processor, 3),
    }
    done.set()
    watcher.join()
    sizes = {
        "anonymous_before_mib": before[0],
        "anonymous_mib": peaks[0],
        "mapped_mib": peaks[1],
        "resident_mib": peaks[2],
    }
    return result, cost | {name: round(size / 2**10, 1) for name, size in sizes.items()}


def memory() -> tuple[int, int, int]:
    """Resident memory in KiB: anonymous, pages of files, and both."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    anonymous, mapped = (int(status[name].split()[0]) for name in ("RssAnon", "RssFile"))
    return anonymous, mapped, anonymous + mapped


def show(payload: dict[str, Any]) -> None:
    """Print a table."""
    for name, row in payload["corpora"].items():
        for stage in ("packing", "training"):
            part = row[stage]
            print(
                f"{name:>13} {stage:8} {part['processor_microseconds']:7.0f} us a molecule, "
                f"{part['anonymous_mib']:6.0f} MiB anonymous "
                f"({part['anonymous_before_mib']:.0f} before), {part['mapped_mib']:6.0f} MiB mapped"
            )
    for stage in ("packing", "training"):
        if payload["growth"]:
            print(f"largest / smallest, {stage}: {payload['growth'][stage]}")
    for name, row in payload["batches"]["milliseconds"].items():
        print(f"a batch {name}: median {row['median']} ms, mean {row['mean']} ms")


if __name__ == "__main__":
    main()
