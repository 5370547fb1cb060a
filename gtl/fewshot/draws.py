"""Random splits of few-shot comparisons: novel classes, training samples and queries.

Base and novel classes follow Hariharan & Girshick 2017: base classes keep all their training
samples, novel ones have a few; queries of both are held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError
from gtl.fewshot.features import Samples


@dataclass(frozen=True)
class Draw:
    """One split.

    Attributes:
        novel: Which classes are novel, boolean ``(c,)``; all are in the k-shot protocol.
        pools: Samples of each class that may train, in random order; the first ``k`` are its shots.
        queries: Query samples, int64 ``(q,)``.
    """

    novel: Tensor
    pools: tuple[Tensor, ...]
    queries: Tensor


def draw(
    samples: Samples,
    shots: int,
    queries: float | None,
    novel: Any,
    rng: torch.Generator,
) -> Draw:
    """Draw novel classes, training samples and queries.

    Args:
        samples: All of them.
        shots: The most that a novel class gets.
        queries: Query samples: a share of each class below 1, or a number per
            class; ``None`` means the split of the data or, without one, half.
        novel: ``None`` if all classes are novel; else a share of the classes, their numbers or
            names, or a function of ``rng`` that chooses numbers.
        rng: Generator for all choices.

    Raises:
        DataError: If a class has too few samples, or no query is of a novel class.
        ConfigError: If ``queries`` or ``novel`` is outside its range.
    """
    chosen = _novel(samples, novel, rng)
    members = _by_class(samples, rng)
    if queries is None and samples.train is not None and samples.test is not None:
        pools = tuple(index[samples.train[index]] for index in members)
        held_out = torch.cat([index[samples.test[index]] for index in members])
    else:
        share = 0.5 if queries is None else queries
        counts = [_held_out(len(index), share) for index in members]
        pools = tuple(index[count:] for index, count in zip(members, counts))
        held_out = torch.cat([index[:count] for index, count in zip(members, counts)])
    for number, pool in enumerate(pools):
        least = shots if bool(chosen[number]) else 1
        if len(pool) < least:
            raise DataError(
                f"{samples.named(number)} has {len(pool)} samples to train of "
                f"{len(members[number])}, {least} are needed; use fewer shots or queries, or "
                "leave the class out"
            )
    if not bool(chosen[samples.labels[held_out]].any()):
        raise DataError("no query is of a novel class; give `queries` another share")
    return Draw(chosen, pools, held_out)


def _novel(samples: Samples, novel: Any, rng: torch.Generator) -> Tensor:
    c = samples.num_classes
    if c < 2:
        raise DataError("all samples are of one class; few_shot needs two classes or more")
    mask = torch.zeros(c, dtype=torch.bool)
    if novel is None:
        return ~mask
    if isinstance(novel, (int, float)):
        if not 0 < novel < 1:
            raise ConfigError(
                f"`novel` is {novel}, expected a share of the classes between 0 and 1, or a list "
                "of classes"
            )
        mask[torch.randperm(c, generator=rng)[: max(2, round(novel * c))]] = True
    else:
        chosen = novel(rng) if callable(novel) else novel
        mask[_numbers(samples, chosen)] = True
    if int(mask.sum()) < 2 or bool(mask.all()):
        raise ConfigError(
            f"{int(mask.sum())} of {c} classes are novel, expected at least 2 and not all"
        )
    return mask


def _numbers(samples: Samples, classes: Sequence[Any] | Tensor) -> list[int]:
    given = classes.tolist() if isinstance(classes, Tensor) else list(classes)
    numbers = []
    for one in given:
        number = samples.names.index(one) if one in samples.names else one
        if (
            isinstance(number, (bool, np.bool_, str, float))
            or not 0 <= number < samples.num_classes
        ):
            raise ConfigError(
                f"`novel` names {one!r}, expected names of classes or numbers from 0 to "
                f"{samples.num_classes - 1}"
            )
        numbers.append(int(number))
    return numbers


def _by_class(samples: Samples, rng: torch.Generator) -> list[Tensor]:
    """Samples of each class, int64, in random order."""
    order = torch.randperm(len(samples.labels), generator=rng)
    order = order[samples.labels[order].argsort(stable=True)]
    return list(order.split(torch.bincount(samples.labels, minlength=samples.num_classes).tolist()))


def _held_out(size: int, queries: float) -> int:
    """Number of query samples of a class, ``size`` at most."""
    if isinstance(queries, bool) or not queries > 0 or (queries >= 1 and queries != int(queries)):
        raise ConfigError(
            f"`queries` is {queries}, expected a share of each class between 0 and 1, or a whole "
            "number of samples"
        )
    return min(size, max(1, round(queries * size))) if queries < 1 else min(size, int(queries))
