"""Forest, probe, fine-tuning and their blend on one small labeled set.

Trains them on several divisions of the labeled items and prints the test metric of each as mean and
standard deviation, with its paired difference to the reference and its 95 % interval. The method to
use is chosen by validation data.

    python examples/probe_or_tune.py --data demo:solubility --repeats 5
"""

from __future__ import annotations

import argparse

import gtl


def main() -> None:
    """Parse the options, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:solubility", help="any labeled data set")
    parser.add_argument("--root", help="folder of named data sets; GTL_DATA by default")
    parser.add_argument("--encoder", help="run folder, shipped encoder or checkpoint; new if none")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    encoder = options.encoder or {"name": "gin", "width": options.width, "depth": 3}
    data = gtl.load(options.data, root=options.root)
    print(gtl.compare(encoder, data, epochs=options.epochs, repeats=options.repeats))


if __name__ == "__main__":
    main()
