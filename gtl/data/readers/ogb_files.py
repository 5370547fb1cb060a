"""Reader of OGB's raw CSV files as tensors, checked for shape and range."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.cache import cached
from gtl.data.readers.matrices import undirected
from gtl.errors import DataError
from gtl.graph import Graph, Schema
from gtl.graph.pack import PackedGraphs

if TYPE_CHECKING:
    import pandas as pd


def read_graph(name: str, facts: Mapping[str, str], folder: Path, both_ways: bool) -> Graph:
    """The one graph of a node or link set.

    Args:
        name: OGB's name of it.
        facts: Entry in OGB's list.
        folder: Its folder.
        both_ways: Add the opposite of every edge where OGB does not, each edge once, without
            loops.

    Raises:
        DataError: If files are missing, damaged or do not belong together.
    """
    files = {file: folder / "raw" / f"{file}.csv.gz" for file in _graph_files(facts)}
    require_files(name, list(files.values()))
    inverse = facts["add_inverse_edge"] == "True"
    graph = cached(name, list(files.values()), lambda: _read_graph(files, inverse))[0]
    if both_ways and not inverse:
        src, dst = undirected(graph.src, graph.dst, graph.num_nodes)
        graph = graph.replace(src=src, dst=dst)
    return graph


def read_edges(folder: Path) -> Tensor:
    """The rows of ``raw/edge.csv.gz``, int64 ``(m, 2)``."""
    return torch.from_numpy(read(folder / "raw" / "edge.csv.gz", "int32")).long()


def read_split(folder: Path) -> dict[str, Tensor]:
    """Item numbers of train, valid and test."""
    return {
        part: torch.from_numpy(read(folder / f"{part}.csv.gz", "int64")[:, 0])
        for part in ("train", "valid", "test")
    }


def read(file: Path, dtype: str, blank_is_missing: bool = False) -> np.ndarray:
    """The numbers of a CSV file without a header.

    Args:
        file: A ``.csv.gz`` file.
        dtype: NumPy dtype of the result.
        blank_is_missing: Whether a blank line is a row with a missing value, as among labels;
            otherwise it is nothing.

    Raises:
        DataError: If it is damaged or holds anything else.
    """
    frame = read_frame(file, dtype=dtype, header=None, skip_blank_lines=not blank_is_missing)
    return frame.to_numpy(copy=True)


def read_frame(file: Path, **how: Any) -> pd.DataFrame:
    """A CSV file, read by pandas with the options ``how``.

    Raises:
        DataError: If it is damaged.
    """
    import pandas as pd

    try:
        return pd.read_csv(file, **how)
    except Exception as error:  # a damaged archive fails in many ways
        reason = " ".join(str(error).split())
        raise DataError(f"{file} cannot be read ({reason}); copy the data set again") from error


def require_files(name: str, files: list[Path]) -> None:
    """Refuse an incomplete folder.

    Raises:
        DataError: Naming the first missing file.
    """
    for file in files:
        if not file.is_file():
            raise DataError(f"ogb:{name}: {file} is missing; copy the data set again")


def require_shape(file: Path, values: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a file that does not go with the others.

    Raises:
        DataError: With both shapes.
    """
    if tuple(values.shape) != shape:
        raise DataError(
            f"{file} has shape {tuple(values.shape)}, expected {shape} from the numbers of "
            "nodes and edges; copy the data set again"
        )


def require_range(file: Path, values: Tensor, limits: Tensor) -> None:
    """Refuse values that are negative or not below ``limits``.

    Raises:
        DataError: Naming the first one.
    """
    bad = ((values < 0) | (values >= limits)).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        limit = int(limits.expand_as(values)[row, column])
        raise DataError(
            f"{file} row {row + 1}, column {column + 1}, is {int(values[row, column])}, expected "
            f"0..{limit - 1}; copy the data set again"
        )


def there_and_back(edges: Tensor) -> Tensor:
    """Each edge followed by its opposite, ``(2m, 2)`` of ``(m, 2)``, as OGB orders them."""
    return torch.stack([edges, edges.flip(1)], 1).flatten(0, 1)


def offsets(counts: Tensor) -> Tensor:
    """Where each of several groups starts, and the total."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _graph_files(facts: Mapping[str, str]) -> list[str]:
    """Names of the raw files that make the graph; ``edge_weight`` stands where features would."""
    files = ["num-node-list", "num-edge-list", "edge"]
    files += ["node-feat"] if facts["has_node_attr"] == "True" else []
    files += ["edge-feat"] if facts["has_edge_attr"] == "True" else []
    more = facts["additional edge files"].split(",")
    return files + [file for file in ("edge_weight", "edge_year") if file in more]


def _read_graph(files: Mapping[str, Path], inverse: bool) -> PackedGraphs:
    dtypes = {"num-node-list": "int64", "num-edge-list": "int64", "edge": "int32"}
    dtypes["edge_year"] = "int64"
    found = {
        name: torch.from_numpy(read(file, dtypes.get(name, "float32")))
        for name, file in files.items()
    }
    nodes, edges = found.pop("num-node-list"), found["edge"]
    require_shape(files["num-node-list"], nodes, (1, 1))
    n, m = int(nodes), int(found.pop("num-edge-list").sum())
    for name, values in found.items():
        rows, columns = n if name == "node-feat" else m, values.shape[1]
        require_shape(files[name], values, (rows, 2 if name == "edge" else columns))
    require_range(files["edge"], edges, torch.tensor(n))
    e = found.get("edge-feat", found.get("edge_weight"))
    time = found["edge_year"][:, 0] if "edge_year" in found else None
    if inverse:
        edges = there_and_back(edges)
        e = None if e is None else e.repeat_interleave(2, 0)
        time = None if time is None else time.repeat_interleave(2)
    src, dst = edges.long().t().contiguous()
    graph = Graph(src, dst, n, found.get("node-feat"), e, time=time)
    return PackedGraphs.pack([graph], Schema.of(graph))
