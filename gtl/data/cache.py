"""Packed graphs are kept beside nothing of the user's: raw files are parsed once, then mapped."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from gtl.errors import DataError
from gtl.graph.pack import PackedGraphs

FORMAT = 1

logger = logging.getLogger(__name__)


def cached(name: str, files: Sequence[Path], make: Callable[[], PackedGraphs]) -> PackedGraphs:
    """What ``make`` returns, or what it returned before for the same files.

    Kept in the folder ``GTL_CACHE`` (``~/.cache/gtl`` by default). A broken file there is made
    again; where nothing can be written the data is only parsed again each time.

    Args:
        name: Beginning of the file name.
        files: The raw files; another name, size or time of change means other data.
        make: Parses the raw files.
    """
    try:
        path = _folder() / f"{name}-{fingerprint(files)}.safetensors"
    except RuntimeError as error:
        logger.warning("no folder to keep %s in (%s); set GTL_CACHE", name, error)
        return make()
    if path.is_file():
        try:
            return _checked(PackedGraphs.load(path))
        except (DataError, TypeError, IndexError) as error:
            logger.warning("%s is broken and made again: %s", path, error)
    graphs = make().compact()
    try:
        _write(graphs, path)
    except Exception as error:  # safetensors has an exception of its own for a full disk
        logger.warning("%s could not be kept in %s: %s", name, path.parent, error)
    return graphs


def fingerprint(files: Sequence[Path]) -> str:
    """A short name for the present state of some files."""
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([FORMAT, states]).encode()).hexdigest()[:16]


def _folder() -> Path:
    chosen = os.environ.get("GTL_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "gtl"


def _write(graphs: PackedGraphs, path: Path) -> None:
    """All or nothing, also when several processes write at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        graphs.save(Path(place) / path.name)
        os.replace(Path(place) / path.name, path)


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
