"""One epoch of domain-adversarial training on the largest pair of citation graphs, against pygda.

Sides: gtl's ``dann`` (a step of its training loop, both graphs in one encoder pass); the same with
``target_entropy`` beside it; and DANN and UDAGCN with the networks of pygda. The step of these two
is that of pygda's UDAGCN written out here: its loader of neighborhoods needs compiled packages that
are not there for every torch, and each of its epochs reads both graphs whole, so leaving the loader
out only makes pygda faster. DANN is UDAGCN without its second (PPMI) branch and without target
entropy. ``torch_scatter``, which pygda imports, is stood in for by the one function that it calls.
All sides have two layers of 128 columns, a critic of 40, dropout 0.1, Adam; labels are classes.

pygda and torch_geometric are needed, here or in folders given as ``--path``:

    pip download --no-deps pygda torch_geometric
    OMP_NUM_THREADS=1 python benchmarks/domain_adaptation_speed.py --root path/to/data
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from _measure import compare, write_results
from torch import Tensor

import gtl
from gtl.catalog import ENCODERS, TASKS, WEIGHTINGS
from gtl.data import Dataset
from gtl.tasks import Supervised
from gtl.train.job import Job
from gtl.train.loop import after_step, train_on_batches
from gtl.train.model import build_target
from gtl.train.optimizers import build_optimizer
from gtl.train.step import TaskModel

SOURCE, TARGET = "acmv9", "citationv1"
WIDTH, DEPTH, DROPOUT, CRITIC, EPOCHS = 128, 2, 0.1, 40, 300
FIRST = "gtl dann"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--path", action="append", default=[], help="where pygda lies")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-ppmi", action="store_true", help="leave out UDAGCN's walks")
    options = parser.parse_args()
    if not options.root:
        print("domain_adaptation_speed: give the folder of data as --root or GTL_DATA; left out")
        return
    torch.set_num_threads(1)
    source, target = (classes(options.root, name) for name in (SOURCE, TARGET))
    sides: dict[str, Callable[[], Any]] = {
        FIRST: gtl_epoch(source, target, ["dann"]),
        "gtl dann and target_entropy": gtl_epoch(source, target, ["dann", "target_entropy"]),
    }
    skipped = []
    try:
        parts = pygda(options.path)
        sides["pygda DANN"] = pygda_epoch(parts, source, target, ppmi=False)
        if options.no_ppmi:
            skipped.append("pygda UDAGCN: left out (--no-ppmi)")
        else:
            sides["pygda UDAGCN"] = pygda_epoch(parts, source, target, ppmi=True)
    except ImportError as error:
        skipped.append(f"pygda: {error}")
    found = compare(sides, options.repeats)
    for name, seconds in found["seconds"].items():
        ratio = found["ratio"].get(name, 1.0)
        print(f"{name:>28}  {1e3 * seconds['median']:8.1f} ms  {ratio:6.2f}x")
    for line in skipped:
        print(f"left out: {line}")
    graphs = {d.spec: [d.graph.num_nodes, d.graph.num_edges] for d in (source, target)}
    write_results("domain_adaptation_speed", {"graphs": graphs, **found, "skipped": skipped})


def classes(root: str, name: str) -> Dataset:
    """A domain with one class a node, the first of its labels."""
    data = gtl.load(f"mat:{name}", root=root, normalize=False)
    return replace(
        data,
        labels=data.labels.argmax(1),
        split={"train": torch.arange(len(data))},
        kind="",
        metric="",
        label_names=(),
    )


def gtl_epoch(source: Dataset, target: Dataset, names: list[str]) -> Callable[[], Any]:
    """One epoch of gtl's loop."""
    torch.manual_seed(0)
    spec = {"name": "gcn", "width": WIDTH, "depth": DEPTH, "dropout": DROPOUT, "norm": None}
    encoder = ENCODERS.build({**spec, "embedding": None}, source.schema)
    shape = {"kind": "multiclass", "outputs": source.num_outputs, "level": "node"}
    supervised: Supervised = build_target(encoder, shape, "linear", None)
    supervised.setup(source.schema, encoder.width)
    tasks = {"supervised": supervised}
    bare = replace(target, labels=None, split={}, kind="", metric="")
    for name in names:
        task = TASKS.build({"name": name, "hidden": CRITIC} if name == "dann" else name).on(bare)
        task.setup(source.schema, encoder.width)
        tasks[name] = task
    model = TaskModel(encoder, tasks)
    weighting = WEIGHTINGS.build("equal")
    weighting.setup(list(tasks), "supervised")
    optimizer = build_optimizer(model, "adam", 1e-3, 0.0)
    rng = torch.Generator().manual_seed(0)
    items = source.split["train"]
    job = Job(model, weighting, optimizer, source, items, EPOCHS, 0, rng, target="supervised")
    after_step(model, 0.0)
    model.train()
    return lambda: train_on_batches(job, 0, None)


def pygda(paths: list[str]) -> Any:
    """Networks of pygda, without what its package imports beside them."""
    sys.path[:0] = paths
    import torch_geometric  # noqa: F401  (before the stand-in, which it would use)

    if importlib.util.find_spec("torch_scatter") is None:
        scatter = types.ModuleType("torch_scatter")
        scatter.scatter_add = scatter_add  # type: ignore[attr-defined]
        sys.modules["torch_scatter"] = scatter
    home = importlib.util.find_spec("pygda")
    if home is None or home.submodule_search_locations is None:
        raise ImportError("pygda is not installed; give its folder as --path")
    base = next(iter(home.submodule_search_locations))
    for name, path in (("pygda", base), ("pygda.nn", f"{base}/nn")):
        package = types.ModuleType(name)
        package.__path__ = [path]
        sys.modules[name] = package
    return (
        importlib.import_module("pygda.nn.udagcn_base").UDAGCNBase,
        importlib.import_module("pygda.nn.reverse_layer").GradReverse,
    )


def scatter_add(src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None) -> Tensor:
    """Sum of values by index along the first axis, as ``torch_scatter.scatter_add``."""
    size = int(index.max()) + 1 if dim_size is None else dim_size
    return src.new_zeros(size, *src.shape[1:]).index_add(0, index, src)


def pygda_epoch(parts: Any, source: Dataset, target: Dataset, ppmi: bool) -> Callable[[], Any]:
    """One epoch of pygda's networks on both graphs."""
    from torch_geometric.data import Data

    base, reverse = parts
    torch.manual_seed(0)
    columns = source.graph.x.shape[1]
    net = base(columns, WIDTH, source.num_outputs, DEPTH, DROPOUT, ppmi=ppmi, adv_dim=CRITIC)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    one, other = (
        Data(x=d.graph.x, edge_index=torch.stack([d.graph.src, d.graph.dst]), y=d.labels)
        for d in (source, target)
    )
    sides = torch.zeros(len(one.x)).long(), torch.ones(len(other.x)).long()

    def epoch() -> None:
        net.train()
        here, there = net.encode(one, "source"), net.encode(other, "target")
        loss = net.loss_func(net.cls_model(here), one.y)
        for vectors, side in zip((here, there), sides):
            loss = loss + net.loss_func(net.domain_model(reverse.apply(vectors, 0.05)), side)
        if ppmi:
            share = net.cls_model(there).softmax(1).clamp(min=1e-9)
            loss = loss + 0.01 * -(share * share.log()).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return epoch


if __name__ == "__main__":
    main()
