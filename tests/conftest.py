"""Fixtures shared by all tests: where the data lies, and small graphs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from gtl.data.dataset import Dataset
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data sets; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("GTL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the folder of data sets is not here; set GTL_DATA to it")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of reference numbers."""
    folder = Path(os.environ.get("GTL_GOLDEN", ROOT.parent / "shared" / "golden"))
    if not folder.is_dir():
        pytest.skip("the folder of reference numbers is not here; set GTL_GOLDEN to it")
    return folder


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from one seed and caches nothing outside its own folder."""
    torch.manual_seed(0)
    monkeypatch.setenv("GTL_CACHE", str(tmp_path / "cache"))


def cycles_and_paths(count: int = 60, seed: int = 0) -> Dataset:
    """Small labeled graphs: cycles (1) and paths (0) with random categorical features."""
    rng = torch.Generator().manual_seed(seed)
    graphs = []
    for i in range(count):
        n = int(torch.randint(3, 8, (), generator=rng))
        src = torch.arange(n if i % 2 else n - 1)
        dst = (src + 1) % n
        x = torch.stack(
            [torch.randint(5, (n,), generator=rng), torch.randint(3, (n,), generator=rng)], 1
        )
        e = torch.randint(4, (len(src), 1), generator=rng)
        graphs.append(Graph(torch.cat([src, dst]), torch.cat([dst, src]), n, x, torch.cat([e, e])))
    schema = Schema(Columns((5, 3)), Columns((4,)))
    labels = torch.arange(count).remainder(2).float().unsqueeze(1)
    order = torch.randperm(count, generator=rng)
    cut, end = count // 2, 3 * count // 4
    split = {"train": order[:cut], "valid": order[cut:end], "test": order[end:]}
    return Dataset("test:shapes", PackedGraphs.pack(graphs, schema), labels=labels, split=split)


@pytest.fixture
def shapes() -> Dataset:
    """Sixty small labeled graphs."""
    return cycles_and_paths()


@pytest.fixture
def communities() -> Dataset:
    """One graph of 60 nodes in three groups, float features, node labels."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    same = labels[:, None] == labels[None, :]
    draw = torch.rand(60, 60, generator=rng)
    upper = torch.triu((draw < torch.where(same, 0.25, 0.02)), diagonal=1).nonzero()
    src, dst = torch.cat([upper, upper.flip(1)]).unbind(1)
    x = torch.randn(60, 7, generator=rng) + 0.3 * labels[:, None]
    order = torch.randperm(60, generator=rng)
    split = {"train": order[:15], "valid": order[15:35], "test": order[35:]}
    graph = Graph(src.contiguous(), dst.contiguous(), 60, x)
    return Dataset("test:communities", graph=graph, labels=labels, split=split, level="node")
