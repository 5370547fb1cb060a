"""Adapters against full fine-tuning of a pre-trained encoder (Otake et al. 2023).

Pre-trains one encoder on unlabeled graphs and adapts it to a small labeled set: full fine-tuning,
the head alone, and several adapters. Prints which share of the parameters each trains and how many
bytes it stores, and the test metric as mean and standard deviation over seeds, with its paired
difference to full fine-tuning and its 95 % interval.

    python examples/adapter_or_full.py --data demo:solubility --seeds 3
"""

from __future__ import annotations

import argparse

import gtl
from gtl.report.compare import paired, spread

METHODS = {
    "full fine-tuning": None,
    "head alone": [],
    "bottleneck": "bottleneck",
    "bottleneck + layerwise": ["bottleneck", "layerwise"],
    "lora": "lora",
    "film": "film",
}


def main() -> None:
    """Parse the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:solubility", help="any labeled data set")
    parser.add_argument("--corpus", default="demo:chembl", help="graphs with the same features")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    encoder = {"name": "gin", "width": options.width, "depth": 3}
    corpus = gtl.load(options.corpus, root=options.root)
    run = gtl.pretrain(encoder, corpus, epochs=max(options.epochs // 4, 1), lr=3e-3)
    full: dict[int, float] = {}
    for title, adapter in METHODS.items():
        scores = {}
        for seed in range(options.seeds):
            data = gtl.load(options.data, root=options.root, seed=seed)
            # Few parameters need a larger learning rate than all of them.
            lr = 1e-3 if adapter is None else 3e-3
            model = gtl.finetune(
                run, data, adapter=adapter, epochs=options.epochs, lr=lr, seed=seed
            )
            scores[seed] = model.results["test"]
        full = full or scores
        cost = model.results["footprint"]
        share = cost["parameters_trained"] / cost["parameters_total"]
        gain = "" if scores is full else paired(scores, full).text()
        test = f"test {data.metric} {spread(scores.values()).text()}"
        size = f"{share:6.1%} trained, {cost['stored_bytes'] / 1000:6.1f} kB"
        print(f"{title:22}  {size}  {test}  {gain}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
