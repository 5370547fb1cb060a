"""Auxiliary tasks under several weightings on a small target (Han et al. 2021).

Fine-tunes one encoder on a small labeled set with auxiliary tasks under several weightings, and
prints the test metric of each as mean and standard deviation over seeds, and its paired difference
to target-only runs with its 95 % interval.

    python examples/auxiliary_tasks.py --data demo:solubility --seeds 5
"""

from __future__ import annotations

import argparse

import gtl
from gtl.report.compare import paired, spread

AUXILIARY = ["attribute_masking", "edge_prediction", "infomax"]
WEIGHTINGS = ("target only", "equal", "random_fixed", "gcs", "aux_ts")


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:solubility", help="any labeled data set")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    encoder = {"name": "gin", "width": options.width, "depth": 3}
    target_only: dict[int, float] = {}
    for weighting in WEIGHTINGS:
        scores = {}
        for seed in range(options.seeds):
            data = gtl.load(options.data, root=options.root, seed=seed)
            has_tasks = weighting != "target only"
            model = gtl.finetune(
                encoder,
                data,
                auxiliary=AUXILIARY if has_tasks else [],
                weighting=weighting if has_tasks else "equal",
                epochs=options.epochs,
                seed=seed,
            )
            scores[seed] = model.results["test"]
        target_only = target_only or scores
        gain = "" if scores is target_only else paired(scores, target_only).text()
        test = f"test {data.metric} {spread(scores.values()).text()}"
        print(f"{weighting:12}  {test}  {gain}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
