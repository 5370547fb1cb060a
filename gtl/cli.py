"""The command line: the library's loops with their own arguments, one line per mistake."""

from __future__ import annotations

import inspect
import json
import logging
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.errors import ConfigError, GtlError, GtlWarning


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 when the job was done, 2 on unusable input."""
    words = _spelled_out(sys.argv[1:] if argv is None else argv)
    _send_messages_to_stderr()
    import jsonargparse

    try:
        arguments = _parser().parse_args(words)
        verb = arguments["verb"]
        options = {k: v for k, v in arguments[verb].as_dict().items() if k != "config"}
        print(_VERBS[verb](**options))
    except GtlError as error:
        return _complain(str(error))
    except jsonargparse.ArgumentError as error:
        return _complain(f"{error.message}; see: gtl {' '.join(words[:1])} --help")
    except KeyboardInterrupt:
        return _complain("interrupted; go on with --resume", code=130)
    return 0


def read(
    data: str,
    root: Path | None = None,
    smiles_column: str | None = None,
    target: list[str] | str | None = None,
    split: str | None = None,
    on_invalid: str | None = None,
    duplicates: str | None = None,
    workers: int | None = None,
    labels_per_class: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    fractions: list[float] | None = None,
    folds: int | None = None,
    fold: int | None = None,
    normalize: bool | None = None,
    attributes: bool | None = None,
    max_degree: int | None = None,
    features: list[str] | str | None = None,
    labeled: str | None = None,
    download: bool | None = None,
    undirected: bool | None = None,
    identity: bool | None = None,
    weights: bool | None = None,
    seed: int = 0,
) -> Any:
    """Data: gtl.load, with the options of every kind of data.

    Args:
        data: What to read: ogb:NAME, smiles:FILE, planetoid:NAME, npz:NAME, tu:NAME,
            mat:FILE, typed:FOLDER, series:NAME, demo:NAME or packed:FILE.
        root: Folder where named data sets lie; the variable GTL_DATA by default.
        smiles_column: Column of the SMILES (smiles: only).
        target: Columns of the labels (smiles: only).
        split: random, scaffold, or a column that says train, valid or test (smiles: only).
        on_invalid: What to do with molecules that cannot be read, skip or raise (smiles: only).
        duplicates: Whether to keep or drop repeated SMILES (smiles: only).
        workers: Processes that read molecules, 1 by default (smiles: only).
        labels_per_class: Draw a training split of so many labels per class (planetoid:, npz:,
            mat:), or take the published split of so many (typed:).
        valid: Validation nodes beside labels_per_class (npz:, mat:).
        test: Test nodes beside labels_per_class (npz:, mat:).
        fractions: Shares of train, valid and test, drawn at random (npz:, tu:, mat:) or in order
            of time (series:).
        folds: Cross-validate with so many folds (tu: only).
        fold: Which of the folds tests, from 0; the next one validates (tu: only).
        normalize: Bring features to one scale, true by default but for npz: (planetoid:, npz:,
            tu:, mat:, typed:).
        attributes: Read continuous attributes, true by default (tu: only).
        max_degree: Degrees above it count as it, where they are the only feature (tu: only).
        features: Node types whose features are read, all by default (typed: only).
        labeled: The node type that has labels, if it cannot be told (typed: only).
        download: Allow a download (ogb: only).
        undirected: Let edges go both ways where OGB's do not (ogb: only).
        identity: Tell nodes without features apart by their numbers (ogb: only).
        weights: Keep weights of edges, true by default (series: only).
        seed: Of random splits.
    """
    from gtl.data import load

    choices = {
        "smiles_column": smiles_column,
        "target": target,
        "split": split,
        "on_invalid": on_invalid,
        "duplicates": duplicates,
        "workers": workers,
        "labels_per_class": labels_per_class,
        "valid": valid,
        "test": test,
        "fractions": fractions,
        "folds": folds,
        "fold": fold,
        "normalize": normalize,
        "attributes": attributes,
        "max_degree": max_degree,
        "features": features,
        "labeled": labeled,
        "download": download,
        "undirected": undirected,
        "identity": identity,
        "weights": weights,
    }
    given = {name: value for name, value in choices.items() if value is not None}
    return load(data, root=root, seed=seed, **given)


def pretrain(**options: Any) -> str:
    """Train an encoder on unlabeled graphs."""
    import gtl

    data = _read_from(options, seed=options["seed"])
    options["out"] = options["out"] or _default_folder("pretrain", data.spec, options["seed"])
    run = gtl.pretrain(data=data, **options)
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in run.history[-1]["losses"].items())
    return f"last training losses: {losses}\nrun folder: {options['out']}"


def finetune(**options: Any) -> str:
    """Train on a labeled target, with auxiliary tasks if wanted."""
    import gtl

    data = _read_from(options, seed=options["seed"])
    options["out"] = options["out"] or _default_folder("finetune", data.spec, options["seed"])
    results = gtl.finetune(dataset=data, **options).results
    values = [
        f"{part} {results['metric']} {results[part]:.4f}"
        for part in ("valid", "test")
        if results[part] is not None
    ]
    return f"{', '.join(values)} (epoch {results['epoch']})\nrun folder: {options['out']}"


def fewshot(**options: Any) -> str:
    """Compare methods on classes with few samples, on frozen features."""
    import gtl

    data = _read_from(options, seed=options["seed"])
    options["out"] = options["out"] or _default_folder("fewshot", data.spec, options["seed"])
    found = gtl.few_shot(data, **options)
    return f"{found}\n\nrun folder: {found.folder}"


def forecast(**options: Any) -> str:
    """Train a model of the values to come on a graph over time."""
    import gtl
    from gtl.data import Series

    series = _read_from(options, seed=options["seed"])
    if not isinstance(series, Series):
        raise ConfigError(f"{series.spec} is no graph over time; give one, such as series:los_loop")
    options["out"] = options["out"] or _default_folder("forecast", series.spec, options["seed"])
    results = gtl.forecast(series=series, **options).results
    lines = []
    for ahead, errors in results["horizons"].items():
        known = [f"{name} {value:.4g}" for name, value in errors.items() if value is not None]
        lines.append(f"{ahead:>3} ahead: test {', '.join(known)}")
    return "\n".join([*lines, f"run folder: {options['out']}"])


def evaluate(run: Path, part: str, **options: Any) -> str:
    """Judge a run on labeled data; prints JSON."""
    import gtl

    model = gtl.Model.load(run)
    portions = _portions_from(options)
    return json.dumps(gtl.evaluate(model, _read_for(run, options), part, **portions))


def predict(run: Path, part: str, out: Path, **options: Any) -> str:
    """Write a run's predictions as CSV."""
    import pandas as pd

    import gtl

    if out.exists():
        raise ConfigError(f"{out} exists and is not overwritten; choose another --out")
    model = gtl.Model.load(run)
    portions = _portions_from(options)
    data = _read_for(run, options)
    values = gtl.predict(model, data, part, **portions)
    items = data.items(part)
    table = pd.DataFrame({"item": [data.names[i] if data.names else i for i in items.tolist()]})
    if data.pairs is not None:
        table["src"], table["dst"] = data.pairs[items].t().numpy()
    for column in range(values.shape[1]):
        name = "prediction" if values.shape[1] == 1 else f"prediction_{column}"
        table[name] = values[:, column].numpy()
    table.to_csv(out, index=False)
    return f"{len(table)} predictions: {out}"


