"""Golden runs: a short seeded run of each loop, recorded, and compared bit for bit after a change.

    python tests/golden_runs.py record FOLDER    # run every case and write what it gives
    python tests/golden_runs.py compare FOLDER   # run again; exit code 1 if any bit differs

``--only NAME ...`` selects cases, by name or by pattern such as ``'weighting_*'``. Every case runs
with DGL's kernels and with those in plain torch, each in a process of its own with one thread. A
record is valid on one machine with one set of packages: others may round differently.

Recorded are the metrics and the results of every run folder that a case leaves, and exact tensors:
predictions on the test items, scores of queries, or vectors of the trained encoder.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fnmatch
import functools
import importlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import gtl

# Old name -> new name, for whole strings: keys and values of what was recorded, folders of runs,
# and the names of parts and options in the cases below.
RENAMED: dict[str, str] = {
    "bootstrap": "whitening",  # the task of that name is another one now
    "race": "selection",
    "winner": "selected",
    "entrants": "candidates",
}
FOLDERS = {"race": "candidates"}  # likewise, for parts of paths
INSIDE = {"mass=": "auxiliary_weight="}  # likewise, inside texts
# Keys that are not compared: they measure the machine.
LEFT_OUT = {"seconds", "peak_memory_bytes"}

KERNELS = ("dgl", "torch")
FILES = ("metrics.jsonl", "results.json")
SHOWN = 5  # differences that are printed of a case
MISSING = "(missing)"

Case = Callable[[Path], Mapping[str, Tensor]]
CASES: dict[str, Case] = {}


def import_first(*places: str) -> Any:
    """Import what the first of several places holds, each written as ``module:name``."""
    for place in places:
        module, _, name = place.partition(":")
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise ImportError(f"nothing is found at {', '.join(places)}; add its new place")


finetune_by_episodes = import_first(
    "gtl:finetune_by_episodes",
    "gtl.train:finetune_by_episodes",
    "gtl.train.episodes:finetune_by_episodes",
)
few_shot_methods = import_first(
    "gtl.catalog:FEW_SHOT_METHODS",
    "gtl.fewshot.methods:FEW_SHOT_METHODS",
    "gtl.fewshot.methods:METHODS",
    "gtl.train.few_shot_methods:METHODS",
)
PackedGraphs = import_first("gtl.graph:PackedGraphs", "gtl.graph.pack:PackedGraphs")
CategoryGraph = import_first("gtl.data:CategoryGraph")
Series = import_first("gtl.data:Series")
link_dataset = import_first("gtl.data:link_dataset")
kernels_in_use = import_first("gtl.graph.ops:kernels")


# -- data ------------------------------------------------------------------------------------------


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shapes() -> gtl.Dataset:
    """Small graphs with a ring or without; 60 to train, 30 to validate, 30 to test."""
    data = gtl.load("demo:shapes")
    sizes = {"train": 60, "valid": 30, "test": 30}
    return dataclasses.replace(
        data, split={part: data.split[part][:size] for part, size in sizes.items()}
    )


def some_graphs() -> gtl.Graph:
    """Forty of the graphs above as one."""
    graphs = gtl.load("demo:shapes").graphs
    return gtl.Graph.batch([graphs[i] for i in range(40)])


def values_of_graphs() -> gtl.Dataset:
    """Paths with vectors of floats and two values to predict, some of them missing."""
    rng = seeded(1)
    graphs, labels = [], []
    for i in range(60):
        n = 3 + i % 5
        x = torch.randn(n, 3, generator=rng)
        ends = torch.stack([torch.arange(n - 1), torch.arange(1, n)])
        src, dst = torch.cat([ends, ends.flip(0)], 1)
        graphs.append(gtl.Graph(src.contiguous(), dst.contiguous(), n, x))
        labels.append(torch.stack([x[:, 0].sum(), 10 + x[:, 1].mean()]))
    labels = torch.stack(labels)
    labels[::7, 1] = torch.nan
    split = random_split(60, 30, 45, rng)
    return gtl.Dataset("golden:values", PackedGraphs.pack(graphs), labels=labels, split=split)


def communities() -> gtl.Dataset:
    """One graph of 60 nodes in three groups, which are the labels."""
    rng = seeded()
    labels = torch.arange(60) % 3
    src, dst = joined_within(labels, 0.25, 0.02, rng)
    x = torch.randn(60, 7, generator=rng) + 0.3 * labels[:, None]
    return gtl.Dataset(
        "golden:communities",
        graph=gtl.Graph(src, dst, 60, x),
        labels=labels,
        split=random_split(60, 24, 40, rng),
        level="node",
    )


def links() -> gtl.Dataset:
    """Pairs of 40 nodes in two groups, linked or not; a node is known by its number."""
    src, dst = joined_within(torch.arange(40) % 2, 0.6, 0.03, seeded())
    graph = gtl.Graph(src, dst, 40, torch.arange(40).unsqueeze(1))
    return link_dataset(graph, metric="hits@20", spec="golden:links")


def library() -> gtl.Dataset:
    """Papers with a class, their authors and the places where they appeared: a typed graph."""
    rng = seeded()
    papers, authors, places = 31, 23, 5
    labels = torch.arange(papers) % 2
    writer = papers + torch.randint(authors, (47,), generator=rng)
    place = papers + authors + (2 * torch.rand(papers, generator=rng)).long() + 2 * labels
    written, paper = torch.arange(47) % papers, torch.arange(papers)
    kinds = [(written, writer), (writer, written), (paper, place), (place, paper)]
    x = torch.randn(papers + authors + places, 7, generator=rng)
    x[papers:, 3:] = 0  # an author has three columns
    x[papers + authors :] = 0  # a place has none
    graph = gtl.Graph(
        torch.cat([src for src, _ in kinds]),
        torch.cat([dst for _, dst in kinds]),
        len(x),
        x,
        node_type=torch.arange(3).repeat_interleave(torch.tensor([papers, authors, places])),
        edge_type=torch.cat([torch.full_like(src, i) for i, (src, _) in enumerate(kinds)]),
    )
    return gtl.Dataset(
        "golden:library",
        graph=graph,
        labels=torch.cat([labels, torch.full((authors + places,), -1)]),
        split=random_split(papers, 13, 20, rng),
        level="node",
    )


def waves() -> Any:
    """A sine at each of four nodes on a ring, one of which is absent every seventh step."""
    nodes = torch.arange(4)
    phase = torch.arange(40).unsqueeze(1) - nodes
    values = 3 + (phase * torch.pi / 4).sin() + nodes + 0.1 * torch.randn(40, 4, generator=seeded())
    mask = torch.ones(40, 4, dtype=torch.bool)
    mask[::7, 1] = False
    ring = gtl.Graph(nodes, (nodes + 1) % 4, 4)
    return Series("golden:waves", values.unsqueeze(2), ring, mask=mask, period=8)


def families() -> tuple[Tensor, Tensor]:
    """Features near the mean of their class, and twelve classes in four families."""
    rng = seeded()
    family = 2 * torch.randn(4, 11, generator=rng)
    means = (family.unsqueeze(1) + torch.randn(4, 3, 11, generator=rng)).reshape(12, 11)
    labels = torch.arange(12).repeat(14)
    return means[labels] + torch.randn(len(labels), 11, generator=rng), labels


def family_tree() -> Any:
    return CategoryGraph.from_paths([f"/family{i // 3}/class{i}" for i in range(12)])


def joined_within(
    groups: Tensor, inside: float, across: float, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Senders and receivers of random edges, in both directions, more within groups than across."""
    chance = torch.where(groups[:, None] == groups[None, :], inside, across)
    draw = torch.rand(len(groups), len(groups), generator=rng)
    upper = torch.triu(draw < chance, diagonal=1).nonzero()
    src, dst = torch.cat([upper, upper.flip(1)]).unbind(1)
    return src.contiguous(), dst.contiguous()


