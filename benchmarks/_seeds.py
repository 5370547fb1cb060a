"""What comparisons of trainings share: seed by seed, resumable, differences paired by seed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gtl import checkpoint
from gtl.report.compare import paired, spread


def parser_of(
    doc: str, out: Path, sets: Collection[str], methods: Collection[str] = ()
) -> argparse.ArgumentParser:
    """The options that all comparisons have."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--set", action="append", choices=sets, help="only these sets")
    if methods:
        parser.add_argument("--method", action="append", choices=methods, help="only these methods")
    parser.add_argument("--out", type=Path, default=out, help="where finished runs are kept")
    parser.add_argument("--no-write", action="store_true", help="print, write no results")
    parser.add_argument("--only-collect", action="store_true", help="train nothing")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options; without data there is nothing to do, which is said, and no error."""
    options = parser.parse_args()
    if not options.root and not options.only_collect:
        name = Path(sys.argv[0]).stem
        print(f"{name}: give the folder of data sets as --root or GTL_DATA; left out")
        sys.exit(0)
    return options


def add_seeds(parser: argparse.ArgumentParser, seeds: int | None, first: int = 0) -> None:
    """Options of what is trained: seeds and processes."""
    by_default = "by default as many as each set says" if seeds is None else None
    parser.add_argument("--seeds", type=int, default=seeds, help=by_default)
    parser.add_argument("--first-seed", type=int, default=first)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")


def run_all(
    work: Callable[..., None], jobs: Sequence[tuple[Any, ...]], workers: int, *rest: Any
) -> None:
    """Call ``work(*job, *rest)`` for all jobs, set and seed first, and say how far they are."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        started = time.monotonic()
        futures = [pool.submit(work, *job, *rest) for job in jobs]
        for count, (job, future) in enumerate(zip(jobs, futures), 1):
            try:
                future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            minutes = (time.monotonic() - started) / 60
            print(f"{count}/{len(jobs)} {job} {minutes:.1f} min", file=sys.stderr, flush=True)


def place(out: Path, *names: Any) -> Path:
    """The file of a finished run: a folder for each name but the last, which is the seed."""
    *folders, seed = (str(name).translate(_PLAIN) for name in names)
    return out.joinpath(*folders) / f"{seed}.json"


def keep(results: Mapping[str, Any], out: Path, *names: Any) -> None:
    """Leave a finished run's results, whole or not at all."""
    file = place(out, *names)
    file.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(file, json.dumps(results))


def finished(out: Path, *names: str) -> dict[int, Any]:
    """What finished runs left, by seed."""
    files = place(out, *names, 0).parent.glob("*.json")
    runs = {int(file.stem): json.loads(file.read_text()) for file in files}
    return dict(sorted(runs.items()))


def all_finished(
    out: Path, sets: Iterable[str], methods: Collection[str]
) -> dict[str, dict[str, dict[int, Any]]]:
    """What finished runs left, by set, method and seed; what has none is left out."""
    every = {name: {m: finished(out, name, m) for m in methods} for name in sets}
    found = {name: {m: by for m, by in runs.items() if by} for name, runs in every.items()}
    return {name: runs for name, runs in found.items() if runs}


def tests_of(runs: Mapping[int, Any]) -> dict[int, float]:
    """The test value of each seed."""
    return {seed: result["test"] for seed, result in runs.items()}


def described(
    values: Mapping[int, float], reference: Mapping[int, float], better: str
) -> dict[str, Any]:
    """Mean, spread and, where seeds are shared, the paired difference with its 95 % interval."""
    middle = spread(values.values())
    entry: dict[str, Any] = {
        "test": round(middle.mean, 4),
        "std": None if middle.std is None else round(middle.std, 4),
        "seeds": middle.n,
        "values": {str(seed): round(value, 5) for seed, value in sorted(values.items())},
    }
    if values.keys() & reference.keys():
        gain = paired(values, reference)
        entry["difference"] = round(gain.mean, 4)
        entry["interval"] = interval(gain.low, gain.high)
        entry["verdict"] = gain.verdict(better)
    return entry


def interval(low: float | None, high: float | None) -> list[float] | None:
    """Two ends in four decimals; a single seed has none."""
    return None if low is None or high is None else [round(low, 4), round(high, 4)]


def points(entry: Mapping[str, Any], is_reference: bool) -> str:
    """A cell: percent, or points over the reference, in bold the sign of what is significant."""
    if is_reference or "difference" not in entry:
        return f"{100 * entry['test']:.1f}"
    mark = {"better": " **+**", "worse": " **-**"}.get(entry["verdict"], "")
    return f"{100 * entry['difference']:+.1f}{mark}"


def table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


_PLAIN = str.maketrans({" ": "_", ",": None, ":": "_"})
