"""Packed files of graphs that the user has written."""

from __future__ import annotations

from pathlib import Path

from gtl.data.corpus import Corpus
from gtl.data.dataset import Dataset
from gtl.data.find import find


def load_packed(name: str, root: Path | None = None, seed: int = 0) -> Dataset:
    """Open unlabeled graphs that were packed before, memory-mapped.

    Args:
        name: A file of :meth:`gtl.graph.PackedGraphs.save`, of :class:`gtl.graph.PackedWriter` or
            of :func:`gtl.data.pack_corpus`, here or in ``root``.
        root: Where to look if it is not here.
        seed: Not used.

    Raises:
        DataError: If there is no such file, or it is another or truncated.
        ConfigError: If it is not here and no root is known.
    """
    corpus = Corpus.load(find(f"packed:{name}", root, [name], "pack it with gtl.data.pack_corpus"))
    return Dataset(f"packed:{name}", corpus.graphs, names=corpus.names)
