"""Batch assembly on molecules: packed graphs against DGL's and PyG's data loaders.

Reads the raw files of ogbg-molbbbp under ``--root`` (or ``GTL_DATA``); without them, random
molecule-like graphs of the same sizes stand in, and the results say so.

DGL and PyG hand over what their layers run on at once; gtl's kernels want a handle made of the
batch when a layer first needs one, so that is timed too.

    OMP_NUM_THREADS=1 python benchmarks/batching.py --root path/to/data
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _measure import compare, write_results
from torch import Tensor

from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs

BATCH = 256
EPOCHS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    folder = Path(options.root) / "ogb" / "ogbg_molbbbp" / "raw"
    real = bool(options.root) and folder.is_dir()
    packed = read_molecules(folder) if real else random_molecules(2039, seed=0)
    packed = packed.compact()  # as data sets are kept
    sides: dict[str, Callable[[], Any]] = {"gtl": lambda: epoch(packed)}
    skipped = []
    makers = {"dgl": dgl_epoch, "pyg": pyg_epoch, "gtl with DGL's handle": handled_epoch}
    for name, make in makers.items():
        try:
            sides[name] = make(packed)
        except ImportError as error:
            skipped.append(f"{name}: {error}")
    payload = {
        "what": f"{EPOCHS} shuffled epochs in batches of {BATCH}, no workers",
        "data": "ogbg-molbbbp" if real else "random molecule-like graphs",
        "graphs": len(packed),
        "nodes": int(packed.node_offsets[-1]),
        "edges": int(packed.edge_offsets[-1]),
        "skipped": skipped,
        **compare({name: _times(call) for name, call in sides.items()}, options.repeats),
    }
    write_results("batching", payload)
    for name, seconds in payload["seconds"].items():
        ratio = payload["ratio"].get(name, 1.0)
        print(f"{name:>21}  {1e3 * seconds['median'] / EPOCHS:8.1f} ms an epoch  {ratio:6.1f}x")
    for line in skipped:
        print(f"skipped {line}")


def epoch(packed: PackedGraphs) -> int:
    """Assemble every batch of one epoch; returns the number of nodes seen."""
    order = torch.randperm(len(packed))
    return sum(packed.batch(index).num_nodes for index in order.split(BATCH))


def handled_epoch(packed: PackedGraphs) -> Callable[[], int]:
    """The same with the handle that DGL's kernels run on."""
    from gtl.graph.kernels.with_dgl import handle

    def run() -> int:
        order = torch.randperm(len(packed))
        return sum(handle(packed.batch(index)).num_nodes() for index in order.split(BATCH))

    return run


def dgl_epoch(packed: PackedGraphs) -> Callable[[], int]:
    """The same with DGL's GraphDataLoader."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl

    graphs = []
    for graph in map(packed.__getitem__, range(len(packed))):
        one = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
        one.ndata["x"], one.edata["e"] = graph.x, graph.e
        graphs.append(one)
    loader = dgl.dataloading.GraphDataLoader(graphs, batch_size=BATCH, shuffle=True)
    return lambda: sum(batch.num_nodes() for batch in loader)


def pyg_epoch(packed: PackedGraphs) -> Callable[[], int]:
    """The same with PyG's DataLoader."""
    from torch_geometric.data import Data
    from torch_geometric.loader import DataLoader

    graphs = [
        Data(x=graph.x, edge_index=torch.stack([graph.src, graph.dst]), edge_attr=graph.e)
        for graph in map(packed.__getitem__, range(len(packed)))
    ]
    loader = DataLoader(graphs, batch_size=BATCH, shuffle=True)
    return lambda: sum(batch.num_nodes for batch in loader)


def _times(call: Callable[[], Any]) -> Callable[[], None]:
    def epochs() -> None:
        for _ in range(EPOCHS):
            call()

    return epochs


def read_molecules(folder: Path) -> PackedGraphs:
    """The graphs of an OGB molecule set's raw files; each bond becomes two directed edges."""
    nodes = _csv(folder / "num-node-list.csv.gz").flatten()
    bonds = _csv(folder / "num-edge-list.csv.gz").flatten()
    ends, features = _csv(folder / "edge.csv.gz"), _csv(folder / "edge-feat.csv.gz")
    atoms = _csv(folder / "node-feat.csv.gz")
    graphs = []
    for x, edge, e in zip(
        atoms.split(nodes.tolist()), ends.split(bonds.tolist()), features.split(bonds.tolist())
    ):
        graphs.append(_undirected(x, edge, e))
    return PackedGraphs.pack(graphs)


def random_molecules(count: int, seed: int) -> PackedGraphs:
    """Random trees of about 24 atoms with a few ring closures and OGB's number of columns."""
    rng = np.random.default_rng(seed)
    graphs = []
    for atoms in rng.integers(6, 43, count):
        parents = np.array([rng.integers(max(0, i - 3), i) for i in range(1, atoms)])
        rings = np.sort(rng.integers(0, atoms, (3, 2)), axis=1)
        rings = rings[rings[:, 0] < rings[:, 1]]
        edge = np.concatenate([np.stack([parents, np.arange(1, atoms)], 1), rings])
        x, e = rng.integers(0, 8, (atoms, 9)), rng.integers(0, 3, (len(edge), 3))
        graphs.append(_undirected(*map(torch.from_numpy, (x, edge, e))))
    return PackedGraphs.pack(graphs)


def _undirected(x: Tensor, edge: Tensor, e: Tensor) -> Graph:
    both = torch.stack([edge, edge.flip(1)], 1).reshape(-1, 2)
    return Graph(both[:, 0], both[:, 1], len(x), x=x, e=e.repeat_interleave(2, dim=0))


def _csv(path: Path) -> Tensor:
    return torch.from_numpy(np.loadtxt(path, dtype=np.int64, delimiter=",", ndmin=2))


if __name__ == "__main__":
    main()
