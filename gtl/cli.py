"""Command line: the functions of the library as verbs; errors in one line."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gtl
from gtl.efficiency.command import compress
from gtl.errors import ConfigError, GtlError, GtlWarning
from gtl.reader_options import typed_options
from gtl.run_options import query_of, with_run_config
from gtl.run_options import spelled_out as _spelled_out
from gtl.train.distributed.processes import OF_FIRST, current_processes, launched
from gtl.verb_options import add_data, add_evaluation, add_loop, add_output, add_use_of_run


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 when the job was done, 2 on unusable input."""
    words = _spelled_out(sys.argv[1:] if argv is None else argv)
    rank, count = launched()
    _send_messages_to_stderr(quiet=rank > 0)
    import jsonargparse

    try:
        arguments = _parser().parse_args(with_run_config(words))
        verb = arguments["verb"]
        options = {k: v for k, v in arguments[verb].as_dict().items() if k != "config"}
        current_processes(verb)
        found = _VERBS[verb](**options)
        if rank == 0:
            print(found, flush=True)
    except BrokenPipeError:  # whoever reads has read enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except GtlError as error:
        of_first = rank > 0 and getattr(error, OF_FIRST, False)
        return 2 if of_first else _complain(str(error), of=(rank, count))
    except jsonargparse.ArgumentError as error:
        return _complain(f"{error.message}; see: gtl {' '.join(words[:1])} --help")
    except OSError as error:
        return _complain(f"{error.filename or ''}: {error.strerror or error}; choose another place")
    except KeyboardInterrupt:
        return _complain("interrupted; continue with --resume", code=130)
    return 0


def read(data: Any, root: Path | None = None, seed: int = 0) -> Any:
    """The data set or series of a spec, or of a mapping with ``spec`` and options of its reader."""
    from gtl.data import load

    options = dict(data) if isinstance(data, Mapping) else {"spec": data}
    if options.get("spec") is None:
        raise ConfigError(
            "`--data` is missing; give a spec such as smiles:molecules.csv, and options of its "
            "reader as --data.OPTION (gtl list data shows them)"
        )
    spec = str(options.pop("spec"))
    options, processes = typed_options(spec, options), current_processes()

    def loaded() -> Any:
        return load(spec, root=root, **{"seed": seed, **options})

    return loaded() if processes is None else processes.first_alone(loaded)


def pretrain(data: Any, root: Path | None, **options: Any) -> str:
    """Train an encoder on unlabeled graphs."""
    graphs = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder("pretrain", graphs.spec, options["seed"])
    run = gtl.pretrain(data=graphs, **options)
    losses = ", ".join(
        f"{name} {'undefined' if loss is None else f'{loss:.4f}'}"
        for name, loss in run.history[-1]["losses"].items()
    )
    return f"last training losses: {losses}\nrun folder: {options['out']}"


def finetune(data: Any, root: Path | None, loop: str = "finetune", **options: Any) -> str:
    """Train on a labeled target, with auxiliary tasks if wanted."""
    dataset = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder(loop, dataset.spec, options["seed"])
    results = getattr(gtl, loop)(dataset=dataset, **options).results
    several = results.get("members")
    how = f"{len(several)} members" if several else f"epoch {results['epoch']}"
    return f"{_values(results)} ({how})\nrun folder: {options['out']}"


def federate(data: Any, root: Path | None, **options: Any) -> str:
    """Train one model on data that are divided among clients, in rounds."""
    return finetune(data, root, "federate", **options)


def _values(results: Mapping[str, Any]) -> str:
    """Values on validation and test data, where there are some."""
    return ", ".join(
        f"{part} {results['metric']} {results[part]:.4f}"
        for part in ("valid", "test")
        if results[part] is not None
    )


def probe(data: Any, root: Path | None, **options: Any) -> str:
    """Fit a forest, linear model or Gaussian process to frozen vectors or properties of graphs."""
    dataset = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder("probe", dataset.spec, options["seed"])
    options["encoder"] = options["encoder"] or None
    results = gtl.probe(dataset=dataset, **options).results
    shown = f" ({results['selection']['selected']})" if results.get("selection") else ""
    return f"{_values(results)}{shown}\nrun folder: {options['out']}"


