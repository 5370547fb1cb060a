"""Feature columns that two domains have in common: by name, as components, with their context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.train.context_features import context_means

_DRAWS = 0  # seed of the randomized decomposition, which is part of the data and not of a run


def common_features(
    source: Dataset,
    target: Dataset,
    names: Sequence[Sequence[str]] | None,
    project: int | None,
    context: int | None = None,
) -> tuple[Dataset, Dataset]:
    """Both domains with the same node features.

    Args:
        source: Data of one domain.
        target: Data of the other.
        names: Names of the columns of both, by which those in common are kept, in the order of the
            target; ``None`` if columns are the same already.
        project: Number of leading components of both domains together, in place of the features;
            ``None`` for the features themselves.
        context: Longest walk of :func:`gtl.train.context_features.context_means`, whose means are
            appended to the features, in the same scale; ``None`` for none.

    Raises:
        ConfigError: If an option does not fit the data.
        DataError: If no name is in common, or components are wanted of different columns: those of
            each domain by itself have an order and signs of their own and are not comparable.
    """
    if names is not None:
        source, target = by_name(source, target, names)
    if project is not None:
        source, target = projected(source, target, project)
    return (source, target) if context is None else in_context(source, target, context)


def by_name(
    source: Dataset, target: Dataset, names: Sequence[Sequence[str]]
) -> tuple[Dataset, Dataset]:
    """Both domains with the columns whose names they share, in the order of the target."""
    if len(names) != 2:
        raise ConfigError(
            f"`feature_names` has {len(names)} entries, expected two: names of the columns of the "
            "source and of the target"
        )
    found = []
    for data, own, which in zip((source, target), names, ("source", "target")):
        columns = _features(data, which).shape[1]
        if len(own) != columns or len(set(own)) != len(own):
            raise ConfigError(
                f"`feature_names` of the {which} has {len(own)} names ({len(set(own))} different), "
                f"and {data.spec} has {columns} columns; give one name for each, all different"
            )
    place = [{name: i for i, name in enumerate(own)} for own in names]
    shared = [name for name in names[1] if name in place[0]]
    if not shared:
        raise DataError(
            f"{source.spec} and {target.spec} share no feature name, such as {names[0][0]!r} and "
            f"{names[1][0]!r}; give names of the same spelling, or features that both have"
        )
    for data, known in zip((source, target), place):
        index = torch.tensor([known[name] for name in shared])
        found.append(_with_features(data, _features(data, "data")[:, index]))
    return found[0], found[1]


def projected(source: Dataset, target: Dataset, count: int) -> tuple[Dataset, Dataset]:
    """Both domains on leading components of their features, found on both together.

    Components are those of the centered columns (a truncated singular value decomposition), scaled
    to a mean square of one over all of them.
    """
    one, other = _features(source, "source"), _features(target, "target")
    if one.shape[1] != other.shape[1]:
        raise DataError(
            f"`project` is {count}, but {source.spec} has {one.shape[1]} columns and {target.spec} "
            f"{other.shape[1]}: components of each domain by itself are not comparable; align "
            "columns by name first (feature_names), or give features that both have"
        )
    most = min(one.shape[1], len(one) + len(other))
    if not isinstance(count, int) or not 1 <= count <= most:
        raise ConfigError(f"`project` is {count!r}, expected a whole number from 1 to {most}")
    x = torch.cat([one, other]).float()
    with torch.random.fork_rng():
        torch.manual_seed(_DRAWS)
        left, sizes, _ = torch.pca_lowrank(x, min(count + 8, most), niter=4)
    values = (left * sizes)[:, :count]
    values = values / values.square().mean().sqrt().clamp(min=1e-12)
    parts = values.split([len(one), len(other)])
    return _with_features(source, parts[0]), _with_features(target, parts[1])


def in_context(source: Dataset, target: Dataset, steps: int) -> tuple[Dataset, Dataset]:
    """Both domains with the means of the context of each node after its own features."""
    own = [_features(data, which) for data, which in ((source, "source"), (target, "target"))]
    graphs = [data.graph for data in (source, target)]
    means = [context_means(graph, x, steps) for graph, x in zip(graphs, own) if graph is not None]
    scale = _size(own) / max(_size(means), 1e-12)
    both = [torch.cat([x, scale * mean], 1) for x, mean in zip(own, means)]
    return _with_features(source, both[0]), _with_features(target, both[1])


def _size(sides: Sequence[Tensor]) -> float:
    return float(torch.cat(list(sides)).square().mean().sqrt())


def _features(data: Dataset, which: str) -> Tensor:
    x = data.contents.node_features()
    if x is None or not x.is_floating_point():
        raise DataError(
            f"the {which} {data.spec} has no floating node features of one graph, which "
            "`feature_names`, `project` and `context` are for; leave them out"
        )
    return x


def _with_features(data: Dataset, x: Tensor) -> Dataset:
    changes: dict[str, Any] = {"graph": data.graph.replace(x=x)} if data.graph is not None else {}
    return replace(data, **changes)
