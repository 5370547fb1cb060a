"""Data sets of graphs, labels and splits that are in memory, whatever library they come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.foreign_fields import is_batch, library_of, node_labels, node_masks
from gtl.data.labels import Labels, read_labels
from gtl.data.links import warn_of_known_links
from gtl.data.same_molecules import molecule_groups
from gtl.data.splits import FRACTIONS, PART_NAMES, random_split
from gtl.errors import DataError
from gtl.graph import Graph, PackedGraphs, as_graph
from gtl.graph.constant import constant
from gtl.suggest import nearest

logger = logging.getLogger(__name__)


def dataset_from_graphs(
    graphs: Any,
    labels: Any = None,
    split: Mapping[str, Any] | None = None,
    *,
    kind: str = "",
    metric: str = "",
    names: Sequence[str] = (),
    class_names: Sequence[str] = (),
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
    x: str | None = None,
    e: str | None = None,
    on_invalid: str = "raise",
    spec: str = "memory",
    carried: bool = True,
) -> Dataset:
    """The data set of many graphs; see :meth:`gtl.data.Dataset.from_graphs`.

    With ``carried=False`` labels that the graphs carry are not read.
    """
    if isinstance(graphs, (str, bytes)):
        raise DataError(f"`graphs` is {graphs!r}; give a list of graphs, or a list of SMILES")
    if labels is None and carried:
        graphs, labels = _with_labels(graphs)
    packed, kept, smiles = _packed(graphs, x, e, on_invalid)
    given = len(packed) if kept is None else len(smiles)
    found = None if labels is None else read_labels(labels, given, kind, class_names, spec)
    parts = None if split is None else read_split(split, given, spec)
    if kept is not None and len(kept) < given:
        found, parts, names = _of_kept(kept, given, found, parts, names)
        smiles = [smiles[i] for i in kept.tolist()]
    groups = None
    if smiles and found is not None and parts is None:
        groups = molecule_groups(smiles, packed, spec)
    return Dataset(
        spec,
        packed,
        **_fields(found, parts, seed, fractions, groups),
        metric=metric,
        names=tuple(names) or tuple(smiles),
    )


def dataset_from_graph(
    graph: Any,
    labels: Any = None,
    split: Mapping[str, Any] | None = None,
    *,
    x: Any = None,
    e: Any = None,
    pairs: Any = None,
    kind: str = "",
    metric: str = "",
    names: Sequence[str] = (),
    class_names: Sequence[str] = (),
    seed: int = 0,
    fractions: Sequence[float] = FRACTIONS,
    mask_column: int = 0,
    spec: str = "memory",
    carried: bool = True,
) -> Dataset:
    """The data set of one graph's nodes or pairs; see :meth:`gtl.data.Dataset.from_graph`.

    With ``carried=False`` labels and masks that the graph carries are not read.
    """
    whole = _one_graph(graph, x, e)
    if pairs is None and whole.pairs is not None:
        pairs, labels = whole.pairs, whole.y if labels is None and carried else labels
    bare = whole.unlabeled().replace(sizes=None)
    if pairs is not None:
        ends = _pairs(pairs, spec)
        found = None if labels is None else read_labels(labels, len(ends), "binary", (), spec)
        parts = None if split is None else read_split(split, len(ends), spec)
        fields = _fields(found, parts, seed, fractions)
        data = Dataset(
            spec, graph=bare, level="edge", pairs=ends, metric=metric, names=tuple(names), **fields
        )
        warn_of_known_links(data)
        return data
    found, parts = None, None
    if labels is not None or carried:
        found = node_labels(graph, labels, bare.num_nodes, kind, class_names, spec)
    if split is not None:
        parts = read_split(split, bare.num_nodes, spec)
    elif carried:
        parts = node_masks(graph, bare.num_nodes, mask_column, spec) or None
    fields = _fields(found, parts, seed, fractions)
    return Dataset(spec, graph=bare, level="node", metric=metric, names=tuple(names), **fields)


def as_dataset_in_memory(data: Any) -> Dataset:
    """A data set of what is no :class:`gtl.data.Dataset` yet.

    A graph of any library becomes a node-level set, or a link-level one if it has ``pairs``; a
    batch of graphs, packed graphs and a list of graphs or SMILES become a graph-level one. Labels
    and masks that the graphs carry are read. Where they do not fit (labels of nodes in a list of
    graphs) a log line tells why they are not used, since a pre-training needs none. A tuple
    ``(graphs, labels)`` or ``(graphs, labels, split)`` is what
    :meth:`gtl.data.Dataset.from_graphs` (of one graph,
    :meth:`gtl.data.Dataset.from_graph`) takes.

    Raises:
        DataError: If nothing of the kind can be made of it.
    """
    if isinstance(data, Dataset):
        return data
    labels: Any = None
    split: Any = None
    if isinstance(data, tuple) and len(data) in (2, 3) and not _is_item(data[1]):
        data, labels, split = (*data, None)[:3]
    single = _is_graph(data) and not is_batch(data)
    make: Callable[..., Dataset] = dataset_from_graph if single else dataset_from_graphs
    if labels is not None:
        return make(data, labels, split)
    data = list(data) if isinstance(data, Iterator) else data
    try:
        return make(data, None, split)
    except DataError as error:
        found = make(data, None, split, carried=False)  # fails again if not for the labels
        logger.warning("labels that the data carries are not used: %s", error)
        return found


def read_split(split: Mapping[str, Any], items: int, spec: str = "memory") -> dict[str, Tensor]:
    """Item numbers of each part.

    Args:
        split: Item numbers, or a boolean for each item, of ``train``, ``valid`` (also called
            ``val`` or ``validation``) and ``test``.
        items: Number of items.
        spec: Name of the data set, for messages.

    Raises:
        DataError: If a part is unknown or named twice, or is neither numbers nor a mask.

    Example:
        >>> read_split({"train": [True, False, True], "val": [1]}, 3)
        {'train': tensor([0, 2]), 'valid': tensor([1])}
    """
    if not isinstance(split, Mapping):
        raise DataError(
            f"{spec}: `split` is a {type(split).__name__}, expected item numbers or masks by part, "
            "such as {'train': [0, 1], 'valid': [2], 'test': [3]}"
        )
    parts: dict[str, Tensor] = {}
    for name, value in split.items():
        if name not in PART_NAMES:
            raise DataError(f"{spec}: `split` names {name!r}; {nearest(name, PART_NAMES)}")
        part = PART_NAMES[name]
        if part in parts:
            raise DataError(f"{spec}: `split` has the part {part!r} twice, also as {name!r}")
        parts[part] = _index(value, items, f"{spec}: part {name!r} of `split`")
    return parts


# -- graphs --------------------------------------------------------------------------------------


def _packed(
    graphs: Any, x: str | None, e: str | None, on_invalid: str
) -> tuple[PackedGraphs, Tensor | None, list[str]]:
    """Packed graphs; of SMILES also the numbers of those that could be read, and all of them."""
    if isinstance(graphs, PackedGraphs):
        return graphs, None, []
    if _is_graph(graphs):
        return PackedGraphs.pack([constant(as_graph(graphs, x=x, e=e))]), None, []
    if not isinstance(graphs, Iterable):
        raise DataError(f"`graphs` is a {type(graphs).__name__}, expected a list of graphs")
    several = list(graphs)
    if not several:
        raise DataError("`graphs` is empty; give at least one graph")
    if all(isinstance(item, str) for item in several):
        from gtl.data.molecules import pack_smiles

        smiles = [str(item) for item in several]
        packed, kept = pack_smiles(smiles, on_invalid, source="`graphs`")
        return packed, kept, smiles
    found = []
    for number, item in enumerate(several):
        try:
            found.append(constant(as_graph(item, x=x, e=e)))
        except DataError as error:
            raise DataError(f"graph {number} of `graphs`: {error}") from error
    return PackedGraphs.pack(found), None, []


def _one_graph(graph: Any, x: Any, e: Any) -> Graph:
    named = {"x": x if isinstance(x, str) else None, "e": e if isinstance(e, str) else None}
    whole = as_graph(graph, **named)
    given = {"x": x, "e": e}
    rows = {
        name: _rows(value, name)
        for name, value in given.items()
        if value is not None and not isinstance(value, str)
    }
    return constant(whole.replace(**rows) if rows else whole).validate()


def _rows(values: Any, name: str) -> Tensor:
    """A matrix of features, dense."""
    if hasattr(values, "toarray"):
        values = values.toarray()
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in "biuf":
            raise DataError(f"`{name}` holds {array.dtype}, expected numbers, one row each")
        values = torch.from_numpy(np.ascontiguousarray(array))
    values = values.unsqueeze(1) if values.dim() == 1 else values
    return values.float() if values.dtype == torch.bool else values


def _is_graph(value: Any) -> bool:
    """Whether it is one graph (or one batch) of a library that :func:`gtl.as_graph` reads."""
    return isinstance(value, Graph) or library_of(value) != ""


def _is_item(value: Any) -> bool:
    return isinstance(value, (str, PackedGraphs)) or _is_graph(value)


# -- labels and splits ---------------------------------------------------------------------------


def _with_labels(graphs: Any) -> tuple[Any, Any]:
    """Graphs and the labels that they carry: pairs of both, ``y`` of PyG or of Graphs."""
    if isinstance(graphs, PackedGraphs):
        return graphs, None
    if _is_graph(graphs):
        y = getattr(graphs, "y", None)
        count = as_graph(graphs).num_graphs if y is not None else 0
        return graphs, y if y is not None and len(y) == count else None
    several = list(graphs) if isinstance(graphs, Iterable) else graphs
    if not isinstance(several, list) or not several:
        return several, None
    if all(isinstance(item, tuple) and len(item) == 2 for item in several):
        return [item[0] for item in several], [item[1] for item in several]
    found = [getattr(item, "y", None) for item in several]
    if any(y is None for y in found) or not all(map(_is_graph, several)):
        return several, None
    rows = []
    for number, y in enumerate(found):
        row = torch.as_tensor(y)
        if row.dim() and row.shape[0] != 1:
            raise DataError(
                f"graph {number} of `graphs` has {row.shape[0]} rows of `y`, expected one row for "
                "the graph; give `labels`, or of labels of nodes one graph to Dataset.from_graph"
            )
        rows.append(row.reshape(-1))
    if len({row.shape for row in rows}) > 1:
        raise DataError("graphs have different numbers of labels in `y`; give `labels`")
    return several, torch.stack(rows)


def _fields(
    found: Labels | None,
    parts: Mapping[str, Tensor] | None,
    seed: int,
    fractions: Sequence[float],
    groups: Tensor | None = None,
) -> dict[str, Any]:
    """Labels and split as arguments of :class:`gtl.data.Dataset`."""
    if found is None:
        return {"split": parts or {}}
    if parts is None:
        floating = found.values.is_floating_point()
        known = ~found.values.isnan().all(1) if floating else found.values >= 0
        items = known.nonzero().flatten()
        parts = {}
        together = None if groups is None else groups[items]
        if len(items if together is None else together.unique()) >= len(fractions):
            drawn = random_split(len(items), fractions, seed, together)
            parts = {part: items[index] for part, index in drawn.items()}
    return {
        "labels": found.values,
        "kind": found.kind,
        "class_names": found.class_names,
        "label_names": found.label_names,
        "split": parts,
    }


def _of_kept(
    kept: Tensor,
    given: int,
    found: Labels | None,
    parts: Mapping[str, Tensor] | None,
    names: Sequence[str],
) -> tuple[Labels | None, dict[str, Tensor] | None, Sequence[str]]:
    """Labels, split and names of the items that became a graph."""
    place = torch.full((given,), -1)
    place[kept] = torch.arange(len(kept))
    if found is not None:
        values = found.values[kept]
        found = Labels(values, found.kind, found.class_names, found.label_names)
    left = None
    if parts is not None:
        left = {part: place[index][place[index] >= 0] for part, index in parts.items()}
    return found, left, [names[i] for i in kept.tolist()] if len(names) else names


def _pairs(pairs: Any, spec: str) -> Tensor:
    ends = pairs if isinstance(pairs, Tensor) else torch.as_tensor(np.asarray(pairs))
    if ends.is_floating_point() or ends.dtype == torch.bool or ends.dim() != 2:
        raise DataError(
            f"{spec}: `pairs` is {ends.dtype} {tuple(ends.shape)}, expected node numbers (items, 2)"
        )
    if ends.shape[1] != 2 and ends.shape[0] == 2:
        raise DataError(
            f"{spec}: `pairs` is {tuple(ends.shape)}, expected (items, 2); transpose it"
        )
    return ends.long()


def _index(value: Any, items: int, what: str) -> Tensor:
    if hasattr(value, "to_numpy"):
        value = value.to_numpy()
    index = value.detach().cpu() if isinstance(value, Tensor) else None
    if index is None:
        array = np.asarray(value if hasattr(value, "dtype") else list(value))
        if array.size and array.dtype.kind not in "biu":
            raise DataError(f"{what} holds {array.dtype}, expected item numbers or booleans")
        index = torch.from_numpy(np.ascontiguousarray(array if array.size else array.astype(int)))
    if index.is_floating_point() or index.dim() != 1:
        raise DataError(
            f"{what} is {index.dtype} {tuple(index.shape)}, expected item numbers, or booleans for "
            f"{items} items"
        )
    if len(index) == items > 2 and bool(((index == 0) | (index == 1)).all()):
        index = index.bool()  # a mask of integers: as item numbers they would repeat
    if index.dtype == torch.bool:
        if len(index) != items:
            raise DataError(f"{what} has {len(index)} booleans for {items} items")
        return index.nonzero().flatten()
    return index.long()