def random_split(count: int, first: int, second: int, rng: torch.Generator) -> dict[str, Tensor]:
    """A random split of so many items, cut after the first and the second number."""
    order = torch.randperm(count, generator=rng)
    return {"train": order[:first], "valid": order[first:second], "test": order[second:]}


# -- cases -----------------------------------------------------------------------------------------

GIN = {"name": "gin", "width": 16, "depth": 2, "dropout": 0.1}
GCN = {"name": "gcn", "width": 16, "depth": 2}
SAGE = {"name": "sage", "width": 8, "depth": 2, "norm": "layer"}
TYPED = {
    "rgcn": {"name": "rgcn", "width": 8, "depth": 2},
    "hgt": {"name": "hgt", "width": 8, "depth": 2, "heads": 2},
}
TASKS = [
    "attribute_generation",
    "attribute_masking",
    "bootstrap",
    "clustering",
    "context_prediction",
    "contrast",
    "edge_generation",
    "edge_prediction",
    "infomax",
    "masked_autoencoder",
    "motif",
    "pair_distance",
    "pair_similarity",
    "partition",
]
WEIGHTINGS = [
    "auto_lambda",
    "dwa",
    "equal",
    "gcs",
    "gradnorm",
    "metabalance",
    "ol_aux",
    "random_fixed",
    "selar",
    "slgrad",
    "uncertainty",
]
ADAPTERS = {
    "bottleneck_layerwise": ["bottleneck", "layerwise"],
    "lora": "lora",
    "film": "film",
    "parallel": "parallel",
    "prompt": "prompt",
}
AUXILIARY = ["attribute_masking", "infomax"]
QUICK = {"epochs": 3, "batch_size": 16, "lr": 1e-2}
ONE_MASS = {"name": "aux_ts", "mass": 0.3, "refresh": 2}


