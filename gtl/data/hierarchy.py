"""Distances between near classes of a hierarchy, without a matrix of all pairs.

A hierarchy is a table of child and parent (WordNet's hypernyms) or a path per class. A class may
have several parents, and be above another one.
"""

from __future__ import annotations

import graphlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError
from gtl.suggest import nearest

Pairs = Sequence[tuple[str, str]]
_LISTED = 5  # names that a message shows


def near_classes(
    classes: Sequence[str], pairs: Pairs, max_distance: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of classes that a common ancestor joins over few enough steps.

    A class is its own ancestor at height 0. The distance is the least sum of the heights over an
    ancestor of both. Memory goes with the pairs that are found.

    Args:
        classes: Names of ``c`` classes, each once.
        pairs: Child and parent of each link.
        max_distance: Largest distance to report, at least 1.

    Returns:
        First and second class of each pair, ``first < second``, and their distance, int64
        ``(p,)`` each, ordered by pair.

    Raises:
        ConfigError: If ``max_distance`` is below 1.
        DataError: If a class repeats or has no place in the hierarchy, or links form a cycle.
    """
    if max_distance < 1:
        raise ConfigError(f"`max_distance` is {max_distance}, expected at least 1")
    parents = _parents(pairs)
    _check(classes, parents)
    members: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, name in enumerate(classes):
        for ancestor, height in _heights(name, parents, max_distance).items():
            members[ancestor][height].append(number)
    found = [np.empty((3, 0), dtype=np.int64)]
    for by_height in members.values():
        found += _joined(by_height, max_distance)
    first, second, distance = _least(np.concatenate(found, 1))
    return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(distance)


def pairs_of_paths(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of classes and their links to what is above them, up to a common root.

    Example:
        >>> pairs_of_paths(["/a/b", "/a/c/"])
        (['/a/b', '/a/c'], [('/a', ''), ('/a/b', '/a'), ('/a/c', '/a')])
    """
    names: list[str] = []
    links: set[tuple[str, str]] = set()
    for path in paths:
        steps = [step for step in path.split("/") if step]
        prefixes = ["".join(f"/{step}" for step in steps[:i]) for i in range(len(steps) + 1)]
        names.append(prefixes[-1])
        links.update(zip(prefixes[1:], prefixes[:-1]))
    return names, sorted(links)


def read_paths(file: str | Path, numbers: str = "class_id", paths: str = "path") -> list[str]:
    """The path of each class, in the order of their numbers, from a table between tabs.

    Args:
        file: A table with a header.
        numbers: Column of class numbers, 0, 1, ...
        paths: Column of paths such as ``/Operating_Systems/Distributed``.

    Raises:
        DataError: If the file or a column is missing, or the numbers have gaps or repeats.
    """
    table = _columns(file, (numbers, paths))
    try:
        known = {int(number): path for number, path in table}
    except ValueError as error:
        raise DataError(f"{file}: column {numbers!r} has {error}") from error
    if sorted(known) != list(range(len(table))):
        raise DataError(f"{file}: column {numbers!r} must be 0 to {len(table) - 1}, each once")
    return [known[i] for i in range(len(table))]


def read_hypernyms(
    classes: str | Path, edges: str | Path, name: str = "wnid"
) -> tuple[list[str], list[tuple[str, str]]]:
    """Classes and links of a hierarchy in two tables between tabs, as those of WordNet.

    Args:
        classes: A table of classes in their order.
        edges: A table with the columns ``child`` and ``parent``.
        name: Column of the classes' names.

    Raises:
        DataError: If a file or a column is missing.
    """
    links = _columns(edges, ("child", "parent"))
    return [row[0] for row in _columns(classes, (name,))], [(row[0], row[1]) for row in links]


def _columns(file: str | Path, names: Sequence[str]) -> list[list[str]]:
    path = Path(file).expanduser()
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path")
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text in UTF-8 ({error}); convert it") from error
    header, *rows = [line.split("\t") for line in lines if line] or [[]]
    for name in names:
        if name not in header:
            raise DataError(f"{path} has no column {name!r}; {nearest(name, header)}")
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise DataError(
                f"{path}: item {number} has {len(row)} cells, expected {len(header)}, between tabs"
            )
    return [[row[header.index(name)] for name in names] for row in rows]


def _parents(pairs: Pairs) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {}
    for child, parent in pairs:
        parents.setdefault(child, []).append(parent)
        parents.setdefault(parent, [])
    return parents


def _check(classes: Sequence[str], parents: dict[str, list[str]]) -> None:
    if len(set(classes)) != len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        raise DataError(f"the class {twice!r} is named twice; each must be named once")
    missing = [name for name in classes if name not in parents]
    if missing:
        shown = ", ".join(missing[:_LISTED])
        raise DataError(
            f"{len(missing)} of {len(classes)} classes are in no pair of child and parent "
            f"({shown}); add their parents"
        )
    try:
        graphlib.TopologicalSorter(parents).prepare()
    except graphlib.CycleError as error:
        cycle = " -> ".join(map(str, error.args[1][:_LISTED]))
        raise DataError(f"the hierarchy has a cycle ({cycle}); remove one of its links") from error


def _heights(name: str, parents: dict[str, list[str]], most: int) -> dict[str, int]:
    """Fewest steps up to each ancestor that is at most ``most`` steps above."""
    heights, level = {name: 0}, [name]
    for height in range(1, most + 1):
        above = {parent for child in level for parent in parents[child]} - heights.keys()
        level = sorted(above)
        heights.update(dict.fromkeys(level, height))
    return heights


def _joined(by_height: dict[int, list[int]], most: int) -> list[np.ndarray]:
    """First, second and distance ``(3, p)`` of the pairs that one ancestor joins."""
    found = []
    for low, few in by_height.items():
        for high, many in by_height.items():
            if low <= high and low + high <= most:
                a, b = np.repeat(few, len(many)), np.tile(many, len(few))
                other = a < b if low == high else a != b
                a, b = a[other], b[other]
                found.append(
                    np.stack([np.minimum(a, b), np.maximum(a, b), np.full_like(a, low + high)])
                )
    return found


def _least(found: np.ndarray) -> np.ndarray:
    """Each pair once, with its least distance."""
    found = found[:, np.lexsort(found[::-1])]
    new = np.ones(found.shape[1], dtype=bool)
    new[1:] = (found[:2, 1:] != found[:2, :-1]).any(0)
    return found[:, new].copy()
