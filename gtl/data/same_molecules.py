"""Groups of items that are one molecule, however its SMILES is written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gtl.data.atom_marks import without_marks
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs

ROUNDS = 3  # of refinement: what still looks alike is compared by its SMILES
CHUNK = 5000  # graphs at a time
_FACTORS = (-49064778989728563, -4265267296055464877)  # odd, of MurmurHash3's finalizer
_ATOM = (0, 2, 3, 4)  # element, degree, charge, hydrogens: what no order of the atoms changes


logger = logging.getLogger(__name__)


def molecule_groups(smiles: Sequence[str], graphs: PackedGraphs, source: str = "SMILES") -> Tensor:
    """Number of the molecule of each item: items with the same canonical SMILES have the same.

    Atom map numbers do not count; isotopes and stereochemistry do. A canonical SMILES takes RDKit
    longer than the rest of loading, so it is made only for molecules that a hash of their graphs
    (Weisfeiler and Leman 1968) cannot tell apart.

    Args:
        smiles: One per item.
        graphs: Their graphs, with the features of :mod:`gtl.data.molecules`.
        source: Where they come from, for the log line on how many repeat a molecule.

    Returns:
        Int64 ``(items,)``: the number of the first item with the same molecule.

    Example:
        >>> from gtl.data.molecules import pack_smiles
        >>> texts = ["CCO", "C", "OCC"]
        >>> molecule_groups(texts, pack_smiles(texts)[0]).tolist()
        [0, 1, 0]
    """
    groups = _groups(smiles, graphs)
    copies = len(groups) - len(groups.unique())
    if copies:
        logger.info(
            "%s: %d of %d items repeat a molecule and are in the same part of the split as it",
            source,
            copies,
            len(groups),
        )
    return groups


def warn_of_copies(
    smiles: Sequence[str], graphs: PackedGraphs, split: Mapping[str, Tensor], source: str
) -> None:
    """Warn of molecules that a given split has in several parts: there, test items are known.

    Args:
        smiles: One per item.
        graphs: Their graphs, as for :func:`molecule_groups`.
        split: Items of each part.
        source: Where they come from.
    """
    groups = _groups(smiles, graphs)
    if len(groups.unique()) == len(groups):
        return
    parts = [groups[index].unique() for index in split.values()]
    _, counts = torch.cat(parts).unique(return_counts=True)
    shared = int((counts > 1).sum())
    if shared:
        logger.warning(
            "%s: %d molecules are in several parts of the split, so results on them say little; "
            "take copies out of the file, or split otherwise",
            source,
            shared,
        )


def _groups(smiles: Sequence[str], graphs: PackedGraphs) -> Tensor:
    index = torch.arange(len(graphs))
    hashes = torch.cat([_hashes(graphs.batch(part)) for part in index.split(CHUNK)])
    _, alike, counts = hashes.unique(return_inverse=True, return_counts=True)
    groups = index.clone()
    first: dict[str, int] = {}
    for i in (counts[alike] > 1).nonzero().flatten().tolist():
        groups[i] = first.setdefault(_canonical(smiles[i]), i)
    return groups


def _canonical(smiles: str) -> str:
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        return smiles if molecule is None else Chem.MolToSmiles(without_marks(molecule))


def _hashes(graph: Graph) -> Tensor:
    """A number per graph, the same whatever the order of its atoms, int64 ``(g,)``."""
    assert graph.x is not None and graph.e is not None
    node = torch.zeros(graph.num_nodes, dtype=torch.int64)
    for column in _ATOM:
        node = _mixed(node * 31 + graph.x[:, column].long())
    bond = graph.e[:, 0].long() + 1
    for _ in range(ROUNDS):
        sent = _mixed(node[graph.src] * 31 + bond)
        node = _mixed(node * 31 + torch.zeros_like(node).index_add(0, graph.dst, sent))
    sizes = graph.graph_sizes()
    owner = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
    return torch.zeros(len(sizes), dtype=torch.int64).index_add(0, owner, node)


def _mixed(number: Tensor) -> Tensor:
    """Scatter the bits of integers; multiplication wraps around."""
    for factor in _FACTORS:
        number = (number ^ (number >> 33)) * factor
    return number ^ (number >> 33)
