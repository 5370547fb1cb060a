"""Readers of other libraries' graphs, one per library, for :func:`gtl.graph.convert.as_graph`.

No reader imports the library: its graphs bring the methods that are needed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import DataError
from gtl.graph.graph import Graph
from gtl.graph.heterogeneous import EdgesOfType, NodesOfType, join

Names = Mapping[str, str | None]
USUAL: Mapping[str, tuple[str, ...]] = {  # default names of the features
    "x": ("x", "feat"),
    "e": ("e", "edge_attr", "feat"),
    "node_type": ("node_type", "_TYPE"),
    "edge_type": ("edge_type", "_TYPE"),
    "time": ("time",),
}


def from_dgl(value: Any, names: Names) -> Graph:
    """A DGLGraph, homogeneous or not."""
    if value.is_block:
        raise DataError(
            "a DGL block has two sets of nodes; give the graph that it was sampled from"
        )
    typed = len(value.ntypes) > 1 or len(value.canonical_etypes) > 1
    node_keys, edge_keys = _keys(typed)
    nodes = [
        NodesOfType(
            value.num_nodes(name),
            _pick(value.nodes[name].data, names, node_keys),
            value.batch_num_nodes(name).long() if value.batch_size != 1 else None,
        )
        for name in value.ntypes
    ]
    edges = []
    for name in value.canonical_etypes:
        src, dst = (end.long() for end in value.edges(etype=name))
        ends = value.ntypes.index(name[0]), value.ntypes.index(name[2])
        edges.append(EdgesOfType(src, dst, _pick(value.edges[name].data, names, edge_keys), ends))
    _require_found(names, nodes, edges)
    return join(nodes, edges, typed)


def from_pyg(value: Any, names: Names) -> Graph:
    """PyG's ``Data`` or a batch of it."""
    node_keys, edge_keys = _keys(typed=False)
    store, count = value.to_dict(), int(value.num_nodes or 0)
    nodes = [NodesOfType(count, _pick(store, names, node_keys), _pyg_sizes(store, count))]
    edges = [_pyg_edges(store, names, edge_keys, (0, 0))]
    _require_found(names, nodes, edges)
    return join(nodes, edges, typed=False)


def from_pyg_hetero(value: Any, names: Names) -> Graph:
    """PyG's ``HeteroData`` or a batch of it."""
    node_keys, edge_keys = _keys(typed=True)
    kinds = list(value.node_types)
    nodes = []
    for kind in kinds:
        store = value[kind].to_dict()
        ptr = store.get("ptr")
        sizes = ptr.diff() if ptr is not None else None
        count = int(value[kind].num_nodes or 0)
        nodes.append(NodesOfType(count, _pick(store, names, node_keys), sizes))
    edges = []
    for kind in value.edge_types:
        for end in (kind[0], kind[2]):
            if end not in kinds:
                raise DataError(
                    f"edges {kind} join nodes of type {end!r}, of which nothing is known; set "
                    f"data[{end!r}].num_nodes"
                )
        ends = kinds.index(kind[0]), kinds.index(kind[2])
        edges.append(_pyg_edges(value[kind].to_dict(), names, edge_keys, ends))
    _require_found(names, nodes, edges)
    return join(nodes, edges, typed=True)


def _pyg_sizes(store: Mapping[str, Any], count: int) -> Tensor | None:
    """Nodes of each graph of a batch; ``None`` if it is no batch."""
    if store.get("ptr") is not None:
        sizes: Tensor = store["ptr"].diff()
        return sizes
    owner = store.get("batch")
    if owner is None:
        return None
    if len(owner) != count or bool((owner.diff() < 0).any()):
        raise DataError(
            "`batch` of the PyG data does not ascend over all nodes; sort the nodes, or remove "
            "`batch` to have one graph"
        )
    return torch.bincount(owner)


def _pyg_edges(
    store: Mapping[str, Any], names: Names, keys: Sequence[str], ends: tuple[int, int]
) -> EdgesOfType:
    if "edge_index" not in store and "adj_t" in store:
        raise DataError("the PyG data has `adj_t` but no `edge_index`; convert it with `.coo()`")
    index = store.get("edge_index")
    index = torch.empty(2, 0, dtype=torch.int64) if index is None else index.long()
    return EdgesOfType(index[0], index[1], _pick(store, names, keys), ends)


