"""Motif: what counts as there, for graphs and for nodes, and the loss by hand."""

from __future__ import annotations

from math import log

import pytest
import torch

from gtl.data.readers.ogb import molecule_schema
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import Motif
from gtl.tasks.self_supervised.functional_groups import GROUPS
from gtl.testing import Example, check_task


def ready(schema: Schema | None = None, width: int = 2, **options: int) -> Motif:
    task = Motif(**options)
    task.setup(schema or Schema(), width)
    return task.double()


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(Motif())
    check_task(Motif(max_degree=2), [Example(molecule_schema())])


def test_nodes_of_one_graph_are_labeled_by_hand(make_graph, rng) -> None:
    # A square 0 1 2 3, a triangle 2 3 4, and a tail 4 5.
    graph = make_graph(6, [(0, 1), (1, 2), (2, 3), (3, 0), (2, 4), (3, 4), (4, 5)])
    view = ready().view(Batch(graph), rng)
    assert view.graph is graph
    assert view.targets["motifs"].int().tolist() == [
        [0, 1, 0, 0, 0, 1, 0, 0],  # rings of 3, 4, 5, 6; 1, 2, 3, 4 neighbors
        [0, 1, 0, 0, 0, 1, 0, 0],
        [1, 1, 0, 0, 0, 0, 1, 0],
        [1, 1, 0, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 0, 0, 0],
    ]


def test_a_graph_has_what_any_of_its_nodes_has(make_graph, path, rng) -> None:
    five = make_graph(5, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)])
    star = make_graph(6, [(0, i) for i in range(1, 6)])
    batch = Graph.batch([path(3), path(0), five, path(1), star])
    view = ready().view(Batch(batch), rng)
    assert view.targets["motifs"].int().tolist() == [
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 1],
    ]
    assert view.targets["sizes"].tolist() == [3, 5, 1, 6]


def test_molecules_have_functional_groups(rng) -> None:
    pytest.importorskip("rdkit", reason="needs RDKit")
    from gtl.data.readers.smiles import pack_smiles

    graphs = pack_smiles(["CC(=O)Oc1ccccc1C(=O)O", "CCO"])[0]
    batch = graphs.batch(torch.arange(2))
    view = ready(molecule_schema()).view(Batch(batch), rng)
    rings, groups = view.targets["motifs"].bool().split([4, len(GROUPS)], 1)
    assert rings.int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    names = [{name for name, here in zip(GROUPS, row) if here} for row in groups.tolist()]
    assert names == [{"carbonyl", "carboxyl", "ester", "hydroxyl", "aromatic"}, {"hydroxyl"}]


def test_the_loss_is_the_mean_cross_entropy_of_the_motifs(path) -> None:
    task = ready()
    assert task.classifier is not None
    with torch.no_grad():
        task.classifier.weight.zero_()
        task.classifier.bias.fill_(log(3))  # probability 3/4
    motifs = torch.tensor([[1.0] * 8, [1.0] * 2 + [0.0] * 6])
    losses = task.losses(torch.ones(2, 2, dtype=torch.float64), View(path(2), {"motifs": motifs}))
    expected = [log(4 / 3), (2 * log(4 / 3) + 6 * log(4)) / 8]
    torch.testing.assert_close(losses, torch.tensor(expected, dtype=torch.float64))


def test_motifs_are_found_once(path, rng) -> None:
    graph, task = path(5), ready()
    again = task.view(Batch(graph.replace(seeds=torch.tensor([0]))), rng).targets["motifs"]
    assert task.view(Batch(graph), rng).targets["motifs"] is again


def test_wrong_options_and_other_data_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`max_degree` is 0"):
        Motif(max_degree=0)
    with pytest.raises(ConfigError, match="Motif was built for node features of no columns"):
        ready().setup(molecule_schema(), 2)
    task = Motif()
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        task.losses(torch.zeros(3, 2), task.view(Batch(path(3)), rng))