def case(function: Case) -> Case:
    """Register a case by the name of its function."""
    CASES[function.__name__] = function
    return function


def call(loop: Callable[..., Any], *parts: Any, **options: Any) -> Any:
    """Call a loop, with the names of parts and options as they are now."""
    return loop(*map(renamed, parts), **renamed(options))


def answers(model: Any, data: gtl.Dataset) -> dict[str, Tensor]:
    """Predictions on the test items, and their score."""
    score = gtl.evaluate(model, data)[data.metric]
    return {
        "predictions": gtl.predict(model, data, "test", raw=True),
        "score": torch.tensor(score, dtype=torch.float64),
    }


def vectors(run: Any, graph: gtl.Graph) -> dict[str, Tensor]:
    """Vectors of the nodes of a graph from a trained encoder."""
    with torch.no_grad():
        return {"vectors": run.encoder.eval()(graph)}


def finetuned(encoder: Any, data: gtl.Dataset, out: Path, **options: Any) -> dict[str, Tensor]:
    """What a fine-tuned model answers."""
    return answers(call(gtl.finetune, encoder, data, out=out, **{**QUICK, **options}), data)


def few_shot_scores(data: Any, methods: Mapping[str, Any], **options: Any) -> dict[str, Tensor]:
    """Scores that each method gives to the queries of each split; accuracies alone are coarse."""
    scores: dict[str, Tensor] = {}
    recorded = {title: recording(title, renamed(spec), scores) for title, spec in methods.items()}
    call(gtl.few_shot, data, recorded, splits=2, **options)
    return scores


def recording(title: str, spec: Any, scores: dict[str, Tensor]) -> Any:
    """A few-shot method that adds what it answers to ``scores``, in order."""
    method = few_shot_methods.build(spec)
    fit, count = method.fit, itertools.count()

    def fit_and_record(problem: Any) -> Callable[[Tensor], Tensor]:
        scorer = fit(problem)

        def answer(queries: Tensor) -> Tensor:
            scores[f"{title} {next(count)}"] = found = scorer(queries)
            return found

        return answer

    method.fit = fit_and_record
    return method


