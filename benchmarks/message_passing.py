"""Full-batch message passing on 1M edges: gtl's kernels against torch CSR, index_add, DGL and PyG.

Two measurements, forward and backward each: the sum over neighbors alone, and a training step of a
GCN: two convolutions and a linear classifier, each side with the layer of its own library. Every
side computes the same numbers, which is checked before the clock starts.

    OMP_NUM_THREADS=1 python benchmarks/message_passing.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from _measure import compare, write_results
from torch import Tensor, nn

from gtl.encoders.gcn import GCNConvolution
from gtl.graph import Graph, ops

Sum = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runs = [
        measure(nodes, options.edges, options.width, options.repeats) for nodes in options.nodes
    ]
    write_results("message_passing", {"runs": runs})


def measure(nodes: int, edges: int, width: int, repeats: int) -> dict[str, Any]:
    """Both measurements on a graph of that size."""
    graph = random_graph(nodes, edges, seed=0)
    x = torch.randn(nodes, width, generator=torch.Generator().manual_seed(1))
    y = torch.randint(40, (nodes,), generator=torch.Generator().manual_seed(2))
    result: dict[str, Any] = {"nodes": nodes, "edges": graph.num_edges, "width": width}
    result["skipped"] = []
    sums, steps = {}, {}
    for name, make in SIDES.items():
        try:
            sums[name], steps[name] = make(graph, x, y)
        except ImportError as error:
            result["skipped"].append(f"{name}: {error}")
    agree(sums, steps)
    for title, calls in (("sum_over_neighbors", sums), ("gcn_step", steps)):
        result[title] = compare(calls, repeats)
        print(f"{title}, {nodes} nodes, {graph.num_edges} edges")
        for name, seconds in result[title]["seconds"].items():
            ratio = result[title]["ratio"].get(name, 1.0)
            print(f"{name:>12}  {1e3 * seconds['median']:8.1f} ms  {ratio:6.2f}x")
    for line in result["skipped"]:
        print(f"skipped {line}")
    return result


def random_graph(nodes: int, edges: int, seed: int) -> Graph:
    """Both directions of random pairs, with a self-loop at every node, as a GCN wants it."""
    rng = torch.Generator().manual_seed(seed)
    pairs = torch.randint(nodes, (2, (edges - nodes) // 2), generator=rng)
    pairs = pairs[:, pairs[0] != pairs[1]]
    src, dst = torch.cat([pairs, pairs.flip(0)], 1)
    return Graph(src, dst, nodes).with_self_loops()


class GCN(nn.Module):
    """Two convolutions (Kipf and Welling 2017) and a classifier.

    Args:
        first: A layer ``h -> (n, width)``.
        second: Another.
        width: Columns of both.
    """

    def __init__(self, first: nn.Module, second: nn.Module, width: int):
        super().__init__()
        self.first, self.second, self.head = first, second, nn.Linear(width, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu())


class Layer(nn.Module):
    """A convolution that is given its graph at once.

    Args:
        module: The layer.
        call: Calls it: ``call(module, h) -> (n, width)``.
    """

    def __init__(self, module: nn.Module, call: Callable[[nn.Module, Tensor], Tensor]):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, h: Tensor) -> Tensor:
        return self.call(self.module, h)


Make = Callable[[Graph, Tensor, Tensor], tuple[Callable, Callable]]


def on_ops(kernels: str) -> Make:
    """gtl's sums and its GCN layer with the kernels of that name."""

    def make(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
        with ops.use_kernels(kernels):
            ops.sum_neighbors(graph, x[:, :1])

        def add(h: Tensor) -> Tensor:
            with ops.use_kernels(kernels):
                return ops.sum_neighbors(graph, h)

        def convolve(layer: nn.Module, h: Tensor) -> Tensor:
            with ops.use_kernels(kernels):
                return layer(bare, h)

        # The layer adds the loops that `graph` has already.
        bare = Graph(graph.src, graph.dst, graph.num_nodes).drop_edges(graph.src == graph.dst)
        return one_sum(add, x), one_step(lambda d: GCNConvolution(None, d), convolve, x, y)

    return make


def torch_csr(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """Products with sparse CSR tensors, their derivative left to torch."""
    matrix = _csr(graph, torch.ones(graph.num_edges))
    normal = _csr(graph, _weights(graph))

    def convolve(linear: nn.Module, h: Tensor) -> Tensor:
        return linear(normal @ h)

    return one_sum(matrix.matmul, x), one_step(lambda d: nn.Linear(d, d), convolve, x, y)


def index_add(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """Gather the senders, add at the receivers."""
    weight = _weights(graph).unsqueeze(1)

    def add(h: Tensor) -> Tensor:
        return torch.zeros_like(h).index_add(0, graph.dst, h.index_select(0, graph.src))

    def convolve(linear: nn.Module, h: Tensor) -> Tensor:
        messages = h.index_select(0, graph.src) * weight
        return linear(torch.zeros_like(h).index_add(0, graph.dst, messages))

    return one_sum(add, x), one_step(lambda d: nn.Linear(d, d), convolve, x, y)


def dgl_layers(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """DGL's update_all and its GraphConv."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl

    one = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)

    def add(h: Tensor) -> Tensor:
        with one.local_scope():
            one.srcdata["h"] = h
            one.update_all(dgl.function.copy_u("h", "m"), dgl.function.sum("m", "h"))
            return one.dstdata["h"]

    def convolve(layer: nn.Module, h: Tensor) -> Tensor:
        return layer(one, h)

    return one_sum(add, x), one_step(lambda d: dgl.nn.GraphConv(d, d), convolve, x, y)


def pyg_layers(csr: bool) -> Make:
    """PyG's SimpleConv and GCNConv, along edge numbers or a sparse CSR tensor."""

    def make(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
        from torch_geometric.nn import GCNConv, SimpleConv

        ends, weight = torch.stack([graph.src, graph.dst]), _weights(graph)
        plain = _csr(graph, torch.ones_like(weight)) if csr else ends
        given = (_csr(graph, weight),) if csr else (ends, weight)
        total = SimpleConv(aggr="sum")
        return one_sum(lambda h: total(h, plain), x), one_step(
            lambda d: GCNConv(d, d, normalize=False), lambda layer, h: layer(h, *given), x, y
        )

    return make


def _weights(graph: Graph) -> Tensor:
    degree = graph.in_degrees().float()
    return (degree[graph.src] * degree[graph.dst]).rsqrt()


def _csr(graph: Graph, weight: Tensor) -> Tensor:
    size = (graph.num_nodes, graph.num_nodes)
    ends = torch.stack([graph.dst, graph.src])
    return torch.sparse_coo_tensor(ends, weight, size).to_sparse_csr()


def one_sum(add: Sum, x: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """A call that sums forward and backward; returns the sums and the gradient."""
    h = x.clone().requires_grad_()
    weight = torch.randn(x.shape, generator=torch.Generator().manual_seed(3))

    def call() -> tuple[Tensor, Tensor]:
        h.grad = None
        total = add(h)
        total.backward(weight)
        assert h.grad is not None
        return total.detach(), h.grad

    return call


def one_step(
    make: Callable[[int], nn.Module],
    call: Callable[[nn.Module, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
) -> Callable[[], float]:
    """A call that takes a training step; returns the loss before it."""
    width = x.shape[1]
    net = GCN(Layer(make(width), call), Layer(make(width), call), width)
    torch.manual_seed(0)
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:  # all sides alike; symmetric, so that it does not matter which way it is stored
            weight = torch.randn(parameter.shape) / width**0.5
            square = parameter.shape[0] == parameter.shape[1]
            parameter.data = (weight + weight.t()) / 2 if square else weight
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def call_once() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    return call_once


def agree(sums: dict[str, Callable], steps: dict[str, Callable]) -> None:
    """Check that all sides compute the same sums, gradients and first losses."""
    results = {name: call() for name, call in sums.items()}
    losses = {name: [call() for _ in range(3)] for name, call in steps.items()}
    first = next(iter(sums))
    for name in sums:
        torch.testing.assert_close(results[name], results[first], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(losses[name], losses[first], rtol=1e-3, atol=1e-3)


SIDES: dict[str, Make] = {
    "gtl": on_ops("dgl"),
    "gtl (torch)": on_ops("torch"),
    "dgl": dgl_layers,
    "torch csr": torch_csr,
    "index_add": index_add,
    "pyg": pyg_layers(csr=False),
    "pyg csr": pyg_layers(csr=True),
}

if __name__ == "__main__":
    main()
