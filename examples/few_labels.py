"""Few labels, many items without: consistency with a source (Abuduweili et al. 2021).

Pre-trains an encoder on all graphs without their labels, keeps a few labels, and fine-tunes on them
alone and with tasks that use the unlabeled rest. Prints the test metric of each as mean and
standard deviation over seeds, and its paired difference to fine-tuning on the labels alone with its
95 % interval. Labels of the rest, and the test items, are not used in training.

    python examples/few_labels.py --data demo:shapes --labels 20 --seeds 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import gtl
from gtl.data import Dataset
from gtl.report.compare import paired, spread

AKC, ARC = "knowledge_consistency", {"name": "representation_consistency", "least": 5}
FIXMATCH = {"name": "pseudo_label", "strong": [0.3, 0.3], "threshold": 0.8}
METHODS: dict[str, list[Any]] = {
    "labels alone": [],
    "pseudo labels": [{"name": "pseudo_label", "threshold": 0.8}],
    "mean teacher": ["mean_teacher"],
    "AKC + ARC": [AKC, ARC],
    "AKC + ARC, FixMatch": [AKC, ARC, FIXMATCH],
}


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:shapes", help="labeled graphs or nodes of classes")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--labels", type=int, default=20, help="training labels that are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()
    encoder = {"name": "gin", "width": options.width, "depth": 3}
    sets = [gtl.load(options.data, root=options.root, seed=i) for i in range(options.seeds)]
    sources = [
        gtl.pretrain(encoder, data, ["contrast"], epochs=options.epochs, seed=seed)
        for seed, data in enumerate(sets)
    ]
    alone: dict[int, float] = {}
    for name, auxiliary in METHODS.items():
        scores = {}
        for seed, (data, source) in enumerate(zip(sets, sources)):
            model = gtl.finetune(
                source,
                few(data, options.labels),
                auxiliary=auxiliary,
                weighting="aux_ts" if auxiliary else "equal",
                head_start="imprinted",
                epochs=options.epochs,
                seed=seed,
            )
            scores[seed] = model.results["test"]
        alone = alone or scores
        gain = "" if scores is alone else paired(scores, alone).text()
        test = f"test {sets[0].metric} {spread(scores.values()).text()}"
        print(f"{name:20}  {test}  {gain}".rstrip(), flush=True)


def few(data: Dataset, labels: int) -> Dataset:
    """The data with so many training items; the others are in no part, and so unlabeled."""
    return replace(data, split={**data.split, "train": data.split["train"][:labels]})


if __name__ == "__main__":
    main()
