"""Few labels and many graphs without: consistency regularization (Abuduweili et al. 2021).

Pre-trains an encoder on the training graphs, removes most of their labels, and fine-tunes with the
methods below, which also read the graphs without labels. Prints the test metric of each as mean and
standard deviation over seeds, and its paired difference to supervised fine-tuning.

    python examples/few_labels.py --data demo:shapes --labels 40 --seeds 5
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

import gtl
from gtl.report.compare import paired, spread

FIXMATCH = {"name": "pseudo_label", "threshold": 0.9}
FAINT = {"name": "fixed", "weights": {"l2_sp": 0.01}}  # 0.01 to 0.1 in the paper
METHODS = {
    "supervised": [],
    "L2-SP": ["l2_sp"],
    "pseudo-label": [{**FIXMATCH, "strong": 0.0}],
    "FixMatch": [FIXMATCH],
    "mean teacher": ["mean_teacher"],
    "ICT": ["interpolation_consistency"],
    "AKC": ["knowledge_consistency"],
    "ARC": ["representation_consistency"],
    "AKC + ARC": ["knowledge_consistency", "representation_consistency"],
    "AKC + ARC + FixMatch": [
        "knowledge_consistency",
        "representation_consistency",
        FIXMATCH,
    ],
}


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:shapes", help="graphs with classes")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--labels", type=int, default=40, help="training graphs that keep theirs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()
    data = gtl.load(options.data, root=options.root)
    encoder = {"name": "gin", "width": options.width, "depth": 3}
    run = gtl.pretrain(encoder, data, ["attribute_masking"], epochs=options.epochs)
    supervised: dict[int, float] = {}
    for method, tasks in METHODS.items():
        scores = {}
        for seed in range(options.seeds):
            model = gtl.finetune(
                run,
                with_labels(data, options.labels, seed),
                auxiliary=tasks,
                weighting=FAINT if tasks == ["l2_sp"] else "equal",
                guard=False,
                epochs=options.epochs,
                seed=seed,
            )
            scores[seed] = model.results["test"]
        supervised = supervised or scores
        gain = "" if scores is supervised else paired(scores, supervised).text()
        test = f"test {data.metric} {spread(scores.values()).text()}"
        print(f"{method:20}  {test}  {gain}".rstrip(), flush=True)


def with_labels(data: gtl.Dataset, count: int, seed: int) -> gtl.Dataset:
    """The data in which all training items but some, drawn with the seed, have lost their label."""
    train = data.items("train")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    labels = data.labels.clone()
    labels[train[order[count:]]] = torch.nan if labels.is_floating_point() else -1
    return replace(data, labels=labels)


if __name__ == "__main__":
    main()
