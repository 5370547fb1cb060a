"""Full-batch message passing on 1M edges: gtl's kernels against torch CSR, index_add, DGL and PyG.

Two measurements, forward and backward each: the sum over neighbors alone, and a training step of
a two-layer GCN. Every side computes the same numbers, which is checked before the clock starts.

    python benchmarks/message_passing.py
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

import torch
from _measure import compare, write_results
from torch import Tensor, nn

from gtl.graph import Graph, ops

Sum = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    graph = random_graph(options.nodes, options.edges, seed=0)
    x = torch.randn(graph.num_nodes, options.width, generator=torch.Generator().manual_seed(1))
    y = torch.randint(40, (graph.num_nodes,), generator=torch.Generator().manual_seed(2))
    payload: dict[str, Any] = {"nodes": graph.num_nodes, "edges": graph.num_edges}
    payload |= {"width": options.width, "skipped": []}
    sums, steps = {}, {}
    for name, make in SIDES.items():
        try:
            sums[name], steps[name] = make(graph, x, y)
        except ImportError as error:
            payload["skipped"].append(f"{name}: {error}")
    agree(sums, steps)
    for title, calls in (("sum_over_neighbors", sums), ("gcn_step", steps)):
        payload[title] = compare(calls, options.repeats)
        print(title)
        for name, seconds in payload[title]["seconds"].items():
            ratio = payload[title]["ratio"].get(name, 1.0)
            print(f"{name:>12}  {1e3 * seconds['median']:8.1f} ms  {ratio:6.2f}x")
    write_results("message_passing", payload)
    for line in payload["skipped"]:
        print(f"skipped {line}")


def random_graph(nodes: int, edges: int, seed: int) -> Graph:
    """Both directions of random pairs, with a self-loop at every node, as a GCN wants it."""
    rng = torch.Generator().manual_seed(seed)
    pairs = torch.randint(nodes, (2, (edges - nodes) // 2), generator=rng)
    src, dst = torch.cat([pairs, pairs.flip(0)], 1)
    return Graph(src, dst, nodes).with_self_loops()


class GCN(nn.Module):
    """Two layers of the graph convolution of Kipf and Welling (2017) over any neighbor sum."""

    def __init__(self, width: int, add: Sum, degree: Tensor):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, 40)
        self.add, self.scale = add, degree.float().rsqrt().unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        h = (self.scale * self.add(self.scale * self.first(x))).relu()
        return self.scale * self.add(self.scale * self.second(h))


def on_ops(kernels: str) -> Callable[[Graph, Tensor, Tensor], tuple[Callable, Callable]]:
    """gtl's own sums with the kernels of that name."""

    def make(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
        with ops.use_kernels(kernels):
            ops.sum_neighbors(graph, x[:, :1])

        def add(h: Tensor) -> Tensor:
            with ops.use_kernels(kernels):
                return ops.sum_neighbors(graph, h)

        return one_sum(add, x), one_step(GCN(x.shape[1], add, graph.in_degrees()), x, y)

    return make


def torch_csr(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """A product with a sparse CSR tensor, its derivative left to torch."""
    ones = torch.ones(graph.num_edges)
    size = (graph.num_nodes, graph.num_nodes)
    matrix = torch.sparse_coo_tensor(
        torch.stack([graph.dst, graph.src]), ones, size
    ).to_sparse_csr()
    return one_sum(matrix.matmul, x), one_step(
        GCN(x.shape[1], matrix.matmul, graph.in_degrees()), x, y
    )


def index_add(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """Gather the senders, add at the receivers."""

    def add(h: Tensor) -> Tensor:
        return torch.zeros_like(h).index_add(0, graph.dst, h.index_select(0, graph.src))

    return one_sum(add, x), one_step(GCN(x.shape[1], add, graph.in_degrees()), x, y)


def dgl_layers(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
    """DGL's update_all and its GraphConv layers."""
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl

    one = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)

    def add(h: Tensor) -> Tensor:
        with one.local_scope():
            one.srcdata["h"] = h
            one.update_all(dgl.function.copy_u("h", "m"), dgl.function.sum("m", "h"))
            return one.dstdata["h"]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            width = x.shape[1]
            self.first, self.second = dgl.nn.GraphConv(width, width), dgl.nn.GraphConv(width, 40)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(one, self.first(one, x).relu())

    return one_sum(add, x), one_step(with_same_weights(Net(), "weight", transposed=True), x, y)


def pyg_layers(csr: bool) -> Callable[[Graph, Tensor, Tensor], tuple[Callable, Callable]]:
    """PyG's GCNConv and a sum by MessagePassing, along edge numbers or a sparse CSR tensor."""

    def make(graph: Graph, x: Tensor, y: Tensor) -> tuple[Callable, Callable]:
        from torch_geometric.nn import GCNConv, SimpleConv

        edges: Tensor = torch.stack([graph.src, graph.dst])
        degree = graph.in_degrees().float()
        weight = (degree[graph.src] * degree[graph.dst]).rsqrt()
        plain: Tensor = edges
        if csr:
            size = (graph.num_nodes, graph.num_nodes)
            plain = torch.sparse_coo_tensor(edges.flip(0), torch.ones_like(weight), size)
            edges = torch.sparse_coo_tensor(edges.flip(0), weight, size).to_sparse_csr()
            plain = plain.to_sparse_csr()
        total = SimpleConv(aggr="sum")

        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                width = x.shape[1]
                self.first = GCNConv(width, width, normalize=False)
                self.second = GCNConv(width, 40, normalize=False)

            def forward(self, x: Tensor) -> Tensor:
                given = (edges,) if csr else (edges, weight)
                return self.second(self.first(x, *given).relu(), *given)

        net = with_same_weights(Net(), "lin.weight", transposed=False)
        return one_sum(lambda h: total(h, plain), x), one_step(net, x, y)

    return make


def with_same_weights(net: nn.Module, name: str, transposed: bool) -> nn.Module:
    """Copy the weights that the GCN above starts with; biases start at zero on both sides."""
    model = GCN(net.first.bias.shape[0], lambda h: h, torch.ones(1))  # type: ignore
    with torch.no_grad():
        for layer in ("first", "second"):
            weight = getattr(model, layer).weight
            net.get_parameter(f"{layer}.{name}").copy_(weight.t() if transposed else weight)
    return net


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


def one_step(net: nn.Module, x: Tensor, y: Tensor) -> Callable[[], float]:
    """A call that takes a training step; returns the loss before it."""
    for name, parameter in net.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)

    def call() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return float(loss)

    return call


def agree(sums: dict[str, Callable], steps: dict[str, Callable]) -> None:
    """Check that all sides compute the same sums, gradients and first losses."""
    results = {name: call() for name, call in sums.items()}
    losses = {name: [call() for _ in range(3)] for name, call in steps.items()}
    first = next(iter(sums))
    for name in sums:
        torch.testing.assert_close(results[name], results[first], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(losses[name], losses[first], rtol=1e-3, atol=1e-3)


SIDES = {
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
