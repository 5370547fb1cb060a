"""Data of each client of a federation: the whole, divided by a partition."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError, UnknownPartError
from gtl.suggest import nearest
from gtl.train.federated.partitions import PARTITIONS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """The data of each client.

    Attributes:
        datasets: One for each client.
        client: Client of each item of the whole, int64 ``(items,)``; -1 for none.
        cut_edges: Edges between nodes of different clients, which no client has.
        edges: Edges of the whole graph; 0 where items are graphs.
    """

    datasets: Sequence[Dataset]
    client: Tensor
    cut_edges: int = 0
    edges: int = 0


def divide(data: Dataset, given: Any, clients: int, seed: int) -> Parts:
    """Divide a data set among clients.

    Args:
        data: Graphs, or the nodes of one graph.
        given: Name of a partition, a key of :data:`PARTITIONS`, or a mapping with ``name`` and its
            options.
        clients: Number of clients.
        seed: Of what is drawn.

    Raises:
        ConfigError: If the partition does not suit the data.
        UnknownPartError: If there is none of that name or option.
    """
    if data.level not in ("node", "graph"):
        raise ConfigError(
            f"items of {data.spec} are {data.level}s, which cannot be divided among clients; use "
            "data of graphs, or of nodes"
        )
    if not isinstance(given, (str, Mapping)):
        raise ConfigError(f"`partition` is {given!r}, expected a name, or a mapping with `name`")
    options = {"name": given} if isinstance(given, str) else dict(given)
    name = options.pop("name", None)
    if name not in PARTITIONS:
        raise UnknownPartError(f"unknown partition {name!r}; {nearest(str(name), PARTITIONS)}")
    function = PARTITIONS[name]
    known = [key for key in signature(function).parameters if key not in ("data", "clients", "rng")]
    for option in options:
        if option not in known:
            hint = f"; {nearest(option, known)}" if known else ""
            raise UnknownPartError(f"the partition {name} has no option {option!r}{hint}")
        _check_number(option, options[option], signature(function).parameters[option].default)
    rng = torch.Generator().manual_seed(seed)
    client = torch.zeros(len(data), dtype=torch.int64)
    if clients > 1:
        client = function(data, clients, rng, **options)
    return parts_of(data, client, clients)


def _check_number(name: str, value: Any, default: Any) -> None:
    """Refuse an option that should be a number, as its default is, and is none."""
    if isinstance(default, (int, float)):
        kinds = int if isinstance(default, int) else (int, float)
        if not isinstance(value, kinds) or isinstance(value, bool):
            what = "a whole number" if kinds is int else "a number"
            raise ConfigError(f"`{name}` is {value!r}, expected {what}")


def parts_of(data: Dataset, client: Tensor, clients: int) -> Parts:
    """The data of each client, by the client of each item; edges between clients are dropped.

    Raises:
        DataError: If no client has a labeled training item.
    """
    of_graphs = data.graph is None
    make = _graphs_of if of_graphs else _nodes_of
    datasets = [make(data, client == number) for number in range(clients)]
    if not any(len(labeled_items(part)) for part in datasets):
        raise DataError(f"{data.spec}: no client has a labeled training item; use another split")
    if data.graph is None:
        return Parts(datasets, client)
    ends = client[data.graph.src.cpu()], client[data.graph.dst.cpu()]
    lost = int((ends[0] != ends[1]).sum())
    log.info("%d of %d edges lie between clients and are dropped", lost, data.graph.num_edges)
    return Parts(datasets, client, lost, data.graph.num_edges)


def labeled_items(data: Dataset) -> Tensor:
    """Training items with a label, int64 ``(k,)``."""
    items = data.split.get("train", torch.empty(0, dtype=torch.int64))
    if data.labels is None:
        return items[:0]
    labels = data.labels[items]
    known = (~labels.isnan()).any(1) if labels.is_floating_point() else labels >= 0
    return items[known]


def _graphs_of(data: Dataset, own: Tensor) -> Dataset:
    """The same graphs, of which the split names those of the client alone."""
    return replace(data, split={part: index[own[index]] for part, index in data.split.items()})


def _nodes_of(data: Dataset, own: Tensor) -> Dataset:
    """The graph that the nodes of a client induce."""
    assert data.graph is not None
    nodes = own.nonzero().flatten()
    place = torch.full((len(own),), -1)
    place[nodes] = torch.arange(len(nodes))
    split = {part: place[index[own[index]]] for part, index in data.split.items()}
    names = [data.names[i] for i in nodes.tolist()] if data.names else ()
    labels = None if data.labels is None else data.labels[nodes]
    if labels is not None:
        known = ~labels.isnan() if labels.is_floating_point() else labels >= 0
        labels = labels if bool(known.any()) else None
    return replace(
        data,
        graph=data.graph.subgraph(nodes.to(data.graph.device)),
        labels=labels,
        split=split,
        names=names,
        rows=None if data.rows is None else data.rows[nodes],
    )
