"""A training step of GIN (5 layers of 300) on molecules, against the same model in PyG.

Both sides do forward, mean readout, a linear head, cross-entropy, backward and Adam on the same
batches with the same weights; graph values are new in every step, so nothing made for one step
(kernel handles, edge codes) is reused in the next. The PyG model passes a vector per edge, as the
published pre-training code does. Features are the two columns of that code, or OGB's nine. Matrix
products of the MLPs, the same on both sides, take most of the time; so the same step with the MLPs
left out is measured too, which is what remains for messages, edge features and norms.

    OMP_NUM_THREADS=2 python benchmarks/molecule_step.py --root path/to/data
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from _measure import compare, write_results
from batching import random_molecules, read_molecules
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders import GIN
from gtl.encoders.readout import Mean
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs

BATCH, BATCHES, WIDTH, DEPTH = 256, 2, 300, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.environ.get("GTL_DATA", ""), help="folder of data")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    folder = Path(options.root) / "ogb" / "ogbg_molbbbp" / "raw"
    real = bool(options.root) and folder.is_dir()
    packed = read_molecules(folder) if real else random_molecules(2039, seed=0)
    results = {}
    two = first_columns(packed, 2)
    for name, graphs, mlp in (
        ("two columns", two, True),
        ("ogb columns", packed, True),
        ("two columns, without MLPs", two, False),
    ):
        results[name] = measure(graphs, options.repeats, mlp)
        ratio, seconds = results[name]["ratio"]["pyg"], results[name]["seconds"]
        own, other = (1e3 * seconds[side]["median"] / BATCHES for side in ("gtl", "pyg"))
        print(f"{name:>26}: gtl {own:6.1f} ms a step, PyG {other:6.1f} ms, {ratio:.2f}x")
    payload = {
        "what": f"{BATCHES} training steps of GIN {DEPTH} x {WIDTH}, {BATCH} molecules each",
        "data": "ogbg-molbbbp" if real else "random molecule-like graphs",
        "cases": results,
    }
    write_results("molecule_step", payload)


def first_columns(packed: PackedGraphs, count: int) -> PackedGraphs:
    """The first feature columns of nodes and edges: as many as the published model reads."""
    node, edge = packed.schema.node, packed.schema.edge
    assert packed.x is not None and node is not None and node.categories is not None
    assert packed.e is not None and edge is not None and edge.categories is not None
    schema = Schema(Columns(node.categories[:count]), Columns(edge.categories[:count]))
    return replace(packed, x=packed.x[:, :count], e=packed.e[:, :count], schema=schema)


def measure(packed: PackedGraphs, repeats: int, mlp: bool) -> dict[str, Any]:
    """Time both sides, after checking that they compute the same logits."""
    order = torch.randperm(len(packed), generator=torch.Generator().manual_seed(0))
    batches = [packed.batch(index) for index in order.split(BATCH)[:BATCHES]]
    own, other = OwnModel(packed), PyGModel(packed)
    other.copy_weights(own)
    if not mlp:
        for layer in (*other.layers, *(block.conv for block in own.encoder.blocks)):
            layer.mlp = nn.Identity()
    with torch.no_grad():
        difference = float((own(batches[0]) - other(batches[0])).abs().max())
    if difference > 1e-3:
        raise RuntimeError(f"the two sides disagree by {difference}")
    sides = {"gtl": steps(own, batches), "pyg": steps(other, batches)}
    sizes = [[batch.num_nodes, batch.num_edges] for batch in batches]
    return {
        "nodes_and_edges": sizes,
        "largest_difference": difference,
        **compare(sides, repeats),
    }


def steps(model: nn.Module, batches: list[Graph]) -> Callable[[], None]:
    """One pass over the batches, as it is timed."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        for batch in batches:
            fresh = Graph(
                batch.src, batch.dst, batch.num_nodes, batch.x, batch.e, sizes=batch.sizes
            )
            logits = model(fresh)
            target = (torch.arange(len(logits)) % 2).to(logits.dtype)
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(logits, target).backward()
            optimizer.step()

    return run


class OwnModel(nn.Module):
    def __init__(self, packed: PackedGraphs):
        super().__init__()
        self.encoder = GIN(packed.schema, WIDTH, DEPTH)
        self.readout = Mean(WIDTH)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, graph: Graph) -> Tensor:
        return self.head(self.readout(graph, self.encoder(graph))).squeeze(1)


class PyGModel(nn.Module):
    """The published model on current PyG: embeddings looked up, one message per edge."""

    def __init__(self, packed: PackedGraphs):
        super().__init__()
        from torch_geometric.nn import global_mean_pool

        node, edge = packed.schema.node, packed.schema.edge
        assert node is not None and node.categories and edge is not None and edge.categories
        self.pool = global_mean_pool
        self.atoms = nn.ModuleList(nn.Embedding(c + 1, WIDTH) for c in node.categories)
        self.layers = nn.ModuleList(_pyg_layer(edge.categories) for _ in range(DEPTH))
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, graph: Graph) -> Tensor:
        assert graph.x is not None
        edge_index = torch.stack([graph.src, graph.dst])
        h = sum(table(graph.x[:, i]) for i, table in enumerate(self.atoms))
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            h = norm(layer(h, edge_index, graph.e))
            if i < DEPTH - 1:
                h = F.relu(h)
        return self.head(self.pool(h, graph.graph_ids(), graph.num_graphs)).squeeze(1)

    @torch.no_grad()
    def copy_weights(self, own: OwnModel) -> None:
        _copy_tables(self.atoms, own.encoder.embed.table)
        for layer, norm, block in zip(self.layers, self.norms, own.encoder.blocks):
            table = block.conv.edges.table
            _copy_tables(layer.bonds, table[:-1])
            layer.loop.copy_(table[-1])
            layer.mlp.load_state_dict(block.conv.mlp.state_dict())
            norm.load_state_dict(block.norm.state_dict())
        self.head.load_state_dict(own.head.state_dict())


def _pyg_layer(categories: tuple[int, ...]) -> nn.Module:
    from torch_geometric.nn import MessagePassing
    from torch_geometric.utils import add_self_loops

    class Layer(MessagePassing):
        def __init__(self) -> None:
            super().__init__(aggr="add")
            self.bonds = nn.ModuleList(nn.Embedding(c + 1, WIDTH) for c in categories)
            self.loop = nn.Parameter(torch.zeros(WIDTH))
            self.mlp = nn.Sequential(
                nn.Linear(WIDTH, 2 * WIDTH), nn.ReLU(), nn.Linear(2 * WIDTH, WIDTH)
            )

        def forward(self, h: Tensor, edge_index: Tensor, e: Tensor) -> Tensor:
            edge_index, _ = add_self_loops(edge_index, num_nodes=len(h))
            bonds = sum(table(e[:, i]) for i, table in enumerate(self.bonds))
            vectors = torch.cat([bonds, self.loop.expand(len(h), -1)])
            return self.mlp(self.propagate(edge_index, h=h, vectors=vectors))

        def message(self, h_j: Tensor, vectors: Tensor) -> Tensor:
            return h_j + vectors

    return Layer()


def _copy_tables(tables: nn.ModuleList, table: Tensor) -> None:
    parts = table.split([len(one.weight) for one in tables])
    for one, part in zip(tables, parts):
        one.weight.copy_(part)


if __name__ == "__main__":
    main()