def report(folder: Path, **options: Any) -> str:
    """Compare the runs in a folder: methods by data set, over the seeds that they share."""
    from gtl.report import report

    found = report(folder, **options)
    return f"{found}\n\nreport: {', '.join(str(file) for file in found.files[:3])}"


def list_parts(role: str) -> str:
    """Show all parts, plug-ins included."""
    from gtl import catalog
    from gtl.registry import Registry

    roles = {r.role: r for r in vars(catalog).values() if isinstance(r, Registry)}
    if role not in ("all", *roles):
        raise ConfigError(f"unknown role {role!r}; known: all, {', '.join(roles)}")
    lines = []
    for name in roles if role == "all" else [role]:
        parts = roles[name].describe()
        width = max(map(len, parts))
        lines += [f"{name}s", *(f"  {part:{width}}  {text}" for part, text in parts.items())]
    return "\n".join(lines)


def demo(**options: Any) -> str:
    """Pre-train on drugs, fine-tune on solubility in three ways, compare."""
    from gtl.demo import demo

    return demo(**options)


_SWITCHES = (
    "--resume",
    "--download",
    "--undirected",
    "--footprint",
    "--difference",
    "--frozen",
)
_VERBS: Mapping[str, Callable[..., str]] = {
    "demo": demo,
    "pretrain": pretrain,
    "finetune": finetune,
    "fewshot": fewshot,
    "forecast": forecast,
    "evaluate": evaluate,
    "predict": predict,
    "report": report,
    "list": list_parts,
}