@case
def pretrain_graphs(out: Path) -> Mapping[str, Tensor]:
    tasks = ["attribute_masking", "context_prediction", "infomax", "contrast"]
    run = call(gtl.pretrain, GIN, shapes(), tasks, epochs=3, batch_size=64, out=out)
    return vectors(run, some_graphs())


@case
def pretrain_nodes(out: Path) -> Mapping[str, Tensor]:
    graph = communities().graph
    tasks = ["attribute_masking", "edge_prediction", "infomax"]
    return vectors(call(gtl.pretrain, GCN, graph, tasks, epochs=3, out=out), graph)


@case
def pretrain_nodes_sampled(out: Path) -> Mapping[str, Tensor]:
    graph = communities().graph
    options = {"epochs": 2, "batch_size": 20, "fan_out": [3, 3], "weighting": "uncertainty"}
    tasks = ["attribute_masking", "edge_prediction"]
    return vectors(call(gtl.pretrain, GCN, graph, tasks, out=out, **options), graph)


@case
def finetune_target_alone(out: Path) -> Mapping[str, Tensor]:
    return finetuned(GIN, shapes(), out)


@case
def finetune_values(out: Path) -> Mapping[str, Tensor]:
    options = {"optimizer": "adamw", "weight_decay": 0.01, "readout": "attention", "head": "mlp"}
    encoder = {"name": "gat", "width": 16, "depth": 2}
    return finetuned(encoder, values_of_graphs(), out, **options)


@case
def finetune_resumed(out: Path) -> Mapping[str, Tensor]:
    finetuned(GIN, shapes(), out, epochs=1, auxiliary=AUXILIARY)
    return finetuned(GIN, shapes(), out, auxiliary=AUXILIARY, resume=True)


@case
def finetune_auxiliary(out: Path) -> Mapping[str, Tensor]:
    return finetuned(GIN, shapes(), out, auxiliary=AUXILIARY, guard=True)


@case
def finetune_meta_share(out: Path) -> Mapping[str, Tensor]:
    return finetuned(GIN, shapes(), out, auxiliary=AUXILIARY, weighting=ONE_MASS, meta_share=0.2)


@case
def finetune_unrolled(out: Path) -> Mapping[str, Tensor]:
    how = {**ONE_MASS, "look_ahead": "unrolled", "consistency": "parameters"}
    return finetuned(GIN, shapes(), out, epochs=2, auxiliary=AUXILIARY, weighting=how, guard=False)


@case
def finetune_several_weightings(out: Path) -> Mapping[str, Tensor]:
    return finetuned(GIN, shapes(), out, auxiliary=AUXILIARY, weighting=["equal", "gcs", ONE_MASS])


@case
def finetune_from_run(out: Path) -> Mapping[str, Tensor]:
    run = call(gtl.pretrain, GIN, shapes(), AUXILIARY, epochs=2, batch_size=64)
    rates = {"head": 5e-3, "infomax": 2e-3}
    return finetuned(run, shapes(), out, auxiliary=AUXILIARY, weighting=ONE_MASS, rates=rates)


@case
def finetune_from_folder(out: Path) -> Mapping[str, Tensor]:
    data, first, second = shapes(), out / "first", out / "second"
    call(gtl.pretrain, GIN, data, AUXILIARY, epochs=2, batch_size=64, out=first)
    direct = finetuned(first, data, second, auxiliary=AUXILIARY, weighting=ONE_MASS)
    again = gtl.predict(gtl.Model.load(second), data, "test", raw=True)
    return {**direct, "loaded": again}


@case
def finetune_nodes_whole(out: Path) -> Mapping[str, Tensor]:
    return finetuned(GCN, communities(), out, auxiliary=AUXILIARY)


@case
def finetune_nodes_sampled(out: Path) -> Mapping[str, Tensor]:
    options = {"fan_out": [3, 3], "auxiliary": ["infomax"], "weighting": ONE_MASS}
    return finetuned(GCN, communities(), out, **options)


