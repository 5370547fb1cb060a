"""Reader of published series on graphs: weekly cases, daily cases with mobility, road sensors.

Chickenpox in Hungary and Covid-19 in England come as the files of PyTorch Geometric Temporal
(Rozemberczki et al. 2021), the loop detectors of Los Angeles as those of T-GCN (Zhao et al. 2020).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtl.data.find import find
from gtl.data.readers.number_file import read_numbers
from gtl.data.series import Series, split_steps
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.pack import PackedGraphs
from gtl.suggest import nearest

FOLDER = "spatio-temporal"


def load_series(
    name: str,
    root: Path | None,
    seed: int = 0,
    *,
    fractions: Sequence[float] = (0.6, 0.2, 0.2),
    weights: bool = True,
) -> Series:
    """Read values over time and the graph, or the graph of each step.

    Loops are dropped: encoders add their own. Chickenpox cases were differenced and standardized
    by those who published them, so that their unit is a standard deviation.

    Args:
        name: ``chickenpox``, ``england_covid`` or ``los_loop``.
        root: Folder of data sets; the files lie in its folder ``spatio-temporal``, or in itself.
        seed: Not used: nothing is drawn.
        fractions: Shares of the steps that train, validate and test, in order of time.
        weights: Keep edge weights as a column of ``e``: the Gaussian kernel of the distance
            (``los_loop``), the decimal logarithm of the number of trips (``england_covid``).

    Raises:
        DataError: If the set is unknown, or a file is missing, damaged or has gaps.
        ConfigError: If no root is known, or the fractions are no shares of 1.
    """
    if name not in _READERS:
        raise DataError(f"unknown series {name!r}; {nearest(name, _READERS)}")
    place, reader = _READERS[name]
    path = find(f"series:{name}", root, (f"{FOLDER}/{place}", place), "put the file there")
    series: Series = reader(path, weights)
    return replace(series, spec=f"series:{name}", split=split_steps(len(series), fractions))


def _chickenpox(path: Path, weights: bool) -> Series:
    found = _json(path, "edges", "node_ids", "FX")
    values = _table(path, "FX", found["FX"])
    src, dst = _pairs(path, "edges", found["edges"], values.shape[1])
    names = sorted(found["node_ids"], key=found["node_ids"].get)
    graph = _without_loops(Graph(src, dst, values.shape[1]))
    return Series(
        str(path), values.unsqueeze(2), graph=graph, period=52, step="week", names=tuple(names)
    )


def _england_covid(path: Path, weights: bool) -> Series:
    found = _json(path, "edge_mapping", "y")
    values = _table(path, "y", found["y"])
    n, edges = values.shape[1], found["edge_mapping"]
    graphs = []
    for day in range(len(values)):
        key = str(day)
        if key not in edges["edge_index"] or key not in edges["edge_weight"]:
            raise DataError(f"{path} has no graph for day {day}; get it again")
        src, dst = _pairs(path, f"edges of day {day}", edges["edge_index"][key], n)
        trips = _weights(path, f"weights of day {day}", edges["edge_weight"][key])
        if len(trips) != len(src) or (len(trips) and float(trips.min()) <= 0):
            raise DataError(
                f"{path}: day {day} has {len(src)} edges and {len(trips)} weights, expected a "
                "positive weight for each edge; get it again"
            )
        e = trips.log10().unsqueeze(1) if weights else None
        graphs.append(_without_loops(Graph(src, dst, n, e=e)))
    return Series(
        str(path), values.unsqueeze(2), graphs=PackedGraphs.pack(graphs), period=7, step="day"
    )


def _los_loop(path: Path, weights: bool) -> Series:
    import pandas as pd

    try:
        found = pd.read_csv(path)
        names = tuple(found.columns)
        values = torch.from_numpy(found.to_numpy("float32", copy=True))
    except Exception as error:  # pandas raises many kinds of errors
        reason = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read ({reason}); get it again") from error
    n = values.shape[1]
    adjacency = read_numbers(path.with_name("los_adj.csv"), "float32", columns=n)
    if len(adjacency) != n:
        raise DataError(f"{path.with_name('los_adj.csv')} has {len(adjacency)} rows, expected {n}")
    src, dst = adjacency.nonzero().unbind(1)
    e = adjacency[src, dst].unsqueeze(1) if weights else None
    graph = _without_loops(Graph(src, dst, n, e=e))
    return Series(
        str(path), values.unsqueeze(2), graph=graph, period=288, step="5 minutes", names=names
    )


_READERS: dict[str, tuple[str, Callable[[Path, bool], Series]]] = {
    "chickenpox": ("chickenpox.json", _chickenpox),
    "england_covid": ("england_covid.json", _england_covid),
    "los_loop": ("los_loop/los_speed.csv", _los_loop),
}


def _json(path: Path, *keys: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({error}); get it again") from error
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise DataError(f"{path} has no {key!r}; get it again")
    return found


def _table(path: Path, name: str, rows: Any) -> Tensor:
    """Values float32 ``(T, n)``; a gap in the file is refused."""
    try:
        values = torch.tensor(rows, dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path}: {name!r} is no table of numbers without gaps ({error}); get it again"
        ) from error
    if values.dim() != 2 or not values.numel():
        raise DataError(
            f"{path}: {name!r} has shape {tuple(values.shape)}, expected (steps, nodes)"
        )
    return values


def _pairs(path: Path, name: str, edges: Any, n: int) -> tuple[Tensor, Tensor]:
    """Both ends of the edges, int64 ``(m,)`` each."""
    try:
        pairs = torch.tensor(edges) if edges != [] else torch.empty(0, 2, dtype=torch.int64)
    except (ValueError, TypeError, RuntimeError):
        pairs = torch.empty(0)
    if pairs.dtype != torch.int64 or pairs.dim() != 2 or pairs.shape[1] != 2:
        raise DataError(
            f"{path}: {name} are no pairs of node numbers such as [[0, 1], [1, 2]]; get it again"
        )
    if len(pairs) and (int(pairs.min()) < 0 or int(pairs.max()) >= n):
        raise DataError(f"{path}: {name} name nodes outside 0..{n - 1}; get it again")
    src, dst = pairs.unbind(1)
    return src, dst


def _weights(path: Path, name: str, weights: Any) -> Tensor:
    """Weights float32 ``(m,)``."""
    try:
        found = torch.tensor(weights, dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {name} are no numbers ({error}); get it again") from error
    if found.dim() != 1:
        raise DataError(f"{path}: {name} are no numbers in a row; get it again")
    return found


def _without_loops(graph: Graph) -> Graph:
    return graph.drop_edges(graph.src == graph.dst)
