"""A small encoder that has been somewhere, and a graph for it."""

from __future__ import annotations

import pytest
import torch

from gtl.encoders import GIN
from gtl.testing import MOLECULES, Example


@pytest.fixture
def graph():
    return Example(MOLECULES).graph([5, 0, 7, 1]).replace(y=None)


@pytest.fixture
def encoder(graph):
    torch.manual_seed(3)
    encoder = GIN(MOLECULES, width=6, depth=3, dropout=0.3)
    encoder(graph)  # its batch norms have seen something
    return encoder
