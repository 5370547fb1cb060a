"""Loops on graphs, labels and splits as they are in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gtl
from gtl import Graph

TINY = {"name": "gin", "width": 8, "depth": 1}


def path(n: int, **fields) -> Graph:
    nodes = torch.arange(n - 1)
    ends = torch.cat([nodes, nodes + 1]), torch.cat([nodes + 1, nodes])
    return Graph(*ends, n, x=torch.ones(n, 2, dtype=torch.float16), **fields)


def test_fine_tuning_takes_a_list_of_graphs_with_numpy_labels_and_masks():
    graphs, labels = [path(n + 2) for n in range(12)], np.arange(12) % 2
    split = {"train": np.arange(12) < 8, "val": np.arange(8, 10), "test": [10, 11]}
    model = gtl.finetune(TINY, (graphs, labels, split), epochs=1, auxiliary=[])
    assert gtl.predict(model, graphs[:3], split="all").shape == (3, 1)
    scores = gtl.evaluate(model, (graphs, labels), split="all")
    assert 0 <= scores["rocauc"] <= 1


def test_fine_tuning_takes_data_of_pyg_with_masks():
    data = pytest.importorskip("torch_geometric.data", reason="PyG is not installed")
    nodes = torch.arange(9)
    graph = data.Data(
        x=torch.ones(9, 2),
        edge_index=torch.stack([nodes, (nodes + 1) % 9]),
        y=nodes % 3,
        train_mask=nodes < 3,
        val_mask=(nodes >= 3) & (nodes < 6),
        test_mask=nodes >= 6,
    )
    model = gtl.finetune({**TINY, "name": "gcn"}, graph, epochs=1, auxiliary=[])
    assert gtl.predict(model, graph, split="all").shape == (9, 3)


def test_smiles_with_words_as_labels_are_a_data_set():
    pytest.importorskip("rdkit")
    smiles, labels = ["CCO", "CC", "CCN", "C", "CCC", "CO"], ["wet", "dry"] * 3
    split = {"train": [0, 1, 2, 3], "test": [4, 5]}
    model = gtl.finetune(TINY, (smiles, labels, split), epochs=1, auxiliary=[])
    assert gtl.predict(model, ["CCO", "CCCl"], split="all").shape == (2, 1)
    assert set(gtl.evaluate(model, (smiles, labels), split="all"))
