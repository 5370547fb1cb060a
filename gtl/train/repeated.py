"""Repeated divisions of labeled items, and the comparison of methods over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from gtl.checks import check_positive
from gtl.data.dataset import Dataset
from gtl.data.readers.ogb import molecule_schema
from gtl.data.same_molecules import molecule_groups
from gtl.data.splits import scaffolds, stratified_split
from gtl.errors import ConfigError, DataError, MissingDependencyError
from gtl.metrics import direction, score
from gtl.report.compare import Difference, spread

_DRAWS = 50
_FEW, _REPEATS, _REPEATS_OF_MANY = 2000, 5, 3


def repeats_of(repeats: int | None, dataset: Dataset) -> int:
    """Number of divisions; by default fewer of large data.

    Raises:
        ConfigError: If it is no positive whole number.
    """
    if repeats is None:
        count = len(dataset.items("train")) + len(dataset.items("valid"))
        return _REPEATS if count < _FEW else _REPEATS_OF_MANY
    check_positive(repeats=repeats)
    if not isinstance(repeats, int):
        raise ConfigError(f"`repeats` is {repeats}, expected a whole number")
    return repeats


def redivided(dataset: Dataset, seed: int, number: int) -> Dataset:
    """The data with training and validation items drawn anew; test items stay what they are.

    The parts keep their sizes, one column or classes keep their shares where each has enough
    items, and the metric is defined on the validation split. Molecules are drawn like the given
    parts: if these share no scaffold, whole scaffolds are drawn until the validation split has its
    size, or misses it by less than the smallest scaffold left. Copies of a molecule are in one
    part.

    Args:
        dataset: Labeled data with the splits ``train`` and ``valid``.
        seed: Of all divisions.
        number: Of this one; 0 is the given division.

    Raises:
        DataError: If the metric is undefined on every division that was drawn.
    """
    if number == 0:
        return dataset
    pool = torch.cat([dataset.items("train"), dataset.items("valid")]).sort().values
    size = len(dataset.items("valid"))
    groups = scaffold_groups(dataset)
    copies = copy_groups(dataset) if groups is None else None
    for draw in range(_DRAWS):
        own = hash_of(seed, number, draw)
        if groups is None:
            drawn = _divided(dataset, pool, size, own, copies)
        else:
            drawn = _whole_groups(groups, pool, size, own)
        split = {**dataset.split, **drawn}
        if _is_defined(dataset, split["valid"]):
            return replace(dataset, split=split)
    raise DataError(
        f"{dataset.spec}: {dataset.metric} is undefined on {_DRAWS} random validation splits of "
        f"{size} items; use another metric, more data or repeats=1"
    )


def scaffold_groups(dataset: Dataset) -> Tensor | None:
    """Number of the scaffold of each item, if training and validation items share none.

    Args:
        dataset: Labeled data with the splits ``train`` and ``valid``.

    Returns:
        Int64 ``(items,)``; ``None`` for other data than molecules and for other splits.
    """
    if dataset.level != "graph" or not dataset.names:
        return None
    try:
        names = scaffolds(dataset.names)
    except (DataError, MissingDependencyError):  # names that are no SMILES
        return None
    numbers = torch.from_numpy(np.unique(names, return_inverse=True)[1])
    train, valid = numbers[dataset.items("train")], numbers[dataset.items("valid")]
    return None if bool(torch.isin(train, valid).any()) else numbers


def copy_groups(dataset: Dataset) -> Tensor | None:
    """Number of the molecule of each item, int64 ``(items,)``; ``None`` if none is there twice."""
    graphs = dataset.graphs
    if graphs is None or not len(dataset.names) or graphs.schema != molecule_schema():
        return None
    groups = molecule_groups(dataset.names, graphs, dataset.spec)
    return groups if len(groups.unique()) < len(groups) else None


def hash_of(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence([n % 2**32 for n in numbers]).generate_state(1)[0])


def _divided(
    dataset: Dataset, pool: Tensor, size: int, seed: int, copies: Tensor | None
) -> dict[str, Tensor]:
    labels = dataset.labels
    assert labels is not None
    own = labels[pool]
    by_class = dataset.kind == "multiclass" or (dataset.kind == "binary" and own.shape[1] == 1)
    known = own.isnan().logical_not().all(1) if own.is_floating_point() else own >= 0
    if by_class and bool(known.all()):
        try:
            share = size / len(pool)
            together = None if copies is None else copies[pool]
            parts = stratified_split(own, (1 - share, share), seed, together)
            return {part: pool[parts[part]] for part in ("train", "valid")}
        except DataError:
            pass  # a class with one item
    if copies is not None:
        return _whole_groups(copies, pool, size, seed)
    order = pool[torch.randperm(len(pool), generator=torch.Generator().manual_seed(seed))]
    return {"train": order[size:].sort().values, "valid": order[:size].sort().values}


def _whole_groups(groups: Tensor, pool: Tensor, size: int, seed: int) -> dict[str, Tensor]:
    """Groups in random order until the validation split has its size.

    A group that is larger than what is left goes to the training split, if others can fill it.
    """
    rng = torch.Generator().manual_seed(seed)
    own = groups[pool]
    distinct, counts = own.unique(return_counts=True)
    chosen, left = [], size
    order = torch.randperm(len(distinct), generator=rng).tolist()
    for place in order:
        if int(counts[place]) <= left:
            chosen.append(int(distinct[place]))
            left -= int(counts[place])
    held = torch.isin(own, torch.tensor(chosen, dtype=own.dtype))
    return {"train": pool[~held], "valid": pool[held]}


def _is_defined(dataset: Dataset, items: Tensor) -> bool:
    assert dataset.labels is not None
    labels = dataset.labels[items].numpy()
    try:
        zeros = np.zeros((len(labels), dataset.num_outputs))
        score(dataset.metric, labels, zeros, dataset.contents.queries(items))
    except DataError:
        return False
    return True


def corrected(
    values: Sequence[float], reference: Sequence[float], overlap: float, level: float = 0.95
) -> Difference:
    """Mean paired difference over divisions of the same items, with its interval.

    Divisions share most of their training items, so their differences are not independent; the
    variance of the mean is ``(1 / n + overlap) std^2`` instead of ``std^2 / n`` (Nadeau and Bengio
    2003).

    Args:
        values: Of a method, one a division.
        reference: Of the other, likewise.
        overlap: Held-back items of a division by its training items.
        level: Probability that the interval covers the true mean.

    Example:
        >>> print(corrected([2.0, 3.0, 4.0], [1.0, 1.0, 1.0], 0.0).text())
        +2.000 [-0.484, +4.484]
    """
    from scipy.stats import t

    gaps = spread(a - b for a, b in zip(values, reference))
    if gaps.std is None:
        return Difference(gaps.mean, None, None, 1, None)
    error = gaps.std * math.sqrt(1 / gaps.n + overlap)
    half = error * float(t.ppf((1 + level) / 2, gaps.n - 1))
    far = abs(gaps.mean) / error if error else math.inf * bool(gaps.mean)
    p = 2 * float(t.sf(far, gaps.n - 1)) if gaps.mean else 1.0
    return Difference(gaps.mean, gaps.mean - half, gaps.mean + half, gaps.n, p)


def choose(
    valid: Mapping[str, Sequence[float]], metric: str, preferred: str, overlap: float
) -> str:
    """The method to use, by validation values alone.

    It is the one with the best mean; the preferred one instead, if that is worse by less than one
    standard error of the paired difference. Without several divisions there is no such error, and
    the best value counts.

    Args:
        valid: Values of each method, one a division.
        metric: What they are.
        preferred: Name of a method that is less at risk than others; it need not be there.
        overlap: As for :func:`corrected`.

    Example:
        >>> choose({"a": [0.8, 0.9, 0.7], "blend": [0.9, 0.7, 0.7]}, "acc", "blend", 0.2)
        'blend'
        >>> choose({"a": [0.8, 0.9, 0.7], "blend": [0.7, 0.8, 0.6]}, "acc", "blend", 0.2)
        'a'
    """
    sign = 1 if direction(metric) == "higher" else -1
    means = {name: sign * float(np.mean(values)) for name, values in valid.items()}
    best = max(means, key=lambda name: means[name])
    if preferred not in valid or best == preferred:
        return best
    gaps = spread(sign * (a - b) for a, b in zip(valid[best], valid[preferred]))
    if gaps.std is None:
        return best
    error = gaps.std * math.sqrt(1 / gaps.n + overlap)
    return preferred if gaps.mean < error else best