def compare(data: Any, root: Path | None, **options: Any) -> str:
    """Train forests, probes, fine-tuning and their blend, and choose one by validation data."""
    dataset = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder("compare", dataset.spec, options["seed"])
    return f"{gtl.compare(dataset=dataset, **options)}\nrun folder: {options['out']}"


def search(data: Any, root: Path | None, **options: Any) -> str:
    """Search settings of a fine-tuning that are good on validation data and cost little."""
    dataset = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder("search", dataset.spec, options["seed"])
    return f"{gtl.search(dataset=dataset, **options)}\nrun folder: {options['out']}"


def adapt(data: Any, root: Path | None, **options: Any) -> str:
    """Adapt from a labeled source domain to a target with few labels."""
    target, seed = read(data, root, options["seed"]), options["seed"]
    for name in ("source", "corpus", "unlabeled"):
        given = options[name]
        options[name] = read(given, root, seed) if given or name == "source" else None
    options["out"] = options["out"] or _default_folder("adapt", target.spec, seed)
    return f"{gtl.adapt_domain(target=target, **options)}\nrun folder: {options['out']}"


def fewshot(data: Any, root: Path | None, **options: Any) -> str:
    """Compare methods on classes with few samples, on frozen features."""
    dataset = read(data, root, options["seed"])
    options["out"] = options["out"] or _default_folder("fewshot", dataset.spec, options["seed"])
    found = gtl.few_shot(dataset, **options)
    return f"{found}\n\nrun folder: {found.folder}"


def forecast(data: Any, root: Path | None, **options: Any) -> str:
    """Train a model of the values to come on a graph over time."""
    from gtl.data import Series

    series = read(data, root, options["seed"])
    if not isinstance(series, Series):
        raise ConfigError(f"{series.spec} is no graph over time; give one, such as series:los_loop")
    options["out"] = options["out"] or _default_folder("forecast", series.spec, options["seed"])
    results = gtl.forecast(series=series, **options).results
    lines = []
    for ahead, errors in results["horizons"].items():
        known = [f"{name} {value:.4g}" for name, value in errors.items() if value is not None]
        lines.append(f"{ahead:>3} ahead: test {', '.join(known)}")
    return "\n".join([*lines, f"run folder: {options['out']}"])


def evaluate(run: Path, data: Any, root: Path | None, split: str, **options: Any) -> str:
    """Evaluate a run on labeled data; prints JSON."""
    import gtl
    from gtl.train.evaluate import as_model

    model = as_model(run)
    return json.dumps(gtl.evaluate(model, _read_for(run, data, root), split, **options))


def predict(
    run: Path,
    data: Any,
    root: Path | None,
    split: str,
    out: Path,
    overwrite: bool,
    queries: str | None = None,
    top: int = 10,
    facts: str | None = None,
    **options: Any,
) -> str:
    """Write a run's predictions as CSV."""
    import gtl
    from gtl.train.ensemble import Ensemble
    from gtl.train.evaluate import as_model
    from gtl.train.prediction_table import prediction_table

    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists; choose another --out, or allow it with --overwrite")
    if not out.parent.is_dir():
        raise ConfigError(f"there is no folder {out.parent} to write {out.name} to; make it first")
    model, dataset = as_model(run), _read_for(run, data, root)
    if queries is not None:
        asked = query_of(queries)
        table = gtl.complete(model, dataset, asked, top=top, facts=facts)
        table.to_csv(out, index=False)
        return f"{table.to_string(index=False, max_rows=20)}\n{len(table)} answers: {out}"
    if facts is not None:
        raise ConfigError("`--facts` are read for `--queries`; give some, or leave it out")
    several = isinstance(model, Ensemble)
    found = gtl.predict(model, dataset, split, spread=several, **options)
    mean, std = found if several else (found, None)
    table = prediction_table(model, dataset, mean, dataset.items(split), split == "all", std)
    table.to_csv(out, index=False)
    return f"{len(table)} predictions: {out}"


def report(folder: list[Path], **options: Any) -> str:
    """Compare the runs in some folders: one page, tables and plots of them."""
    from gtl.report import report

    found = report(folder, **options)
    return f"{found}\n\nreport: {', '.join(str(file) for file in found.files[:3])}"


