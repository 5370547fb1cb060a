"""Small graphs and the two kernels for the tests of encoders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gtl.graph import Columns, Graph, Schema, ops

SCHEMA = Schema(Columns((5, 3)), Columns((4, 2)))


def random_graph(n: int, m: int, rng: torch.Generator) -> Graph:
    """A directed graph of ``SCHEMA``, masked values, loops and repeated edges included."""
    src, dst = torch.randint(0, max(n, 1), (2, m), generator=rng)
    x = torch.stack([torch.randint(0, c + 1, (n,), generator=rng) for c in (5, 3)], 1)
    e = torch.stack([torch.randint(0, c + 1, (m,), generator=rng) for c in (4, 2)], 1)
    return Graph(src, dst, n, x=x, e=e)


@pytest.fixture
def schema() -> Schema:
    """What the graphs of this folder look like."""
    return SCHEMA


@pytest.fixture
def graphs() -> list[Graph]:
    """Five graphs, one of them empty, one a single node, one without edges."""
    rng = torch.Generator().manual_seed(0)
    return [random_graph(n, m, rng) for n, m in ((7, 13), (1, 0), (0, 0), (5, 0), (11, 23))]


@pytest.fixture(params=["torch", "dgl"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both implementations of message passing, one after the other."""
    if request.param == "dgl":
        pytest.importorskip("dgl", reason="DGL has no wheel for this Python")
    with ops.use_kernels(request.param):
        yield request.param