@case
def finetune_links(out: Path) -> Mapping[str, Tensor]:
    options = {"auxiliary": ["edge_prediction", "infomax"], "weighting": ONE_MASS}
    return finetuned({**GCN, "norm": None}, links(), out, **{**options, "batch_size": 100})


@case
def finetune_links_alone(out: Path) -> Mapping[str, Tensor]:
    options = {"negatives": 2, "corrupt": "one", "features": "l1", "remove": False}
    return finetuned({**GCN, "norm": None}, links(), out, links=options, head="mlp", batch_size=100)


@case
def episodes(out: Path) -> Mapping[str, Tensor]:
    data = communities()
    encoder = call(gtl.pretrain, GCN, data.graph, ["infomax"], epochs=2).encoder
    return answers(call(finetune_by_episodes, encoder, data, episodes=3, out=out), data)


@case
def few_shot_features(out: Path) -> Mapping[str, Tensor]:
    qda = {"name": "gaussian", "kind": "qda"}
    methods = {name: name for name in ("linear", "cosine", "prototype", "gaussian")}
    return few_shot_scores(families(), {**methods, "qda": qda}, out=out, shots=(1, 3))


@case
def few_shot_base_novel(out: Path) -> Mapping[str, Tensor]:
    chosen = {"name": "selected", "of": {"shrinkage": "shrinkage", "prototype": "prototype"}}
    kgtn = {"name": "kgtn", "episodes": 5}
    joint = {"name": "kgtn", "training": "joint", "steps": 5}
    methods = {"shrinkage": "shrinkage", "kgtn": kgtn, "joint": joint, "judged": chosen}
    options = {"protocol": "base_novel", "graph": family_tree(), "shots": (1, 3)}
    return few_shot_scores(families(), methods, out=out, **options)


@case
def few_shot_encoder(out: Path) -> Mapping[str, Tensor]:
    data = communities()
    encoder = call(gtl.pretrain, GCN, data.graph, ["infomax"], epochs=2).encoder
    fit, tune = {"name": "fit", "episodes": 2}, {"name": "finetune", "epochs": 2}
    methods = {"prototype": "prototype", "fit": fit, "finetune": tune}
    return few_shot_scores(data, methods, out=out, encoder=encoder, shots=[2])


@case
def forecast_network(out: Path) -> Mapping[str, Tensor]:
    series, quick = waves(), {"horizons": [1, 2], "epochs": 2, "batch_size": 4, "lr": 1e-2}
    first = call(gtl.forecast, SAGE, series, history=1, out=out / "first", **quick)
    options = {"adapter": "spatio_temporal", "memory": "gru", "difference": True, "history": 3}
    second = call(gtl.forecast, first, series, out=out / "second", **quick, **options)
    return {"first": first.predict(series), "second": second.predict(series)}


@case
def forecast_baselines(out: Path) -> Mapping[str, Tensor]:
    series, options = waves(), {"history": 3, "horizons": [1, 2]}
    return {
        name: call(gtl.forecast, name, series, out=out / name, **options).predict(series)
        for name in ("last_value", "seasonal_naive", "linear")
    }


def weighting_case(name: str, out: Path) -> Mapping[str, Tensor]:
    """Two epochs of fine-tuning beside auxiliary tasks under one weighting."""
    options = {"auxiliary": AUXILIARY, "weighting": name, "guard": False}
    return finetuned(GIN, shapes(), out, epochs=2, **options)


def adapter_case(adapter: Any, out: Path) -> Mapping[str, Tensor]:
    """An adapter in a pre-trained encoder, beside an auxiliary task."""
    run = call(gtl.pretrain, GIN, shapes(), AUXILIARY[:1], epochs=1, batch_size=64)
    options = {"adapter": adapter, "auxiliary": ["infomax"], "weighting": ONE_MASS}
    return finetuned(run, shapes(), out, **options)


def typed_case(encoder: Mapping[str, Any], out: Path) -> Mapping[str, Tensor]:
    """An encoder of typed graphs with auxiliary tasks."""
    auxiliary = ["attribute_masking", "edge_prediction"]
    return finetuned(encoder, library(), out, auxiliary=auxiliary, weighting=ONE_MASS)


