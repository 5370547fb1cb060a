"""Small graphs that the tests of the tasks share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from gtl.graph import Graph


def undirected(nodes: int, pairs: list[tuple[int, int]], **fields: object) -> Graph:
    """A graph with both directions of each pair, all forward ones first."""
    ends = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    both = torch.cat([ends, ends.flip(1)])
    return Graph(both[:, 0].contiguous(), both[:, 1].contiguous(), nodes, **fields)  # type: ignore[arg-type]


@pytest.fixture
def make_graph() -> Callable[..., Graph]:
    return undirected


@pytest.fixture
def path() -> Callable[..., Graph]:
    """``path(n)``: nodes 0 - 1 - ... - n-1."""
    return lambda n, **fields: undirected(n, [(i, i + 1) for i in range(n - 1)], **fields)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)
