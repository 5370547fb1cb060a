"""What it saves that freed memory stays with the process: training steps with and without.

The steps are those of equal weights in `weighting_step.py`. A side is a process of its own, since
the setting holds for the rest of a process; the sides take turns, and times are processor times.

    OMP_NUM_THREADS=1 python benchmarks/kept_memory.py --root path/to/data
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from typing import Any

from _measure import peak_memory, write_results
from weighting_step import SIDES, Training

from gtl.train.allocation import keep_freed_memory

CASES = ("large graph, own views", "molecules, own views")
TURNS = 5  # of four steps, in each process


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--repeats", type=int, default=5, help="processes a side")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.case:
        print(json.dumps(measured(options.case, options.keep, options.root)))
        return
    found = {}
    for case in CASES:
        pairs = [
            [in_process(case, keep, options.root) for keep in (False, True)]
            for _ in range(options.repeats)
        ]
        found[case] = {
            name: {
                "given back": [given[name] for given, _ in pairs],
                "kept": [kept[name] for _, kept in pairs],
                "ratio": round(statistics.median(g[name] / k[name] for g, k in pairs), 3),
            }
            for name in ("seconds", "peak")
        }
        ratios = {name: values["ratio"] for name, values in found[case].items()}
        print(f"{case}: given back over kept {ratios}", flush=True)
    write_results("kept_memory", {"what": f"medians of {TURNS} turns of 4 steps", **found})


def measured(case: str, keep: bool, root: str) -> dict[str, Any]:
    """Median processor time of a turn, and the rise of resident memory in the first one."""
    if keep:
        keep_freed_memory()
    turn = SIDES["equal"](Training(case, 4, root))
    peak, taken = peak_memory(turn), []
    for _ in range(TURNS):
        started = time.process_time()
        turn()
        taken.append(time.process_time() - started)
    return {"seconds": round(statistics.median(taken), 4), "peak": peak}


def in_process(case: str, keep: bool, root: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--case", case, "--root", root, *["--keep"] * keep]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()
