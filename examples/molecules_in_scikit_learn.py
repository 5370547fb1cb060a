"""Vectors of a pre-trained encoder against descriptors, in pipelines of scikit-learn.

Pre-trains an encoder on unlabeled molecules, or takes one that is there, and regresses a property
on its vectors, on RDKit's descriptors and on both, with the same splits. Prints the RMSE as mean
and standard deviation over splits, with the paired difference to the vectors alone.

    python examples/molecules_in_scikit_learn.py --labels 300 --splits 5
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

import gtl
from gtl.report.compare import paired, spread
from gtl.sklearn import MoleculeEmbedding


def main() -> None:
    """Parse the options, regress, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="demo:solubility", help="molecules with one value each")
    parser.add_argument("--corpus", default="demo:chembl", help="molecules to pre-train on")
    parser.add_argument("--encoder", help="a run folder, or an encoder that comes with gtl")
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    start = options.encoder
    if start is None:
        gin = {"name": "gin", "width": options.width, "depth": 3}
        start = gtl.pretrain(gin, gtl.load(options.corpus), epochs=options.epochs, lr=3e-3)
    data = gtl.load(options.data)
    smiles, values = list(data.names), data.labels[:, 0].numpy()
    both = MoleculeEmbedding(start, properties=["descriptors"]).fit_transform(smiles)
    width = both.shape[1] - 217
    columns = {"vectors": both[:, :width], "descriptors": both[:, width:], "both": both}
    splits = ShuffleSplit(options.splits, train_size=options.labels, random_state=0)
    base: dict[int, float] = {}
    for title, features in columns.items():
        scaler = QuantileTransformer(n_quantiles=50, output_distribution="normal")
        model = make_pipeline(SimpleImputer(), scaler, RidgeCV(np.logspace(-2, 4, 13)))
        how = {"cv": splits, "scoring": "neg_root_mean_squared_error"}
        scores = dict(enumerate(-cross_val_score(model, features, values, **how)))
        base = base or scores
        gain = "" if scores is base else paired(scores, base).text()
        print(f"{title:12} RMSE {spread(scores.values()).text()}  {gain}".rstrip(), flush=True)


if __name__ == "__main__":
    main()
