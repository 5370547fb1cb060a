"""Functional groups of molecules, from OGB's categories of atoms and bonds."""

from __future__ import annotations

import torch
from torch import Tensor

from gtl.graph import Graph, Schema, ops

ATOM_CATEGORIES = (119, 5, 12, 12, 10, 6, 6, 2, 2)
BOND_CATEGORIES = (5, 6, 2)
GROUPS = (
    "carbonyl",
    "carboxyl",
    "ester",
    "amide",
    "hydroxyl",
    "ether",
    "amine",
    "nitrile",
    "nitro",
    "sulfonyl",
    "sulfide",
    "halogen",
    "aromatic",
    "aromatic nitrogen",
    "charge",
)
_SINGLE, _DOUBLE, _TRIPLE = 0, 1, 2


def is_molecular(schema: Schema) -> bool:
    """Whether graphs of this schema are molecules with OGB's features."""
    node, edge = schema.node, schema.edge
    return (
        node is not None
        and edge is not None
        and node.categories == ATOM_CATEGORIES
        and edge.categories == BOND_CATEGORIES
    )


def functional_groups(graph: Graph) -> Tensor:
    """Whether each atom is the center of each of ``GROUPS``.

    The center of a carbonyl, carboxyl, ester, amide or nitrile is its carbon; of a hydroxyl or
    ether its oxygen; of the others the atom that they are named after.

    Args:
        graph: Molecules with OGB's nine atom and three bond columns.

    Returns:
        Boolean ``(n, len(GROUPS))``.
    """
    assert graph.x is not None and graph.e is not None
    number, charge, hydrogens = graph.x[:, 0] + 1, graph.x[:, 3] - 5, graph.x[:, 4]
    aromatic = graph.x[:, 7] == 1
    carbon, nitrogen, oxygen, sulfur = (number == z for z in (6, 7, 8, 16))
    plain = ~aromatic & (charge == 0)
    atoms = torch.stack(
        [
            carbon,
            nitrogen,
            oxygen & (hydrogens == 0) & (charge == 0),
            oxygen & (hydrogens == 0) & (charge < 0),
            oxygen & (hydrogens > 0),
            oxygen,
        ],
        1,
    )
    single, double, triple = (_bonded(graph, atoms, kind) for kind in (_SINGLE, _DOUBLE, _TRIPLE))
    unsaturated = _any_bond(graph, (_DOUBLE, _TRIPLE))
    carbonyl = carbon & (double[:, 5] > 0)
    oxo = double[:, 5] > 0
    near = _bonded(graph, torch.stack([oxo, carbonyl], 1), _SINGLE)
    bridge = oxygen & plain & (hydrogens == 0) & (single[:, 0] == 2)
    groups = {
        "carbonyl": carbonyl,
        "carboxyl": carbonyl & (single[:, 3] + single[:, 4] > 0),
        "ester": carbonyl & (_bonded(graph, bridge.unsqueeze(1), _SINGLE)[:, 0] > 0),
        "amide": carbonyl & (single[:, 1] > 0),
        "hydroxyl": oxygen & (hydrogens > 0) & (single[:, 0] > 0),
        "ether": bridge & (near[:, 1] == 0),
        "amine": nitrogen & plain & ~unsaturated & (near[:, 0] == 0),
        "nitrile": carbon & (triple[:, 1] > 0),
        "nitro": nitrogen & (charge > 0) & (double[:, 5] > 0) & (single[:, 3] > 0),
        "sulfonyl": sulfur & (double[:, 5] > 1),
        "sulfide": sulfur & plain & ~unsaturated,
        "halogen": (number == 9) | (number == 17) | (number == 35) | (number == 53),
        "aromatic": aromatic,
        "aromatic nitrogen": aromatic & nitrogen,
        "charge": charge != 0,
    }
    return torch.stack([groups[name] for name in GROUPS], 1)


def _bonded(graph: Graph, atoms: Tensor, kind: int) -> Tensor:
    """How many atoms of each sort ``(n, k)`` each atom is joined to by a bond of this kind."""
    assert graph.e is not None
    here = (graph.e[:, 0] == kind).unsqueeze(1)
    return ops.sum_edges(graph, (atoms[graph.src] & here).float())


def _any_bond(graph: Graph, kinds: tuple[int, ...]) -> Tensor:
    assert graph.e is not None
    here = torch.isin(graph.e[:, 0], torch.tensor(kinds, device=graph.device))
    return ops.sum_edges(graph, here.float().unsqueeze(1))[:, 0] > 0
