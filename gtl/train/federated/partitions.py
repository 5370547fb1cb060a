"""Partitions of the items of a data set among clients.

Partitions by label are those of Hsu et al. 2019 (a Dirichlet distribution of each class over
clients), McMahan et al. 2017 (shards of sorted labels) and Li et al. 2022 (classes per client).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.graph.partition import partition as cut

log = logging.getLogger(__name__)
_DRAWS = 10  # of a Dirichlet partition, until no client is nearly empty
COMMUNITIES = ("louvain", "metis", "propagation")


def iid(data: Dataset, clients: int, rng: torch.Generator) -> Tensor:
    """At random, in parts that differ by one item at most."""
    client = torch.empty(len(data), dtype=torch.int64)
    client[torch.randperm(len(data), generator=rng)] = torch.arange(len(data)) % clients
    return client


def dirichlet(
    data: Dataset, clients: int, rng: torch.Generator, alpha: float = 0.5, least: int = 10
) -> Tensor:
    """Each class is divided by shares drawn from a Dirichlet distribution.

    Args:
        data: Data with one class an item; items without a label are divided at random.
        clients: Number of clients.
        rng: Generator of the draws.
        alpha: The lower, the fewer clients have most of a class; with a large one parts are alike.
        least: Items that each client should have; it is drawn again, up to ten times, until it has.
    """
    if not alpha > 0:
        raise ConfigError(f"`alpha` is {alpha}, expected a number above 0")
    classes = classes_of(data)
    least = min(least, len(data) // (2 * clients))
    best, most = torch.empty(0, dtype=torch.int64), -1
    for _ in range(_DRAWS):
        client = iid(data, clients, rng)
        for number in classes[classes >= 0].unique().tolist():
            own = (classes == number).nonzero().flatten()
            own = own[torch.randperm(len(own), generator=rng)]
            ends = (_dirichlet(alpha, clients, rng).cumsum(0)[:-1] * len(own)).long()
            client[own] = torch.bucketize(torch.arange(len(own)), ends, right=True)
        smallest = int(torch.bincount(client, minlength=clients).min())
        if smallest > most:
            best, most = client, smallest
        if smallest >= least:
            return client
    log.warning("the smallest client has %d items, fewer than %d, in ten draws", most, least)
    return best


def pathological(data: Dataset, clients: int, rng: torch.Generator, classes: int = 2) -> Tensor:
    """Each client has items of a few classes alone.

    Args:
        data: Data with one class an item; items without a label are divided at random.
        clients: Number of clients.
        rng: Generator of the draws.
        classes: Classes of each client; dealt in turn, so that every class has a client.
    """
    labels = classes_of(data)
    present = labels[labels >= 0].unique()
    if not 1 <= classes <= len(present):
        raise ConfigError(f"`classes` is {classes}, expected 1 to {len(present)}")
    if clients * classes < len(present):
        raise ConfigError(
            f"{clients} clients with {classes} `classes` each leave some of {len(present)} classes "
            "out; raise one of the two"
        )
    order = present[torch.randperm(len(present), generator=rng)].tolist()
    owners: dict[int, list[int]] = {number: [] for number in order}
    for turn in range(clients * classes):
        owners[order[turn % len(order)]].append(turn // classes)
    client = iid(data, clients, rng)
    for number, those in owners.items():
        own = (labels == number).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=rng)]
        client[own] = torch.tensor(those)[torch.arange(len(own)) % len(those)]
    return client


def shards(data: Dataset, clients: int, rng: torch.Generator, per_client: int = 2) -> Tensor:
    """Items sorted by class are cut into equal shards, which are dealt at random.

    Args:
        data: Data with one class an item; items without a label are divided at random.
        clients: Number of clients.
        rng: Generator of the draws.
        per_client: Shards of each client.
    """
    if per_client < 1:
        raise ConfigError(f"`per_client` is {per_client}, expected 1 or more")
    labels, client = classes_of(data), iid(data, clients, rng)
    known = (labels >= 0).nonzero().flatten()
    known = known[torch.argsort(labels[known], stable=True)]
    count = clients * per_client
    dealt = torch.arange(count)[torch.randperm(count, generator=rng)] % clients
    client[known] = dealt[torch.arange(len(known)) * count // max(len(known), 1)]
    return client


def number_of_ids(given: Any) -> int | None:
    """Clients that a partition by natural ids has; ``None`` for another partition."""
    if not isinstance(given, Mapping) or given.get("name") != "natural":
        return None
    return len(set(_names(given.get("ids", ()))) - {None})


def natural(
    data: Dataset,
    clients: int,
    rng: torch.Generator,
    ids: Sequence[Any] | np.ndarray | Tensor = (),
) -> Tensor:
    """By a number or name that items have, such as a hospital or a country.

    Args:
        data: The data.
        clients: Number of clients: of different ``ids``.
        rng: Not used.
        ids: One for each item; ``None`` or a negative number for no client.
    """
    given = _names(ids)
    if len(given) != len(data):
        raise ConfigError(
            f"`ids` has {len(given)} entries, expected {len(data)}: one for each item"
        )
    names = sorted(set(given) - {None}, key=lambda name: (str(type(name)), name))
    if len(names) != clients:
        raise ConfigError(f"`ids` has {len(names)} different entries; give clients={len(names)}")
    places = {name: number for number, name in enumerate(names)}
    return torch.tensor([places.get(name, -1) for name in given])


def communities(
    data: Dataset,
    clients: int,
    rng: torch.Generator,
    method: str = "louvain",
    resolution: float = 1.0,
) -> Tensor:
    """Each client has communities of the one graph.

    Args:
        data: Nodes of one graph.
        clients: Number of clients.
        rng: Generator of the draws.
        method: ``"louvain"`` (Blondel et al. 2008), whose communities are dealt, the largest first,
            each to the client with fewest nodes; or a method of :mod:`gtl.graph.partition`, which
            gives parts of nearly equal size.
        resolution: Of ``"louvain"``: the higher, the more and smaller communities.
    """
    if data.graph is None:
        raise ConfigError(
            f"`partition` is 'communities', but items of {data.spec} are graphs of their own; use "
            "'dirichlet', 'iid' or 'natural'"
        )
    if method not in COMMUNITIES:
        raise ConfigError(f"`method` is {method!r}, expected one of {COMMUNITIES}")
    if method != "louvain":
        return cut(data.graph, clients, method).cpu()
    found = _louvain(data.graph, resolution, int(torch.randint(2**31, (), generator=rng)))
    if len(found) < clients:
        raise ConfigError(
            f"{data.spec} has {len(found)} communities for {clients} clients; raise `resolution`, "
            "or use method='metis'"
        )
    client, sizes = torch.empty(len(data), dtype=torch.int64), [0] * clients
    for nodes in sorted(found, key=lambda nodes: (-len(nodes), nodes[0])):
        smallest = sizes.index(min(sizes))
        client[torch.tensor(nodes)] = smallest
        sizes[smallest] += len(nodes)
    return client


PARTITIONS: Mapping[str, Callable[..., Tensor]] = {
    "iid": iid,
    "dirichlet": dirichlet,
    "pathological": pathological,
    "shards": shards,
    "natural": natural,
    "communities": communities,
}


def classes_of(data: Dataset) -> Tensor:
    """One class for each item, int64 ``(items,)``, -1 where it is not known.

    Raises:
        ConfigError: If labels are no classes, or several columns.
    """
    labels = data.labels
    if labels is not None and not labels.is_floating_point():
        return labels
    if labels is None or data.kind != "binary" or labels.shape[1] != 1:
        raise ConfigError(
            f"{data.spec} has no single class for each item to divide by; use 'iid' or 'natural'"
        )
    return labels[:, 0].nan_to_num(-1).long()


def _names(ids: Sequence[Any] | np.ndarray | Tensor) -> list[Any]:
    """Ids as plain values; ``None`` for an item of no client."""
    given = ids.tolist() if isinstance(ids, (Tensor, np.ndarray)) else list(ids)
    given = [name.item() if isinstance(name, np.generic) else name for name in given]
    return [None if isinstance(name, (int, float)) and name < 0 else name for name in given]


def _dirichlet(alpha: float, count: int, rng: torch.Generator) -> Tensor:
    """Shares ``(count,)``; in float64, as small ``alpha`` gives numbers that float32 lacks."""
    draws = torch._standard_gamma(torch.full((count,), alpha, dtype=torch.float64), generator=rng)
    return draws / draws.sum() if draws.sum() > 0 else torch.full((count,), 1 / count).double()


def _louvain(graph: Graph, resolution: float, seed: int) -> list[list[int]]:
    import networkx as nx

    plain = nx.Graph()
    plain.add_nodes_from(range(graph.num_nodes))
    plain.add_edges_from(zip(graph.src.tolist(), graph.dst.tolist()))
    found = nx.community.louvain_communities(plain, resolution=resolution, seed=seed)
    return [sorted(nodes) for nodes in found]
