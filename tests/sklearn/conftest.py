"""A small encoder of molecules, and a few of these."""

from __future__ import annotations

import pytest
import torch

from gtl.data.readers.ogb import molecule_schema
from gtl.encoders.gin import GIN

ALCOHOLS = ["C" * n + "O" for n in range(1, 11)]
ACIDS = ["C" * n + "C(=O)O" for n in range(1, 11)]


@pytest.fixture
def encoder() -> GIN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return GIN(molecule_schema(), width=8, depth=2).eval()


@pytest.fixture
def molecules() -> list[str]:
    pytest.importorskip("rdkit", reason="needs RDKit")
    return ALCOHOLS + ACIDS
