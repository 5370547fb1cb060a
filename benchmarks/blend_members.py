"""Which models should a blend have beside two forests, a linear probe and fine-tuning?

Candidates join the blend of ``molecules.py`` one at a time. What is compared is its value on
validation data, with weights from other validation items, on seeds that serve for nothing else and
on sets that settings may be chosen on. No test value is kept.

    OMP_NUM_THREADS=1 python benchmarks/blend_members.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import write_results
from _seeds import add_seeds, finished, keep, parsed, parser_of, place, run_all, table
from molecules import ENCODER, LABELS, READOUT, load, with_labels

import gtl

OUT = Path("runs") / "blend_members"
SETS = ("molbace", "molbbbp", "molclintox", "solubility")
BLEND = "blend"
PROCESS: Mapping[str, Any] = {"model": "gaussian_process", "properties": ["descriptors"]}
BOTH: Mapping[str, Any] = {"properties": ["descriptors"], "readout": READOUT}
MEMBERS: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "forest, ECFP": (None, {"properties": ["morgan"]}),
    "forest, both": (None, {"properties": ["descriptors", "morgan"]}),
    "probe": (ENCODER, {"model": "linear", "readout": READOUT}),
}
CANDIDATES: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "Gaussian process, descriptors": (None, PROCESS),
    "Gaussian process, vectors and descriptors": (ENCODER, {**PROCESS, "readout": READOUT}),
    "linear, vectors and descriptors": (ENCODER, {"model": "linear", **BOTH}),
    "boosting, descriptors": (None, {"model": "boosting", "properties": ["descriptors"]}),
}


def work(name: str, labels: str, seed: int, root: str, out: Path) -> None:
    """Leave the validation values of all members and blends, unless they are there."""
    if place(out, name, labels, seed).exists():
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = with_labels(load(name, root), labels, seed)
    folder = place(out, "models", name, labels, seed).with_suffix("")
    tuned = gtl.finetune(ENCODER, data, seed=seed, out=folder, resume=folder.exists())
    made = {
        title: gtl.probe(encoder, data, seed=seed, **how)
        for title, (encoder, how) in {**MEMBERS, **CANDIDATES}.items()
    }
    members = {title: made[title] for title in MEMBERS} | {"fine-tuning": tuned}
    found = {title: model.results["valid"] for title, model in {**made, **members}.items()}
    found[BLEND] = valid_of(members, data, seed)
    for title in CANDIDATES:
        found[f"{BLEND} + {title}"] = valid_of({**members, title: made[title]}, data, seed)
    keep(found, out, name, labels, seed)


def valid_of(members: Mapping[str, Any], data: gtl.Dataset, seed: int) -> float:
    """Value of the cross-fitted blend on validation data."""
    found = gtl.blend(members, data, guard=False, seed=seed).results
    return float(found["selection"]["candidates"][BLEND]["valid"])


def collect(out: Path) -> dict[str, Any]:
    """Mean validation values by set and number of labels."""
    pairs = {f"{name}, {labels}": finished(out, name, labels) for name in SETS for labels in LABELS}
    return {
        pair: {
            "seeds": len(runs),
            **{
                title: round(float(np.mean([run[title] for run in runs.values()])), 4)
                for title in next(iter(runs.values()))
            },
        }
        for pair, runs in pairs.items()
        if runs
    }


def main() -> None:
    """Train what is missing, and write what there is."""
    parser = parser_of(__doc__ or "", OUT, SETS)
    parser.add_argument("--labels", action="append", choices=LABELS, help="only these")
    add_seeds(parser, 3, first=10)
    options = parsed(parser)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if not options.only_collect:
        jobs = [
            (name, labels, seed)
            for seed in seeds
            for labels in options.labels or LABELS[:3]
            for name in options.set or SETS
        ]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    titles = list(next(iter(found.values()))) if found else []
    rows = [[title, *(f"{entry[title]:.3f}" for entry in found.values())] for title in titles[1:]]
    print(table(["validation", *(f"{p} ({e['seeds']} seeds)" for p, e in found.items())], rows))
    if not options.no_write:
        write_results("blend_members", {"pairs": found})


if __name__ == "__main__":
    main()
