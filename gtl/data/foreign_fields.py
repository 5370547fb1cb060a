"""Labels and masks of nodes that graphs of other libraries carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.labels import Labels, read_labels
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.suggest import nearest

LABEL_FIELDS = ("y", "label", "labels")
MASKS = {"train": "train_mask", "valid": "val_mask", "test": "test_mask"}
_MARKS = {
    "dgl": "canonical_etypes",
    "torch_geometric": "edge_attrs",
    "networkx": "is_multigraph",
    "scipy": "tocoo",
}
Stores = dict[str, tuple[int, Mapping[str, Any]]]  # type -> number of nodes and their fields


def library_of(graph: Any) -> str:
    """The library of a graph: ``"dgl"``, ``"torch_geometric"``, ``"networkx"`` or ``"scipy"``.

    The empty string for anything else. The library is not imported.
    """
    homes = {cls.__module__.partition(".")[0] for cls in type(graph).__mro__}
    for library, mark in _MARKS.items():
        if library in homes and hasattr(graph, mark):
            return library
    return ""


def is_batch(value: Any) -> bool:
    """Whether it is a batch of several graphs of a library that :func:`gtl.as_graph` reads."""
    if isinstance(value, Graph):
        return value.sizes is not None and value.pairs is None
    library = library_of(value)
    if library == "dgl":
        return bool(value.batch_size != 1)
    if library != "torch_geometric":
        return False
    marks = ("ptr",) if hasattr(value, "node_types") else ("ptr", "batch")
    stores = [store.to_dict() for store in value.node_stores]
    return any(store.get(mark) is not None for store in stores for mark in marks)


def node_fields(graph: Any) -> Stores:
    """Number of nodes and fields of each type of nodes, in the order in which they are numbered.

    Args:
        graph: A DGLGraph, PyG ``Data`` or ``HeteroData``, or networkx graph; anything else has no
            fields.
    """
    library = library_of(graph)
    if library == "dgl":
        return {name: (graph.num_nodes(name), graph.nodes[name].data) for name in graph.ntypes}
    if library == "torch_geometric" and hasattr(graph, "node_types"):  # HeteroData
        stores = ((name, graph[name]) for name in graph.node_types)
        return {name: (int(store.num_nodes or 0), store.to_dict()) for name, store in stores}
    if library == "torch_geometric":
        return {"": (int(graph.num_nodes or 0), graph.to_dict())}
    if library == "networkx":
        return {"": (graph.number_of_nodes(), _Attributes(graph))}
    return {}


class _Attributes(Mapping[str, Any]):
    """Attributes of the nodes of a networkx graph, one list per name."""

    def __init__(self, graph: Any) -> None:
        self._rows = [record for _, record in graph.nodes(data=True)]

    def __getitem__(self, name: str) -> list[Any]:
        if not any(name in row for row in self._rows):
            raise KeyError(name)
        return [row.get(name) for row in self._rows]

    def __iter__(self) -> Any:
        return iter(dict.fromkeys(name for row in self._rows for name in row))

    def __len__(self) -> int:
        return len({name for row in self._rows for name in row})


def node_labels(
    graph: Any, labels: Any, count: int, kind: str, class_names: Sequence[str], spec: str
) -> Labels | None:
    """Labels of all nodes of a graph; missing for nodes of types without labels.

    Args:
        graph: What the user gave.
        labels: Rows of labels, the name of the field which holds them, a mapping of one node type
            to its labels, or ``None`` for the field ``y``, ``label`` or ``labels`` (of networkx
            ``y`` only), if there is one.
        count: Number of nodes.
        kind: See :func:`gtl.data.labels.read_labels`.
        class_names: Likewise.
        spec: Likewise.

    Raises:
        DataError: If there is no such field, several types have it, it does not fit, or the graph
            is a batch of heterogeneous ones.
    """
    stores = node_fields(graph)
    if isinstance(graph, Graph):
        return _labels_of_graph(graph, labels, kind, class_names, spec)
    if isinstance(labels, str):
        chosen = {name: values[labels] for name, (_, values) in stores.items() if labels in values}
        if not chosen:
            known = [key for _, values in stores.values() for key in values]
            raise DataError(f"{spec}: nodes have no field {labels!r}; {nearest(labels, known)}")
    elif isinstance(labels, Mapping):
        chosen = dict(labels)
    elif labels is None:
        usual = LABEL_FIELDS[:1] if library_of(graph) == "networkx" else LABEL_FIELDS
        chosen = {
            name: next(values[key] for key in usual if key in values)
            for name, (_, values) in stores.items()
            if any(key in values and values[key] is not None for key in usual)
        }
        if not chosen:
            return None
    else:
        return read_labels(labels, count, kind, class_names, spec)
    _refuse_typed_batch(graph, stores, spec)
    (name,) = _only_type(chosen, stores, spec)
    rows, first = stores[name][0], _first(stores, name)
    if len(chosen[name]) != rows:
        raise DataError(
            f"{spec}: the graph has {len(chosen[name])} labels for {rows} nodes; labels of whole "
            "graphs go with a list of graphs, to Dataset.from_graphs"
        )
    found = read_labels(chosen[name], rows, kind, class_names, spec)
    return Labels(
        _padded(found.values, first, count), found.kind, found.class_names, found.label_names
    )


def node_masks(graph: Any, count: int, column: int, spec: str) -> dict[str, Tensor]:
    """Node numbers of the parts which ``train_mask``, ``val_mask`` and ``test_mask`` name.

    Args:
        graph: What the user gave.
        count: Number of nodes.
        column: Column of two-dimensional masks, one split each.
        spec: Name of the data set, for messages.

    Raises:
        DataError: If a mask is no mask of the nodes, has no such column, or is of a batch of
            heterogeneous graphs.
    """
    stores = node_fields(graph)
    split: dict[str, Tensor] = {}
    for part, key in MASKS.items():
        for name, (rows, values) in stores.items():
            if key not in values or values[key] is None:
                continue
            _refuse_typed_batch(graph, stores, spec)
            mask = _mask(values[key], rows, column, f"{spec}: `{key}`")
            split[part] = mask.nonzero().flatten() + _first(stores, name)
    return split


def _labels_of_graph(
    graph: Graph, labels: Any, kind: str, class_names: Sequence[str], spec: str
) -> Labels | None:
    if labels is not None:
        return read_labels(labels, graph.num_nodes, kind, class_names, spec)
    if graph.y is None or graph.seeds is None:
        return None
    found = read_labels(graph.y, len(graph.seeds), kind, class_names, spec)
    missing = -1 if found.kind == "multiclass" else torch.nan
    values = found.values.new_full((graph.num_nodes, *found.values.shape[1:]), missing)
    values[graph.seeds] = found.values
    return Labels(values, found.kind, found.class_names, found.label_names)


def _refuse_typed_batch(graph: Any, stores: Stores, spec: str) -> None:
    if len(stores) > 1 and is_batch(graph):
        raise DataError(
            f"{spec}: labels and masks by node type are not read from a batch of heterogeneous "
            "graphs, whose nodes are numbered graph by graph; give one graph, or `labels` and "
            "`split` by the numbers of gtl.as_graph"
        )


def _only_type(chosen: Mapping[str, Any], stores: Stores, spec: str) -> list[str]:
    for name in chosen:
        if name not in stores:
            raise DataError(f"{spec}: there is no node type {name!r}; {nearest(name, stores)}")
    if len(chosen) > 1:
        raise DataError(
            f"{spec}: nodes of {len(chosen)} types have labels ({', '.join(chosen)}); choose one "
            f"type with labels={{{next(iter(chosen))!r}: ...}}"
        )
    return list(chosen)


def _first(stores: Stores, name: str) -> int:
    names = list(stores)
    return sum(stores[other][0] for other in names[: names.index(name)])


def _padded(values: Tensor, first: int, count: int) -> Tensor:
    """Values of some rows among all, missing elsewhere."""
    if len(values) == count:
        return values
    whole = values.new_full(
        (count, *values.shape[1:]), torch.nan if values.is_floating_point() else -1
    )
    whole[first : first + len(values)] = values
    return whole


def _mask(value: Any, rows: int, column: int, what: str) -> Tensor:
    mask = torch.as_tensor(np.asarray(value.cpu() if isinstance(value, Tensor) else value))
    if mask.dim() == 2:
        if not 0 <= column < mask.shape[1]:
            raise DataError(
                f"{what} has {mask.shape[1]} columns, there is no column {column}; choose "
                f"`mask_column` in 0..{mask.shape[1] - 1}"
            )
        mask = mask[:, column]
    if mask.shape != (rows,) or not bool(((mask == 0) | (mask == 1)).all()):
        raise DataError(
            f"{what} is {mask.dtype} {tuple(mask.shape)}, expected a boolean for each of {rows} "
            "nodes"
        )
    return mask.bool()
