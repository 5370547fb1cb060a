"""Cache of packed graphs: raw files are parsed once and memory-mapped afterwards."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gtl.errors import DataError
from gtl.graph.pack import PackedGraphs

FORMAT = 1
T = TypeVar("T")

logger = logging.getLogger(__name__)


def cached(name: str, files: Sequence[Path], make: Callable[[], PackedGraphs]) -> PackedGraphs:
    """The graphs that ``make`` returns, cached by the state of the raw files.

    The cache is the folder ``GTL_CACHE`` (``~/.cache/gtl`` by default). A damaged file there is
    written again; where nothing can be written the data is parsed each time.

    Args:
        name: Beginning of the file name.
        files: The raw files; their names, sizes and times of change identify the data.
        make: Parses the raw files.
    """
    path = place(name, files)
    found = opened(path, lambda file: _checked(PackedGraphs.load(file)))
    if found is not None:
        return found
    graphs = make().compact()
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            graphs.save(path)
        except OSError as error:
            logger.warning("%s could not be cached in %s: %s", name, path.parent, error)
    return graphs


def place(name: str, files: Sequence[Path], *facts: str) -> Path | None:
    """Path in the cache for what was made of some files, ``None`` if there is no folder for it.

    Args:
        name: Beginning of the file name.
        files: The raw files.
        facts: Options that the result depends on.
    """
    try:
        return _folder() / f"{name}-{fingerprint(files, *facts)}.safetensors"
    except RuntimeError as error:
        logger.warning("no folder to cache %s in (%s); set GTL_CACHE", name, error)
        return None


def opened(path: Path | None, read: Callable[[Path], T]) -> T | None:
    """Result of ``read`` on a cached file, ``None`` if there is none or it is damaged."""
    if path is None or not path.is_file():
        return None
    try:
        return read(path)
    except (DataError, TypeError, IndexError) as error:
        logger.warning("%s is damaged and written again: %s", path, error)
        return None


def fingerprint(files: Sequence[Path], *facts: str) -> str:
    """A short name for the present state of some files, and for ``facts`` about their use."""
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([FORMAT, states, *facts]).encode()).hexdigest()[:16]


def _folder() -> Path:
    chosen = os.environ.get("GTL_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "gtl"


def _checked(graphs: PackedGraphs) -> PackedGraphs:
    """Refuse a file whose tensors do not belong together."""
    nodes, edges = int(graphs.node_offsets[-1]), int(graphs.edge_offsets[-1])
    lengths = {"x": nodes, "node_type": nodes, "src": edges, "dst": edges, "e": edges}
    for field, length in lengths.items():
        value = getattr(graphs, field)
        if value is not None and len(value) != length:
            raise DataError(f"`{field}` has {len(value)} rows, expected {length}")
    if len(graphs.node_offsets) != len(graphs.edge_offsets):
        raise DataError("node and edge offsets have different lengths")
    return graphs