def from_networkx(value: Any, names: Names) -> Graph:
    """Any networkx graph; ``names`` are names of attributes."""
    number = {node: i for i, node in enumerate(value.nodes)}
    pairs, records = [], []
    for source, target, record in value.edges(data=True):
        pairs.append((number[source], number[target]))
        records.append(record)
        if not value.is_directed() and source != target:
            pairs.append((number[target], number[source]))
            records.append(record)
    ends = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    node_keys, edge_keys = _keys(typed=False)
    nodes = [NodesOfType(len(number), _columns(value.nodes(data=True), "node", names, node_keys))]
    labeled = zip(map(tuple, pairs), records)
    edges = [EdgesOfType(ends[:, 0], ends[:, 1], _columns(labeled, "edge", names, edge_keys))]
    _require_found(names, nodes, edges)
    return join(nodes, edges, typed=False)


def from_scipy(value: Any) -> Graph:
    """A sparse adjacency, from row to column; entries at one place add up, zeros are no edges."""
    if len(value.shape) != 2 or value.shape[0] != value.shape[1]:
        raise DataError(f"an adjacency must be square, this one is {tuple(value.shape)}")
    matrix = value.tocsr(copy=True)  # one order of entries, whatever the format
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    matrix = matrix.tocoo()
    src, dst = (torch.from_numpy(end.astype(np.int64)) for end in (matrix.row, matrix.col))
    one = bool((matrix.data == 1).all())
    weight = None if one else _tensor(matrix.data).to(torch.get_default_dtype()).unsqueeze(1)
    return Graph(src, dst, value.shape[0], e=weight)


# -- features by name ----------------------------------------------------------------------------


def _keys(typed: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fields to look for at nodes and at edges; a heterogeneous graph has its types already."""
    return (("x",), ("e", "time")) if typed else (("x", "node_type"), ("e", "edge_type", "time"))


def _pick(store: Mapping[str, Any], names: Names, keys: Sequence[str]) -> dict[str, Tensor | None]:
    """The tensors of one store under the names given, else under the usual ones."""
    picked: dict[str, Tensor | None] = {}
    for key in keys:
        candidates = _candidates(names, key)
        found = next((name for name in candidates if store.get(name) is not None), None)
        picked[key] = None if found is None else _formed(key, store[found])
    return picked


def _columns(
    items: Iterable[tuple[Hashable, Mapping[str, Any]]],
    what: str,
    names: Names,
    keys: Sequence[str],
) -> dict[str, Tensor | None]:
    """The same from one dictionary of attributes per node or edge."""
    rows = list(items)
    columns: dict[str, Tensor | None] = {}
    for key in keys:
        present = [name for name in _candidates(names, key) if any(name in row for _, row in rows)]
        columns[key] = _formed(key, _column(rows, what, present[0])) if present else None
    return columns


def _column(rows: list[tuple[Hashable, Mapping[str, Any]]], what: str, name: str) -> Tensor:
    for item, row in rows:
        if name not in row:
            raise DataError(f"{what} {item} has no {name!r}, others have; set it for all or none")
    try:
        return _tensor([np.asarray(row[name]) for _, row in rows])
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{name!r} of {what}s cannot become numbers, as many for each {what} ({error})"
        ) from error


def _candidates(names: Names, key: str) -> tuple[str, ...]:
    given = names[key]
    return USUAL[key] if given is None else (given,)


def _tensor(values: Any) -> Tensor:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"they are {array.dtype}")
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def _formed(key: str, value: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise DataError(f"`{key}` is of type {type(value).__name__}, expected a tensor")
    if value.layout != torch.strided:
        value = value.to_dense()
    if key in ("x", "e"):
        value = value.unsqueeze(1) if value.dim() == 1 else value
        if value.dtype == torch.bool:
            return value.to(torch.get_default_dtype())
    if value.is_floating_point() and key in ("x", "e", "time"):
        return value
    if value.is_floating_point():
        raise DataError(f"`{key}` holds {value.dtype} numbers, expected integers from 0")
    return value.long()


def _require_found(names: Names, nodes: list[NodesOfType], edges: list[EdgesOfType]) -> None:
    parts = [part.values for part in nodes] + [part.values for part in edges]
    found = {key for values in parts for key, value in values.items() if value is not None}
    for key, name in names.items():
        if name is not None and key not in found:
            raise DataError(
                f"`{key}` is {name!r}, but the graph has no field of that name; correct the name"
            )
