"""KGTN with 6,000 categories: messages along edges against products with the dense adjacency.

A step is what KGTN adds to training a classifier: weights of all categories propagated twice, the
scores of 1,000 classes among them, cross-entropy, and the derivative. The propagation alone is the
same two sums over neighbors, there and back, and their derivative, without gates. Both sides have
the same parameters and compute the same numbers, which is checked before the clock starts. Memory
is the rise of the resident memory during one propagation in a fresh process, by number of edges.

    OMP_NUM_THREADS=1 python benchmarks/kgtn_dense.py
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import torch
from _measure import compare, peak_memory, write_results
from torch import Tensor, nn

from gtl.data import CategoryGraph
from gtl.graph import ops
from gtl.heads import KGTN

BATCH = 256
SIBLINGS = (10, 25, 50, 100)  # categories below one parent: how many edges there are


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--categories", type=int, default=6000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--siblings", type=int, default=25)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    memory = [memory_of(options.categories, options.width, each) for each in SIBLINGS]
    categories = hierarchy(options.categories, options.siblings)
    result: dict[str, Any] = {
        **{name: getattr(options, name) for name in ("categories", "classes", "width")},
        "edges": len(categories.src),
    }
    for title, sides in (
        ("step", steps(categories, options.classes, options.width)),
        ("propagation", propagations(categories, options.width)),
    ):
        agree(sides)
        result[title] = compare(sides, options.repeats)
        print(f"{title}, {options.categories} categories, {result['edges']} edges")
        for name, seconds in result[title]["seconds"].items():
            ratio = result[title]["ratio"].get(name, 1.0)
            print(f"{name:>8}  {1e3 * seconds['median']:8.1f} ms  {ratio:6.1f}x", flush=True)
    result["memory"] = memory
    for line in memory:
        sizes = ", ".join(f"{side} {line[side] / 2**20:.0f} MiB" for side in ("sparse", "dense"))
        print(f"memory of a propagation along {line['edges']} edges: {sizes}", flush=True)
    write_results("kgtn_dense", result)


def hierarchy(categories: int, siblings: int) -> CategoryGraph:
    """Categories in groups under one parent each: every one hears its siblings."""
    return CategoryGraph.from_paths([f"/{i // siblings}/{i}" for i in range(categories)], 0.5, 2)


def steps(categories: CategoryGraph, classes: int, width: int) -> dict[str, Callable]:
    """A training step without the optimizer, on each side."""
    head = KGTN(width, categories.num_classes, graphs=categories.graph())
    torch.manual_seed(0)
    for parameter in head.parameters():  # gates that begin at zero would hide a wrong product
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    matrix = categories.dense().float()
    back = matrix.T.contiguous()
    x, y = torch.randn(BATCH, width), torch.randint(classes, (BATCH,))

    def step(weights: Callable[[], Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            head.zero_grad()
            loss = nn.functional.cross_entropy(x @ weights()[:classes].T, y)
            loss.backward()
            return torch.cat([p.grad.flatten() for p in head.parameters()] + [loss.view(1)])

        return call

    return {
        "sparse": step(lambda: head.class_weights()[0]),
        "dense": step(lambda: dense_weights(head, matrix, back)),
    }


def dense_weights(head: KGTN, matrix: Tensor, back: Tensor) -> Tensor:
    """The weights that the head computes, with matrices in the place of its graph."""
    (part,), h = head.parts, head.weight
    for _ in range(part.steps):
        a = torch.cat([matrix @ h, back @ h], 1)
        update, reset = torch.sigmoid(part.update(a, h)), torch.sigmoid(part.reset(a, h))
        h = (1 - update) * h + update * torch.tanh(part.change(a, reset * h))
    return head.weight + part.output(torch.cat([h, head.weight], 1))


def propagations(categories: CategoryGraph, width: int) -> dict[str, Callable]:
    """What both sides do with the graph in one step of KGTN, and its derivative."""
    rng = torch.Generator().manual_seed(0)
    h = torch.randn(categories.num_classes, width, generator=rng).requires_grad_()
    pull = torch.randn(categories.num_classes, 2 * width, generator=rng)
    matrix = categories.dense().float()
    back = matrix.T.contiguous()
    return {
        "sparse": along_edges(categories, h, pull),
        "dense": backward_of(lambda: torch.cat([matrix @ h, back @ h], 1), h, pull),
    }


def along_edges(categories: CategoryGraph, h: Tensor, pull: Tensor) -> Callable[[], Tensor]:
    graph = categories.graph()
    ways = graph, graph.reverse()
    weight = categories.weight.float()
    return backward_of(
        lambda: torch.cat([ops.weighted_sum_neighbors(way, h, weight) for way in ways], 1), h, pull
    )


def backward_of(call: Callable[[], Tensor], h: Tensor, pull: Tensor) -> Callable[[], Tensor]:
    def both() -> Tensor:
        h.grad = None
        out = call()
        out.backward(pull)
        assert h.grad is not None
        return torch.cat([out.detach().flatten(), h.grad.flatten()])

    return both


def agree(sides: dict[str, Callable]) -> None:
    """Check that both sides compute the same."""
    one, two = (call() for call in sides.values())
    torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-4)


def memory_of(categories: int, width: int, siblings: int) -> dict[str, int]:
    """Bytes that a first propagation takes, its index of edges included, by side."""
    rises = {}
    for side in ("sparse", "dense"):  # a process each: what one freed, the next would use
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
            edges, rises[side] = fresh.submit(_rise, side, categories, width, siblings).result()
    return {"edges": edges, **rises}


def _rise(side: str, categories: int, width: int, siblings: int) -> tuple[int, int]:
    def one(graph: CategoryGraph) -> None:
        h = torch.randn(graph.num_classes, width).requires_grad_()
        pull = torch.randn(graph.num_classes, 2 * width)
        if side == "sparse":
            along_edges(graph, h, pull)()
        else:
            matrix = graph.dense().float()
            backward_of(lambda: torch.cat([matrix @ h, matrix.T @ h], 1), h, pull)()

    graph = hierarchy(categories, siblings)
    one(hierarchy(7, 2))  # kernels are loaded
    return len(graph.src), peak_memory(lambda: one(graph))


if __name__ == "__main__":
    main()