def task_case(name: str, out: Path) -> Mapping[str, Tensor]:
    """One step of one self-supervised task, which may need a single graph."""
    data, graph = shapes(), some_graphs()
    if name == "partition":
        data = graph = communities().graph
    run = call(gtl.pretrain, GIN, data, [name], epochs=1, batch_size=0, lr=1e-2, out=out)
    return vectors(run, graph)


CASES |= {f"weighting_{name}": functools.partial(weighting_case, name) for name in WEIGHTINGS}
CASES |= {f"adapter_{name}": functools.partial(adapter_case, how) for name, how in ADAPTERS.items()}
CASES |= {f"typed_{name}": functools.partial(typed_case, how) for name, how in TYPED.items()}
CASES |= {f"task_{name}": functools.partial(task_case, name) for name in TASKS}


# -- records ---------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Record:
    """What a case leaves: the contents of its run folders by path, and its tensors by name."""

    files: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @staticmethod
    def of(name: str) -> Record:
        """Run a case."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            tensors = CASES[name](out)
            files = {
                path.relative_to(out).as_posix(): read(path)
                for path in sorted(out.rglob("*"))
                if path.name in FILES
            }
        return Record(files, {key: value.contiguous() for key, value in tensors.items()})

    @staticmethod
    def load(base: Path) -> Record:
        """Read what :meth:`save` wrote."""
        files = renamed(json.loads(with_suffix(base, ".json").read_text(encoding="utf-8")))
        return Record(files, load_file(with_suffix(base, ".safetensors")))

    def save(self, base: Path) -> None:
        """Write both parts beside one another."""
        text = json.dumps(without_costs(self.files), indent=1)
        with_suffix(base, ".json").write_text(text + "\n", encoding="utf-8")
        save_file(dict(self.tensors), with_suffix(base, ".safetensors"))


def with_suffix(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def read(path: Path) -> Any:
    """A file of a run folder: one value, or one a line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return json.loads(text)


def renamed(value: Any) -> Any:
    """The same with new names for old ones; what is neither text nor a collection is left alone."""
    if isinstance(value, str):
        value = RENAMED.get(value, value)
        for former, present in INSIDE.items():
            value = value.replace(former, present)
        parts = value.split("/")
        return "/".join(FOLDERS.get(part, part) for part in parts)
    if isinstance(value, dict):
        return {renamed(key): renamed(item) for key, item in value.items()}
    return [renamed(item) for item in value] if isinstance(value, list) else value


def without_costs(value: Any) -> Any:
    """The same without the keys that measure the machine."""
    if isinstance(value, dict):
        return {k: without_costs(item) for k, item in value.items() if k not in LEFT_OUT}
    return [without_costs(item) for item in value] if isinstance(value, list) else value


def record_differences(before: Record, after: Record) -> list[str]:
    """A line for each value that differs."""
    lines = list(json_differences("", without_costs(before.files), without_costs(after.files)))
    for name in sorted({*before.tensors, *after.tensors}):
        old, new = before.tensors.get(name), after.tensors.get(name)
        if old is None or new is None or exact(old) != exact(new):
            lines.append(f"tensor {name}: {gap(old, new)}")
    return lines


def json_differences(place: str, before: Any, after: Any) -> Iterator[str]:
    """A line for each place where two values of JSON differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            where = f"{place} > {key}".removeprefix(" > ")
            yield from json_differences(where, before.get(key, MISSING), after.get(key, MISSING))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (old, new) in enumerate(zip(before, after)):
            yield from json_differences(f"{place} > {i}", old, new)
    elif json.dumps(before) != json.dumps(after):  # as text a NaN equals itself
        yield f"{place}: {before!r} before, {after!r} now"


def exact(tensor: Tensor) -> tuple[Any, ...]:
    """Dtype, shape and bytes."""
    return tensor.dtype, tensor.shape, tensor.numpy().tobytes()


def gap(before: Tensor | None, after: Tensor | None) -> str:
    """The largest difference of two tensors, as text."""
    if before is None or after is None:
        return "missing before" if before is None else "missing now"
    if before.dtype != after.dtype or before.shape != after.shape:
        old, new = (f"{t.dtype} {tuple(t.shape)}" for t in (before, after))
        return f"{old} before, {new} now"
    return f"differs by up to {float((before - after).abs().nan_to_num().max()):.3g}"


# -- the command -----------------------------------------------------------------------------------


def record(folder: Path, kernel: str, names: list[str]) -> int:
    """Run cases and write what they give."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        started = time.monotonic()
        Record.of(name).save(folder / f"{name}.{kernel}")
        print(f"{name}.{kernel}: recorded, {time.monotonic() - started:.1f} s", flush=True)
    return 0


