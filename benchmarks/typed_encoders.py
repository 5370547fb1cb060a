"""Typed graphs: gtl's R-GCN and HGT layers against DGL's, forward and backward through two of them.

Nodes and edges come in the order of their types, which both libraries make of typed data and which
lets DGL go without sorting. All sides of a row compute the same numbers, which is checked before
the clock starts. The second graph has many relations. Peak memory is that of a first step, what is
made once for the graph included, in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/typed_encoders.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from _measure import compare, peak_memory, write_results
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.encoders.hgt import HGTBlock
from gtl.encoders.rgcn import RGCNConvolution
from gtl.graph import Graph, Schema, ops

os.environ.setdefault("DGLBACKEND", "pytorch")
RELATIONAL: dict[str, tuple[str | None, int]] = {  # decomposition and bases
    "rgcn": (None, 1),
    "rgcn basis": ("basis", 2),
    "rgcn block": ("block", 4),
}
GRAPHS = {
    "small": {"nodes": 20_000, "edges": 200_000, "node_types": 3, "edge_types": 4},
    "large": {"nodes": 50_000, "edges": 1_000_000, "node_types": 3, "edge_types": 40},
}
CASES = [("small", "hgt"), *(("small", name) for name in RELATIONAL), ("large", "rgcn basis")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        graph, name, side = options.memory_of
        print(json.dumps(peak_memory(sides_of(graph, name, options.width)[side])))
        return
    runs = [measure(*case, options.width, options.repeats) for case in CASES]
    write_results("typed_encoders", {"runs": runs})


def typed_graph(nodes: int, edges: int, node_types: int, edge_types: int) -> Graph:
    """Random ends and types, in the order of types."""
    rng = torch.Generator().manual_seed(0)
    src, dst = torch.randint(nodes, (2, edges), generator=rng)
    return Graph(
        src,
        dst,
        nodes,
        node_type=torch.randint(node_types, (nodes,), generator=rng).sort().values,
        edge_type=torch.randint(edge_types, (edges,), generator=rng).sort().values,
    )


def measure(graph: str, name: str, width: int, repeats: int) -> dict[str, Any]:
    """Steps of all sides on one graph."""
    sides = sides_of(graph, name, width)
    agree(sides)
    result = {
        "encoder": name,
        "graph": GRAPHS[graph],
        "width": width,
        **compare(sides, repeats),
        "peak_bytes": {side: memory_of(graph, name, side, width) for side in sides},
    }
    print(f"{name}, {GRAPHS[graph]}")
    for side, seconds in result["seconds"].items():
        ratio, peak = result["ratio"].get(side, 1.0), result["peak_bytes"][side] / 2**20
        print(f"{side:>12}  {1e3 * seconds['median']:8.1f} ms  {ratio:5.2f}x  {peak:7.0f} MiB")
    return result


def memory_of(graph: str, name: str, side: str, width: int) -> int:
    """Rise of resident memory during one step."""
    command = [sys.executable, __file__, "--width", str(width), "--memory-of", graph, name, side]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def sides_of(key: str, name: str, width: int) -> dict[str, Callable[[], Tensor]]:
    """A step of each side, by name."""
    graph = typed_graph(**GRAPHS[key])
    schema = Schema.of(graph)
    make = hgt_layers if name == "hgt" else rgcn_layers
    pairs = [make(graph, name, schema, width) for _ in range(2)]
    ours, dgl = (Two(layers, name != "hgt") for layers in zip(*pairs))
    x = torch.randn(graph.num_nodes, width, generator=torch.Generator().manual_seed(1))
    return {
        "gtl": step(ours, x, "dgl"),
        "gtl (torch)": step(ours, x, "torch"),
        "dgl": step(dgl, x, "dgl"),
    }


class Two(nn.Module):
    """Two layers that are given their graph at once.

    Args:
        layers: Each a module and how it is called: ``call(module, h) -> (n, width)``.
        activate: Whether there is a ReLU between them.
    """

    def __init__(self, layers: Any, activate: bool):
        super().__init__()
        self.layers = nn.ModuleList(module for module, _ in layers)
        self.calls = [call for _, call in layers]
        self.activate = activate

    def forward(self, h: Tensor) -> Tensor:
        h = self.calls[0](self.layers[0], h)
        return self.calls[1](self.layers[1], h.relu() if self.activate else h)


Layer = tuple[nn.Module, Callable[[nn.Module, Tensor], Tensor]]


def rgcn_layers(graph: Graph, name: str, schema: Schema, width: int) -> tuple[Layer, Layer]:
    """gtl's layer and DGL's, which is told to take means instead of sums."""
    from dgl.nn import RelGraphConv

    decomposition, bases = RELATIONAL[name]
    ours = RGCNConvolution(None, schema.edge_types, width, decomposition, bases)
    regularizer = "bdd" if decomposition == "block" else decomposition
    other = RelGraphConv(width, width, schema.edge_types, regularizer, bases)
    names = {"basis": "W", "mixture": "coeff", "weight": "W"}
    with torch.no_grad():
        other.loop_weight.copy_(ours.own.weight.T)
        for key, parameter in ours.matrices.named_parameters():
            theirs = getattr(other.linear_r, names[key])
            theirs.copy_(parameter.reshape(theirs.shape))
    types = graph.edge_type
    assert types is not None
    reached = types * graph.num_nodes + graph.dst
    share = torch.bincount(reached)[reached].float().reciprocal().unsqueeze(1)
    handle = dgl_graph(graph)

    def call(layer: nn.Module, h: Tensor) -> Tensor:
        return layer(handle, h, types, share, presorted=True)

    return (ours, lambda layer, h: layer(graph, h)), (other, call)


def hgt_layers(graph: Graph, name: str, schema: Schema, width: int) -> tuple[Layer, Layer]:
    """gtl's layer without a norm and DGL's, with the activation that the paper has."""
    from dgl.nn import HGTConv

    heads, types = 4, (schema.node_types, schema.edge_types)
    ours = HGTBlock(schema, width, heads, 0.0, None)
    other = HGTConv(width, width // heads, heads, *types, dropout=0.0)
    with torch.no_grad():
        for key, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "a")):
            getattr(other, f"linear_{letter}").W.copy_(getattr(ours, key).weight)
        for k in range(heads):
            other.relation_att[k].W.copy_(ours.attention[:, k])
            other.relation_msg[k].W.copy_(ours.message[:, k])
    other.linear_a = AfterGelu(other.linear_a)
    handle = dgl_graph(graph)

    def call(layer: nn.Module, h: Tensor) -> Tensor:
        return layer(handle, h, graph.node_type, graph.edge_type, presorted=True)

    return (ours, lambda layer, h: layer(graph, h)), (other, call)


class AfterGelu(nn.Module):
    """A typed map after an activation."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, h: Tensor, *types: Any) -> Tensor:
        return self.inner(F.gelu(h), *types)


def dgl_graph(graph: Graph) -> Any:
    import dgl

    return dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)


def step(model: Two, x: Tensor, kernels: str) -> Callable[[], Tensor]:
    """A call that goes forward and backward with the kernels of that name; returns the output."""
    h = x.clone().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))

    def call() -> Tensor:
        h.grad = None
        model.zero_grad()
        with ops.use_kernels(kernels):
            out = model(h)
            out.backward(weight)
        return out.detach()

    return call


def agree(sides: dict[str, Callable[[], Tensor]]) -> None:
    """Check that all sides compute the same outputs."""
    first, *others = (call() for call in sides.values())
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    main()