def list_parts(what: str) -> str:
    """Show all parts, those of one role, the options of one part, or the readers of data."""
    from gtl.listing import listing

    return listing(what)


def demo(**options: Any) -> str:
    """Pre-train on drugs, fine-tune on solubility in three ways, compare."""
    from gtl.demo import demo

    return demo(**options)


_VERBS: Mapping[str, Callable[..., str]] = {
    "demo": demo,
    "pretrain": pretrain,
    "finetune": finetune,
    "federate": federate,
    "probe": probe,
    "compare": compare,
    "search": search,
    "adapt": adapt,
    "compress": compress,
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
        about = str(function.__doc__).split("\n\n")[0]
        subs[name] = ArgumentParser(description=about, exit_on_error=False)
        what = "YAML file with these options, or the config.json of a run"
        subs[name].add_argument("--config", action="config", help=what)
        verbs.add_subcommand(name, subs[name], help=about)

    subs["demo"].add_function_arguments(demo.demo, fail_untyped=False)
    loops: dict[str, tuple[Callable[..., Any], str]] = {
        "pretrain": (gtl.pretrain, "data"),
        "finetune": (gtl.finetune, "dataset"),
        "federate": (gtl.federate, "dataset"),
        "probe": (gtl.probe, "dataset"),
        "compare": (gtl.compare, "dataset"),
        "search": (gtl.search, "dataset"),
        "adapt": (gtl.adapt_domain, "target"),
        "fewshot": (gtl.few_shot, "data"),
        "forecast": (gtl.forecast, "series"),
    }
    for name, (loop, data) in loops.items():
        add_data(subs[name], "what to read: a spec, or a mapping of spec and reader's options")
        add_loop(subs[name], loop, data)
    for name in ("pretrain", "finetune", "federate", "compare", "search", "adapt", "forecast"):
        subs[name].set_defaults(encoder="gin")
    subs["probe"].set_defaults(encoder={})  # none: properties can stand alone
    for name, part in (("evaluate", "test"), ("predict", "all")):
        add_use_of_run(subs[name], part)
    add_evaluation(subs["evaluate"])
    add_output(subs["predict"])
    subs["compress"].add_function_arguments(compress, as_positional=True, fail_untyped=False)
    subs["report"].add_argument(
        "folder", type=Path, nargs="+", help="folders of runs, at any depth"
    )
    subs["report"].add_function_arguments(report_of, skip={"folder"}, fail_untyped=False)
    what = "a role, a part, data, or a scheme of data"
    subs["list"].add_argument("what", nargs="?", default="all", help=what)
    return parser


def _read_for(run: Path, data: Any, root: Path | None) -> Any:
    """The data of a run, or other data; what is not given is as it was in training."""
    from gtl.checkpoint import read_json

    config = read_json(run / "config.json")
    given = dict(data) if isinstance(data, Mapping) else {"spec": data} if data else {}
    if config.get("data"):  # a model that was saved from memory has none
        before = {"spec": config["data"], **config["data_options"]}
        if given.get("spec", before["spec"]) == before["spec"]:
            given = {**before, **given}
    home = root or config.get("data_root")
    return read(given, None if home is None else Path(home))


def _default_folder(verb: str, spec: str, seed: int) -> Path:
    name = Path(spec.partition(":")[2]).stem
    return Path("runs") / f"{verb}-{name}-{seed}"


def _send_messages_to_stderr(quiet: bool = False) -> None:
    level = logging.ERROR if quiet else logging.INFO
    logging.basicConfig(level=level, format="gtl: %(message)s", stream=sys.stderr)

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        if issubclass(category, GtlWarning) and not quiet:
            print(f"gtl: warning: {message}", file=sys.stderr)

    warnings.showwarning = show  # type: ignore[assignment]


def _complain(message: str, code: int = 2, of: tuple[int, int] = (0, 1)) -> int:
    place = f" in process {of[0]} of {of[1]}" if of[1] > 1 else ""
    print(f"gtl: error{place}: {' '.join(message.split())}", file=sys.stderr)
    return code