def compare(folder: Path, kernel: str, names: list[str]) -> int:
    """Run cases and print which differ from the record; 1 if any does."""
    wrong = 0
    for name in names:
        started = time.monotonic()
        lines = case_differences(folder / f"{name}.{kernel}", name)
        word = "DIFFERS" if lines else "equal"
        print(f"{name}.{kernel}: {word}, {time.monotonic() - started:.1f} s", flush=True)
        for line in lines[:SHOWN]:
            print(f"    {textwrap.shorten(line, 200)}", flush=True)
        wrong += bool(lines)
    print(f"{kernel}: {len(names) - wrong} of {len(names)} cases are equal", flush=True)
    return int(wrong > 0)


def case_differences(base: Path, name: str) -> list[str]:
    """What differs in one case; an error is a difference too."""
    if not with_suffix(base, ".json").is_file():
        return ["was not recorded"]
    try:
        return record_differences(Record.load(base), Record.of(name))
    except Exception as error:
        traceback.print_exc()
        return [f"{type(error).__name__}: {error}"]


def run_with_each_kernel(arguments: argparse.Namespace, names: list[str]) -> int:
    """Start one process for each kernel; returns the largest exit code."""
    codes = [0]
    for kernel in KERNELS:
        if kernel == "dgl" and importlib.util.find_spec("dgl") is None:
            print("DGL is not installed; its kernels are left out", flush=True)
            continue
        with tempfile.TemporaryDirectory() as cache:
            options = [arguments.action, str(arguments.folder), "--kernel", kernel]
            command = [sys.executable, __file__, *options, "--only", *names]
            codes.append(subprocess.run(command, env=environment(kernel, cache)).returncode)
    return max(map(abs, codes))


def environment(kernel: str, cache: str) -> dict[str, str]:
    """Environment of a process: one thread, one kernel and an empty cache."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    return {**os.environ, **threads, "GTL_KERNELS": kernel, "GTL_CACHE": cache, "MPLBACKEND": "Agg"}


def selected_names(patterns: list[str]) -> list[str]:
    """Names of the cases that match one of the patterns.

    Raises:
        ValueError: If there is no case for a pattern.
    """
    for pattern in patterns:
        if not fnmatch.filter(CASES, pattern):
            raise ValueError(f"no case is called {pattern!r}; known: {', '.join(CASES)}")
    matches = {name for pattern in patterns for name in fnmatch.filter(CASES, pattern)}
    return [name for name in CASES if name in matches]


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["record", "compare"])
    parser.add_argument("folder", type=Path, help="where the records lie")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="NAME", help="some cases alone")
    parser.add_argument("--kernel", choices=KERNELS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        names = selected_names(arguments.only)
    except ValueError as error:
        parser.error(str(error))
    if arguments.kernel is None:
        print(f"gtl of {Path(gtl.__file__).parent}", flush=True)
        return run_with_each_kernel(arguments, names)
    if kernels_in_use() != arguments.kernel:
        parser.error(f"the kernels in use are {kernels_in_use()}, expected {arguments.kernel}")
    warnings.simplefilter("ignore")
    act = record if arguments.action == "record" else compare
    return act(arguments.folder, arguments.kernel, names)


if __name__ == "__main__":
    sys.exit(main())
