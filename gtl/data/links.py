"""Link-level data sets: pairs of nodes of any graph, some of whose links are taken out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.splits import FRACTIONS, random_split
from gtl.errors import DataError, GtlWarning
from gtl.graph import Graph
from gtl.graph.pairs import draw_distinct_unjoined, without_pairs
from gtl.graph.sample import are_joined, node_pairs


def link_dataset(
    graph: Graph,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    metric: str = "rocauc",
    spec: str = "memory",
) -> Dataset:
    """Link prediction on a graph: some of its links are taken out, to be predicted.

    A link is a pair of different nodes that an edge joins, in whichever direction. Links of valid
    and test are taken out of the graph and come with as many unjoined pairs, all of them distinct
    whichever end comes first. Unjoined pairs for training are drawn in each step.

    Args:
        graph: One graph; its labels are not used.
        fractions: Share of links to train, validate and test on; see
            :func:`gtl.data.splits.random_split`.
        seed: Of the split and the unjoined pairs.
        metric: See :class:`gtl.data.Dataset`.
        spec: A name for messages and run folders.

    Raises:
        DataError: If there are fewer links than parts, or no unjoined pair is left for a part.

    Warns:
        GtlWarning: If there are fewer unjoined pairs than links to validate and test on.

    Example:
        >>> ring = torch.arange(20)
        >>> data = link_dataset(Graph(ring, (ring + 1) % 20, 20))
        >>> {part: len(items) for part, items in data.split.items()}, data.graph.num_edges
        ({'train': 16, 'valid': 4, 'test': 4}, 16)
    """
    graph = rest = graph.unlabeled()
    keys = node_pairs(graph)[0]
    links = torch.stack([keys // graph.num_nodes, keys % graph.num_nodes], 1)
    parts = {
        part: links[index] for part, index in random_split(len(links), fractions, seed).items()
    }
    counts = {part: 0 if part == "train" else len(chosen) for part, chosen in parts.items()}
    unjoined = _unjoined(graph, counts, seed, spec)
    pairs, labels, split, first = [], [], {}, 0
    for part, chosen in parts.items():
        others = unjoined[part]
        pairs += [chosen, others]
        labels += [torch.ones(len(chosen), 1), torch.zeros(len(others), 1)]
        split[part] = torch.arange(first, first + len(chosen) + len(others))
        first += len(split[part])
        if part != "train":
            rest = without_pairs(rest, chosen)
    return Dataset(
        spec,
        graph=rest,
        labels=torch.cat(labels),
        split=split,
        level="edge",
        kind="binary",
        metric=metric,
        pairs=torch.cat(pairs),
    )


def warn_of_known_links(data: Dataset) -> None:
    """Warn if links to validate or test on are edges of the graph that encoders read.

    Their messages give the answer away. It takes a search in the sorted pairs of the graph, which
    are remembered and needed by a training in any case. Sets that :func:`gtl.load` read are left
    out: their splits are published as they are (in ``ogbl-collab`` later collaborations repeat
    earlier ones).

    Warns:
        GtlWarning: With the number of such links in each part.
    """
    if data.pairs is None or data.labels is None or data.graph is None or data.options:
        return
    known = {}
    for part in ("valid", "test"):
        index = data.split.get(part, torch.empty(0, dtype=torch.int64))
        links = data.pairs[index][data.labels[index, 0] == 1]
        joined = int(are_joined(data.graph, *links.to(data.graph.device).unbind(1)).sum())
        if joined:
            known[part] = f"{joined} of {len(links)} {part} links"
    if known:
        warnings.warn(
            f"{data.spec}: {' and '.join(known.values())} are edges of the graph, whose messages "
            "give them away; take them out with gtl.graph.pairs.without_pairs, or let "
            "gtl.data.link_dataset split the graph",
            GtlWarning,
            stacklevel=3,
        )


def _unjoined(graph: Graph, counts: dict[str, int], seed: int, spec: str) -> dict[str, Tensor]:
    """Distinct unjoined pairs ``(k, 2)`` of each part; fewer where the graph has no more."""
    rng = torch.Generator().manual_seed(seed)
    wanted, found = sum(counts.values()), graph.src.new_empty(0, 2)
    pairs: dict[str, Tensor] = {}
    for part, count in counts.items():
        pairs[part] = draw_distinct_unjoined(graph, count, rng, besides=found)
        found = torch.cat([found, pairs[part]])
    if len(found) == wanted:
        return pairs
    lacking = [part for part, count in counts.items() if count and not len(pairs[part])]
    message = (
        f"{spec}: {len(found)} unjoined pairs were found for {wanted} links to validate and test "
        "on; the graph is nearly complete"
    )
    if lacking:
        raise DataError(f"{message}, and {lacking[0]!r} has none; take smaller fractions of it")
    warnings.warn(message, GtlWarning, stacklevel=3)
    return pairs