def _parser() -> Any:
    from jsonargparse import ArgumentParser

    import gtl
    from gtl import demo
    from gtl.report import report as report_of
    from gtl.version import __version__

    parser = ArgumentParser(
        prog="gtl",
        description="Graph transfer learning: pre-train encoders, fine-tune them on small targets.",
        exit_on_error=False,
        version=__version__,
    )
    verbs = parser.add_subcommands(dest="verb", metavar="VERB")
    subs = {}
    for name, function in _VERBS.items():
        about = str(function.__doc__)
        subs[name] = ArgumentParser(description=about, exit_on_error=False)
        subs[name].add_argument("--config", action="config", help="YAML file with these options")
        verbs.add_subcommand(name, subs[name], help=about)

    def options_of(function: Callable, verb: str, *skip: str) -> None:
        subs[verb].add_function_arguments(function, skip=set(skip), fail_untyped=False)

    options_of(demo.demo, "demo")
    for name, loop, data in (
        ("pretrain", gtl.pretrain, "data"),
        ("finetune", gtl.finetune, "dataset"),
        ("forecast", gtl.forecast, "series"),
    ):
        options_of(read, name, "seed")
        options_of(loop, name, data)
        subs[name].set_defaults(encoder="gin")
    options_of(read, "fewshot", "seed")
    options_of(gtl.few_shot, "fewshot", "data")
    for name, part in (("evaluate", "test"), ("predict", "all")):
        subs[name].add_argument("run", type=Path, help="run folder of gtl finetune")
        subs[name].add_argument(
            "--data", type=str, help="what to read; the data of the run by default"
        )
        subs[name].add_argument("--part", default=part, help="train, valid, test or all")
        subs[name].add_argument(
            "--fan_out",
            type=list[int | None] | None,
            help="neighbors to sample at each hop, such as [10, 10]; by default all are read",
        )
        subs[name].add_argument(
            "--batch_size", type=int | None, help="graphs at a time, or nodes with their neighbors"
        )
        options_of(read, name, "data", "seed")
    subs["predict"].add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="CSV file to write"
    )
    subs["report"].add_argument("folder", type=Path, help="folder with run folders, at any depth")
    options_of(report_of, "report", "folder")
    subs["list"].add_argument(
        "role", nargs="?", default="all", help="encoder, task, weighting, adapter, head, readout"
    )
    return parser


def _read_from(options: dict[str, Any], **more: Any) -> Any:
    """Take the options of :func:`read` out of ``options`` and read."""
    mine = {
        name: options.pop(name) for name in inspect.signature(read).parameters if name != "seed"
    }
    return read(**mine, **more)


def _portions_from(options: dict[str, Any]) -> dict[str, Any]:
    """Take out of ``options`` how much is read at a time."""
    return {name: options.pop(name) for name in ("fan_out", "batch_size")}


def _read_for(run: Path, options: dict[str, Any]) -> Any:
    """The data of a run, or other data; what is not given is as it was in training."""
    from gtl.run_folder import read_json

    config = read_json(run / "config.json")
    before = {**config["data_options"], "data": config["data"]}
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("data", before["data"]) == before["data"]:
        given = {**before, **given}
    return read(**given)


def _default_folder(verb: str, spec: str, seed: int) -> Path:
    name = Path(spec.partition(":")[2]).stem
    return Path("runs") / f"{verb}-{name}-{seed}"


def _spelled_out(words: Sequence[str]) -> list[str]:
    """``--smiles-column`` means ``--smiles_column``, and ``--resume`` means ``--resume=true``."""
    spelled = []
    for word, after in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
            if name in _SWITCHES and not equals and after not in ("true", "false", "null"):
                equals, value = "=", "true"
        spelled.append(name + equals + value)
    return spelled


def _send_messages_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, format="gtl: %(message)s", stream=sys.stderr)

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, GtlWarning):
            print(f"gtl: warning: {message}", file=sys.stderr)

    warnings.showwarning = show  # type: ignore[assignment]


def _complain(message: str, code: int = 2) -> int:
    print(f"gtl: error: {' '.join(message.split())}", file=sys.stderr)
    return code
