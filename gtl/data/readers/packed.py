"""Packed files of graphs that the user has written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gtl.data.corpus import Corpus
from gtl.data.dataset import Dataset
from gtl.data.find import find
from gtl.data.properties import with_properties


def load_packed(
    name: str,
    root: Path | None = None,
    seed: int = 0,
    *,
    properties: Sequence[str] | str = (),
    workers: int = 1,
) -> Dataset:
    """Open unlabeled graphs that were packed before, memory-mapped.

    Args:
        name: A file of :meth:`gtl.graph.PackedGraphs.save`, of :class:`gtl.graph.PackedWriter` or
            of :func:`gtl.data.pack_corpus`, here or in ``root``.
        root: Where to look if it is not here.
        seed: Not used.
        properties: Keys of :data:`gtl.data.properties.PROPERTIES`, computed for packed molecules.
        workers: Processes that compute properties.

    Raises:
        DataError: If there is no such file, or it is another or truncated.
        ConfigError: If it is not here and no root is known.
    """
    corpus = Corpus.load(find(f"packed:{name}", root, [name], "pack it with gtl.data.pack_corpus"))
    data = Dataset(f"packed:{name}", corpus.graphs, names=corpus.names)
    return with_properties(data, properties, workers)
