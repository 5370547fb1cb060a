"""How long does it take to embed molecules from SMILES, against computing RDKit's descriptors?

Both sides read the same SMILES with two processes where that is wanted and start from the text: one
makes graphs and vectors of the encoder that comes with gtl, the other the 217 descriptors.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from _measure import compare, write_results

import gtl
from gtl.data.properties import compute
from gtl.data.workers import in_order

MOLECULES = 1000
CHUNK = 250


def vectors(file: Path, workers: int) -> None:
    """Read the file and embed its molecules."""
    data = gtl.load(f"smiles:{file}", split=None, workers=workers)
    gtl.embed("molecules", data, readout=["mean", "sum", "max"], batch_size=256)


def descriptors(smiles: list[str], workers: int) -> None:
    """All descriptors of the molecules."""
    chunks = [smiles[i : i + CHUNK] for i in range(0, len(smiles), CHUNK)]
    for _ in in_order(partial(compute, name="descriptors"), chunks, workers):
        pass


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="processes that read molecules")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.workers)
    names = list(gtl.load("demo:chembl").names)[:MOLECULES]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "molecules.smi"
        file.write_text("\n".join(names) + "\n")
        sides: dict[str, Callable[[], None]] = {
            "vectors": partial(vectors, file, options.workers),
            "descriptors": partial(descriptors, names, options.workers),
        }
        found = compare(sides, repeats=options.repeats)
    rate = {name: round(len(names) / value["median"]) for name, value in found["seconds"].items()}
    payload = {"molecules": len(names), "workers": options.workers, "per_second": rate, **found}
    print(payload)
    write_results("molecule_embedding", payload)


if __name__ == "__main__":
    main()
