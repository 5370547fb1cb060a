"""What do the three stages of domain adaptation give, over the number of target labels?

Ordered pairs of three citation graphs with the same words and research areas (citation-domains);
words are reduced to their leading components, found on all three graphs together. 2,000 nodes of
the target test, 500 validate; the training labels of smaller budgets are among those of larger
ones. Compared with training from scratch on the target's labels are: the model of the source, and
the joint model, without any target label; pre-training, and the source, followed by fine-tuning
of everything; and all three stages, with adapters. ``all labels`` is from scratch with every node
that neither validates nor tests, of which the largest budget is a tenth. ``--changes`` runs changes
of the recipe instead, at that budget: each alone, to be compared on validation data.

    OMP_NUM_THREADS=1 python benchmarks/domain_recipe.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import write_results
from _seeds import add_seeds, described, finished, keep, parsed, parser_of, place, run_all, table

import gtl
from gtl.data import Dataset

OUT = Path("runs") / "domain_recipe"
CHOSEN = "changed recipe"


def _weight(task: str, weight: float) -> dict[str, Any]:
    return {"name": "fixed", "weights": {task: weight}}


DOMAINS = ("dblpv7", "citationv1", "acmv9")
PAIRS = {f"{a} to {b}": (a, b) for a in DOMAINS for b in DOMAINS if a != b}
COMPONENTS, VALID, TEST = 128, 500, 2000
SMALL = (25, 100)  # target labels; the third budget is a tenth of all
BUDGETS = ("25", "100", "tenth")
ENCODER = {"name": "gcn", "width": 64, "depth": 2, "last_linear": True}
TASK = {"name": "random_quantizer", "codes": 64}
STAGES = {"pretrain": {"epochs": 40}}
TRAINING = {"epochs": 100, "patience": 30}
TUNED = ("scratch", "pre-trained", "source, then target", "three stages", CHOSEN)
TENTH = "tenth"
BOTH = "target labels in joint"
WIDE = [{"name": "bottleneck", "hidden": 32}, "layerwise"]
AUTOENCODER = {"task": "masked_autoencoder"}
# What is changed before the last stage, which has the recipe's own adapters in all of these.
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "three stages": {},
    "task at a tenth": {"weighting": _weight("random_quantizer", 0.1)},
    "masked autoencoder": AUTOENCODER,
    "masked autoencoder at a tenth": {
        **AUTOENCODER,
        "weighting": _weight("masked_autoencoder", 0.1),
    },
    "infomax at a tenth": {"task": "infomax", "weighting": _weight("infomax", 0.1)},
    "no pre-training": {"pretrain": False},
    BOTH: {},
}
# What is changed in the last stage alone: its adapter and its settings.
LAST: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "wide adapters": (WIDE, {}),
    "adapt at 3e-3": ("bottleneck", {"lr": 3e-3}),
    "adapt at 3e-2": ("bottleneck", {"lr": 3e-2}),
}
# What validation data selected among these, on seeds from 100 on.
CHANGED: Mapping[str, Any] = AUTOENCODER  # with the target labels in joint
CHANGED_LAST: tuple[Any, ...] = ()


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, PAIRS)
    add_seeds(parser, 5)
    parser.add_argument("--changes", action="store_true", help="compare changes of the recipe")
    parser.add_argument("--budget", action="append", choices=BUDGETS, help="only these budgets")
    options = parsed(parser)
    pairs = options.set or list(PAIRS)
    if not options.only_collect:
        options.out.mkdir(parents=True, exist_ok=True)
        components(options.root, options.out)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        kind = "changes" if options.changes else "ways"
        budgets = tuple(options.budget or BUDGETS)
        jobs = [(name, kind, seed, budgets) for seed in seeds for name in pairs]
        run_all(work, jobs, options.workers, options.root, options.out)
    found, changes = collect(options.out), collect_changes(options.out)
    print(markdown(found), markdown_of_changes(changes), sep="\n\n")
    if not options.no_write:
        how = {"encoder": ENCODER, "task": TASK, "stages": STAGES, "training": TRAINING}
        found = {"components": COMPONENTS, "pairs": found, "changes": changes}
        write_results("domain_recipe", {**how, **found})


def work(name: str, kind: str, seed: int, budgets: tuple[str, ...], root: str, out: Path) -> None:
    """Leave the results of all ways, or of all changes of the recipe, on one pair."""
    if place(out, name, kind, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    source, target = (loaded(domain, root, out, seed) for domain in PAIRS[name])
    started = time.process_time()
    results = ways(source, target, seed, budgets) if kind == "ways" else tried(source, target, seed)
    seconds = {"cpu_seconds": round(time.process_time() - started, 1)}
    keep({**results, **seconds}, out, name, kind, seed)


def tried(source: Dataset, target: Dataset, seed: int) -> dict[str, Any]:
    """Validation and test value of the recipe after each change, with a tenth of the labels."""
    few, found, joint = with_labels(target, TENTH), {}, None
    starts: dict[str, Any] = {}
    for change, options in CHANGES.items():
        options = {**options, "few": few} if change == BOTH else options
        stage = until_joint(source, few, seed, starts=starts, **options)
        joint = joint or stage
        found[change] = last_stage(stage, few, seed)
        if change in ("three stages", BOTH):
            how = {**TRAINING, "seed": seed}
            tuned = gtl.finetune(gtl.Run(stage.encoder, {}), few, **how)
            found[f"{change}, all of the encoder"] = summary(tuned.results)
    for change, (adapter, settings) in LAST.items():
        found[change] = last_stage(joint, few, seed, adapter, **settings)
    return found


def until_joint(
    source: Dataset,
    target: Dataset,
    seed: int,
    *,
    task: Any = TASK,
    few: Dataset | None = None,
    pretrain: bool = True,
    starts: dict[str, Any],
    **options: Any,
) -> gtl.Model:
    """The joint model of the recipe, which learns the labels of ``few`` too if that is given.

    Encoders that were pre-trained before are in ``starts``.
    """
    how = {"task": task, "settings": {**STAGES, "joint": TRAINING}, "seed": seed}
    if few is None:
        target = replace(target, labels=None, split={})  # no stage needs them, nor is it probed
    name = str(task)
    if pretrain and name not in starts:
        found = gtl.adapt_domain(ENCODER, source, target, stages=["pretrain"], **how)
        starts[name] = found.stages["pretrain"]
    first = starts[name] if pretrain else ENCODER
    found = gtl.adapt_domain(first, source, target, stages=["joint"], **how, **options)
    stage: gtl.Model = found.stages["joint"]
    return stage


def last_stage(
    joint: Any,
    few: Dataset,
    seed: int,
    adapter: Any = "bottleneck",
    **settings: Any,
) -> dict[str, float]:
    """What adapters and head give on the few labels: the stage ``adapt`` without its probes."""
    head = copy.deepcopy(joint.predictor.head)
    how = {**TRAINING, **settings, "seed": seed, "adapter": adapter}
    return summary(gtl.finetune(gtl.Run(joint.encoder, {}), few, head=head, **how).results)


def ways(source: Dataset, target: Dataset, seed: int, budgets: tuple[str, ...]) -> dict[str, Any]:
    """Validation and test value, and share of trained parameters, of each way and budget."""
    how = {**TRAINING, "seed": seed}
    starts: dict[str, Any] = {}
    joint = until_joint(source, target, seed, starts=starts)
    known = gtl.finetune(ENCODER, source, **how)
    found = {
        "all labels": summary(gtl.finetune(ENCODER, target, **how).results),
        "source only": {"test": gtl.evaluate(known, target)["f1"]},
        "joint": {"test": gtl.evaluate(joint, target)["f1"]},
    }
    for budget in budgets:
        few = with_labels(target, budget)
        for way, start in (
            ("scratch", ENCODER),
            ("pre-trained", starts[str(TASK)]),
            ("source, then target", gtl.Run(known.encoder, {})),
        ):
            found[f"{way}, {budget}"] = summary(gtl.finetune(start, few, **how).results)
        found[f"three stages, {budget}"] = last_stage(joint, few, seed)
        changed = until_joint(source, few, seed, few=few, starts=starts, **CHANGED)
        found[f"{CHOSEN}, {budget}"] = last_stage(changed, few, seed, *CHANGED_LAST)
    return found


def summary(results: Mapping[str, Any]) -> dict[str, float]:
    cost = results["footprint"]
    share = cost["parameters_trained"] / cost["parameters_total"]
    return {"valid": results["valid"], "test": results["test"], "trained": round(share, 4)}


def components(root: str, out: Path) -> None:
    """Leading components of the words of all three graphs, kept in the folder of the runs."""
    file = out / "components.npz"
    if file.exists():
        return
    graphs = {name: gtl.load(f"mat:{name}", root=root).graph for name in DOMAINS}
    x = torch.cat([graph.x for graph in graphs.values()])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        u, s, _ = torch.svd_lowrank(x, COMPONENTS, niter=2)
    values = u * s - (u * s).mean(0)
    values = values / values.square().mean().sqrt()
    parts = values.split([graph.num_nodes for graph in graphs.values()])
    np.savez(file, **{name: part.numpy() for name, part in zip(graphs, parts)})


def loaded(name: str, root: str, out: Path, seed: int) -> Dataset:
    """A domain with all labels of the nodes that neither validate nor test, in random order."""
    data = gtl.load(f"mat:{name}", root=root)
    with np.load(out / "components.npz") as values:
        x = torch.from_numpy(values[name])
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    order = order[~data.labels[order].isnan().any(1)]
    test, valid, train = order.split([TEST, VALID, len(order) - TEST - VALID])
    split = {"train": train, "valid": valid, "test": test}
    return replace(data, graph=data.graph.replace(x=x), split=split, options={})


def with_labels(data: Dataset, budget: str) -> Dataset:
    """The data with fewer training labels."""
    train = data.split["train"]
    count = len(train) // 10 if budget == "tenth" else int(budget)
    return replace(data, split={**data.split, "train": train[:count]})


def collect(out: Path) -> dict[str, Any]:
    """Of each pair and way: test values, and differences to from scratch with the same labels."""
    found: dict[str, Any] = {}
    for name in PAIRS:
        runs = finished(out, name, "ways")
        if not runs:
            continue
        every = {title: None for run in runs.values() for title in run if title != "cpu_seconds"}
        titles = list(every)
        tests = {t: {s: run[t]["test"] for s, run in runs.items() if t in run} for t in titles}
        entry: dict[str, Any] = {}
        for title in titles:
            budget = title.rpartition(", ")[2]
            reference = tests.get(f"scratch, {budget}", tests["all labels"])
            entry[title] = described(tests[title], reference, "higher")
            entry[title]["trained"] = next(iter(runs.values()))[title].get("trained")
        found[name] = entry
    return found


def collect_changes(out: Path) -> dict[str, Any]:
    """Of each pair and change: values on validation and test data."""
    found: dict[str, Any] = {}
    for name in PAIRS:
        runs = finished(out, name, "changes")
        for title in [title for title in next(iter(runs.values()), {}) if title != "cpu_seconds"]:
            entry = found.setdefault(name, {}).setdefault(title, {"seeds": len(runs)})
            for part in ("valid", "test", "trained"):
                values = [run[title][part] for run in runs.values()]
                entry[part] = round(sum(values) / len(values), 4)
    return found


def markdown_of_changes(found: Mapping[str, Any]) -> str:
    """A row a change, a column a pair: validation and test value."""
    titles = {title: None for entry in found.values() for title in entry}
    rows = [
        [title]
        + [f"{100 * e[title]['valid']:.1f} / {100 * e[title]['test']:.1f}" for e in found.values()]
        for title in titles
    ]
    return table(["change", *found], rows)


def markdown(found: Mapping[str, Any]) -> str:
    """A row a pair and budget."""
    rows = []
    for name, entry in found.items():
        fixed = [percent(entry[way]) for way in ("all labels", "source only", "joint")]
        for budget in BUDGETS:
            cells = [percent(entry.get(f"{way}, {budget}")) for way in TUNED]
            if not any(cells):
                continue
            rows.append([name, str(entry["joint"]["seeds"]), *fixed, budget, *cells])
    return table(
        ["pair", "seeds", "all labels", "source only", "joint", "target labels", *TUNED], rows
    )


def percent(entry: Mapping[str, Any] | None) -> str:
    """Mean test value, with its spread where there is one."""
    if entry is None:
        return ""
    spread = "" if entry["std"] is None else f" ± {100 * entry['std']:.1f}"
    return f"{100 * entry['test']:.1f}{spread}"


if __name__ == "__main__":
    main()
