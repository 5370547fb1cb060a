"""What do the three stages of domain adaptation give, over the number of target labels?

Ordered pairs of three citation graphs with the same words and research areas (citation-domains);
words are reduced to their leading components, found on all three graphs together. 2,000 nodes of
the target test, 500 validate; the training labels of smaller budgets are among those of larger
ones. Compared with training from scratch on the target's labels are: the model of the source, and
the joint model, without any target label; pre-training, and the source, followed by fine-tuning
of everything; and all three stages, with adapters. ``all labels`` is from scratch with every node
that neither validates nor tests, of which the largest budget is a tenth.

    OMP_NUM_THREADS=1 python benchmarks/domain_recipe.py --root path/to/data

Finished runs are kept in ``--out``; the same command goes on where it stopped.
"""

from __future__ import annotations

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
DOMAINS = ("dblpv7", "citationv1", "acmv9")
PAIRS = {f"{a} to {b}": (a, b) for a in DOMAINS for b in DOMAINS if a != b}
COMPONENTS, VALID, TEST = 128, 500, 2000
SMALL = (25, 100)  # target labels; the third budget is a tenth of all
BUDGETS = ("25", "100", "tenth")
ENCODER = {"name": "gcn", "width": 64, "depth": 2}
TASK = {"name": "random_quantizer", "codes": 256}
STAGES = {"pretrain": {"epochs": 100}}
TRAINING = {"epochs": 200, "patience": 50}
TUNED = ("scratch", "pre-trained", "source, then target", "three stages")


def main() -> None:
    parser = parser_of(__doc__ or "", OUT, PAIRS)
    add_seeds(parser, 5)
    options = parsed(parser)
    pairs = options.set or list(PAIRS)
    if not options.only_collect:
        options.out.mkdir(parents=True, exist_ok=True)
        components(options.root, options.out)
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        jobs = [(name, seed) for seed in seeds for name in pairs]
        run_all(work, jobs, options.workers, options.root, options.out)
    found = collect(options.out)
    print(markdown(found))
    if not options.no_write:
        how = {"encoder": ENCODER, "task": TASK, "stages": STAGES, "training": TRAINING}
        write_results("domain_recipe", {**how, "components": COMPONENTS, "pairs": found})


def work(name: str, seed: int, root: str, out: Path) -> None:
    """Leave the results of all ways on one pair."""
    if place(out, name, seed).exists():
        return
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    source, target = (loaded(domain, root, out, seed) for domain in PAIRS[name])
    started = time.process_time()
    results = ways(source, target, seed)
    keep({**results, "cpu_seconds": round(time.process_time() - started, 1)}, out, name, seed)


def ways(source: Dataset, target: Dataset, seed: int) -> dict[str, Any]:
    """Validation and test value, and share of trained parameters, of each way and budget."""
    how = {**TRAINING, "seed": seed}
    settings = {**STAGES, "joint": TRAINING, "adapt": TRAINING}
    recipe = {"task": TASK, "settings": settings, "seed": seed}
    both = gtl.adapt_domain(ENCODER, source, target, stages=["pretrain", "joint"], **recipe)
    joint = both.stages["joint"]
    known = gtl.finetune(ENCODER, source, **how)
    found = {
        "all labels": summary(gtl.finetune(ENCODER, target, **how).results),
        "source only": {"test": gtl.evaluate(known, target)["f1"]},
        "joint": {"test": gtl.evaluate(joint, target)["f1"]},
    }
    for budget in BUDGETS:
        few = with_labels(target, budget)
        for way, start in (
            ("scratch", ENCODER),
            ("pre-trained", both.stages["pretrain"]),
            ("source, then target", gtl.Run(known.encoder, {})),
        ):
            found[f"{way}, {budget}"] = summary(gtl.finetune(start, few, **how).results)
        last = gtl.adapt_domain(joint, source, few, stages=["adapt"], **recipe)
        found[f"three stages, {budget}"] = summary(last.results)
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
        runs = finished(out, name)
        if not runs:
            continue
        titles = [title for title in next(iter(runs.values())) if title != "cpu_seconds"]
        tests = {t: {seed: run[t]["test"] for seed, run in runs.items()} for t in titles}
        entry: dict[str, Any] = {}
        for title in titles:
            budget = title.rpartition(", ")[2]
            reference = tests.get(f"scratch, {budget}", tests["all labels"])
            entry[title] = described(tests[title], reference, "higher")
            entry[title]["trained"] = next(iter(runs.values()))[title].get("trained")
        found[name] = entry
    return found


def markdown(found: Mapping[str, Any]) -> str:
    """A row a pair and budget."""
    rows = []
    for name, entry in found.items():
        fixed = [percent(entry[way]) for way in ("all labels", "source only", "joint")]
        for budget in BUDGETS:
            cells = [percent(entry[f"{way}, {budget}"]) for way in TUNED]
            rows.append([name, str(entry["joint"]["seeds"]), *fixed, budget, *cells])
    return table(
        ["pair", "seeds", "all labels", "source only", "joint", "target labels", *TUNED], rows
    )


def percent(entry: Mapping[str, Any]) -> str:
    """Mean test value, with its spread where there is one."""
    spread = "" if entry["std"] is None else f" ± {100 * entry['std']:.1f}"
    return f"{100 * entry['test']:.1f}{spread}"


if __name__ == "__main__":
    main()
