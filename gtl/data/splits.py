"""Splits into train, valid and test: random, by class, by scaffold (Hu et al. 2020), few labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gtl.errors import ConfigError, DataError
from gtl.optional import needs

PARTS = ("train", "valid", "test")
PART_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}  # what files and users call the parts
FRACTIONS = (0.8, 0.1, 0.1)


def random_split(
    items: int,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    groups: Tensor | None = None,
) -> dict[str, Tensor]:
    """Shuffle and cut.

    Args:
        items: How many there are.
        fractions: Share of ``train``, ``valid`` and, if there are three, ``test``; they sum to 1.
            Every part gets at least one item.
        seed: The same seed gives the same split.
        groups: Number of the group of each item, int64 ``(items,)``: a group stays together, and
            the fractions are those of groups. Groups of one item change nothing.

    Returns:
        Sorted item numbers, int64, of each part; together they are all items.

    Raises:
        DataError: If there are fewer items, or groups, than parts.
        ConfigError: If the fractions are no such shares.

    Example:
        >>> {part: len(index) for part, index in random_split(20).items()}
        {'train': 16, 'valid': 2, 'test': 2}
    """
    _check_fractions(fractions)
    order = torch.randperm(items, generator=torch.Generator().manual_seed(seed))
    if groups is not None:
        order = order[_first_of_each(groups[order])]
    count = len(order)
    if count < len(fractions):
        what = f"{items} items" if count == items else f"{count} distinct items (of {items})"
        raise DataError(
            f"{what} cannot be split into {len(fractions)} parts; give more data, or a split of "
            "your own"
        )
    rest = [max(1, round(count * share)) for share in fractions[1:]]
    while sum(rest) >= count:
        rest[rest.index(max(rest))] -= 1
    pieces = order.split([count - sum(rest), *rest])
    split = {part: piece.sort().values for part, piece in zip(PARTS, pieces)}
    return split if groups is None else _with_all(split, groups, torch.arange(items))


def stratified_split(
    labels: Tensor,
    fractions: Sequence[float] = FRACTIONS,
    seed: int = 0,
    groups: Tensor | None = None,
) -> dict[str, Tensor]:
    """Shuffle and cut so that each part has its share of every class.

    Args:
        labels: Classes int64 ``(items,)``, -1 for missing, or float ``(items, 1)`` with NaN; items
            without a label are in no part.
        fractions: As for :func:`random_split`.
        seed: The same seed gives the same split.
        groups: As for :func:`random_split`; the first labeled item gives the class of a group.

    Returns:
        Sorted item numbers, int64, of each part.

    Raises:
        DataError: If a class has too few items to be in every part.
        ConfigError: If the fractions are no such shares.
    """
    from sklearn.model_selection import train_test_split

    _check_fractions(fractions)
    classes = _classes(labels)
    known = (classes >= 0).nonzero().flatten()
    left = known if groups is None else known[_first_of_each(groups[known])]
    pieces: list[Tensor] = []
    try:
        for count in [max(1, round(len(left) * share)) for share in fractions[:0:-1]]:
            kept, taken = train_test_split(
                left.numpy(), test_size=count, random_state=seed % 2**32, stratify=classes[left]
            )
            left = torch.from_numpy(kept)
            pieces.insert(0, torch.from_numpy(taken))
    except ValueError as error:  # too few of a class, or of all
        raise DataError(
            f"{len(classes)} items cannot be split by class into {len(fractions)} parts ({error}); "
            "give more data, or other fractions"
        ) from error
    split = {part: piece.sort().values for part, piece in zip(PARTS, [left, *pieces])}
    return split if groups is None else _with_all(split, groups, known)


def fold_split(
    labels: Tensor, folds: int, fold: int, seed: int = 0, groups: Tensor | None = None
) -> dict[str, Tensor]:
    """One turn of a cross-validation, each fold with its share of every class.

    Fold ``fold`` tests, the next one validates, the others train. The folds come from
    scikit-learn's ``StratifiedKFold``, shuffled by ``seed``, as in GIN's code (Xu et al. 2019).

    Args:
        labels: As for :func:`stratified_split`.
        folds: How many, at least 3.
        fold: Which one tests, from 0.
        seed: The same seed gives the same folds, whatever ``fold`` is.
        groups: As for :func:`stratified_split`.

    Returns:
        Sorted item numbers, int64, of each part.

    Raises:
        DataError: If a class has fewer items than there are folds.
        ConfigError: If there are too few folds, or no such fold.
    """
    from sklearn.model_selection import StratifiedKFold

    if folds < 3 or not 0 <= fold < folds:
        raise ConfigError(
            f"`folds` is {folds} and `fold` {fold}, expected at least 3 folds and one of "
            f"0..{max(folds, 3) - 1}"
        )
    classes = _classes(labels)
    labeled = (classes >= 0).nonzero().flatten()
    known = labeled if groups is None else labeled[_first_of_each(groups[labeled])]
    fewest = int(torch.unique(classes[known], return_counts=True)[1].min()) if len(known) else 0
    if fewest < folds:
        raise DataError(
            f"a class has {fewest} items, too few for {folds} folds; give a smaller `folds`"
        )
    cutter = StratifiedKFold(folds, shuffle=True, random_state=seed % 2**32)
    members = [known[part] for _, part in cutter.split(known, classes[known])]
    after = (fold + 1) % folds
    rest = [members[i] for i in range(folds) if i not in (fold, after)]
    train = torch.cat(rest).sort().values
    split = {"train": train, "valid": members[after], "test": members[fold]}
    return split if groups is None else _with_all(split, groups, labeled)


def scaffold_split(
    smiles: Sequence[str], fractions: Sequence[float] = FRACTIONS
) -> dict[str, Tensor]:
    """Molecules with the same ring system stay together, so that the test has new ones.

    Bemis-Murcko scaffolds with chirality; the largest groups go to ``train`` as long as they fit,
    then to ``valid``, the rest to ``test``, as in OGB's molecule sets (Hu et al. 2020). Atom map
    numbers and isotopes do not count.

    Args:
        smiles: One per molecule.
        fractions: Share of ``train``, ``valid`` and ``test``, summing to 1.

    Returns:
        Sorted item numbers, int64, of each part; together they are all molecules.

    Raises:
        DataError: If a SMILES cannot be read, or the scaffolds leave a part empty.
        ConfigError: If the fractions are no such shares.
    """
    _check_fractions(fractions)
    groups: dict[str, list[int]] = {}
    for i, scaffold in enumerate(scaffolds(smiles)):
        groups.setdefault(scaffold, []).append(i)
    ordered = sorted(groups.values(), key=lambda group: (len(group), group[0]), reverse=True)
    train_most = fractions[0] * len(smiles)
    most = (fractions[0] + fractions[1]) * len(smiles)
    parts: dict[str, list[int]] = {part: [] for part in PARTS[: len(fractions)]}
    last = PARTS[len(fractions) - 1]
    for group in ordered:
        taken = len(parts["train"]) + len(group)
        if taken <= train_most:
            parts["train"] += group
        elif taken + len(parts["valid"]) <= most:
            parts["valid"] += group
        else:
            parts[last] += group
    for part, members in parts.items():
        if not members:
            raise DataError(
                f"the scaffold split leaves {part!r} empty: {len(smiles)} molecules have only "
                f"{len(groups)} scaffolds, the largest in {len(ordered[0]) if ordered else 0} "
                "molecules; use split='random' or more data"
            )
    return {part: torch.tensor(sorted(members)) for part, members in parts.items()}


def few_labels_split(
    labels: Tensor, per_class: int, valid: int = 500, test: int | None = 1000, seed: int = 0
) -> dict[str, Tensor]:
    """A few training items of each class, the rest for validation and test (Yang et al. 2016).

    Args:
        labels: Classes int64 ``(items,)`` with -1 for missing, or float ``(items, 1)`` with NaN;
            items without a label are in no part. Float ``(items, t)`` of 0 and 1 are ``t`` classes,
            of which an item may have several.
        per_class: Training items of each class; one drawn for a class is not drawn for another.
        valid: Validation items, of any class.
        test: Test items, of any class; ``None`` means all that are left.
        seed: The same seed gives the same split.

    Returns:
        Sorted item numbers, int64, of each part.

    Raises:
        DataError: If a class or the whole set has too few labeled items.
        ConfigError: If a part is to have no item.
    """
    least = 1 if test is None else test
    if min(per_class, valid, least) < 1:
        raise ConfigError(
            f"every part needs an item: `per_class` is {per_class}, `valid` {valid}, `test` {test}"
        )
    members = _members(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    left = order[members.any(1)[order]]
    chosen = left[:0]
    for label in members.any(0).nonzero().flatten().tolist():
        drawn = left[members[left, label]][:per_class]
        if len(drawn) < per_class:
            raise DataError(
                f"class {label} has {len(drawn)} labeled items to draw, {per_class} per class "
                "are needed; give a smaller number"
            )
        chosen = torch.cat([chosen, drawn])
        left = left[~torch.isin(left, drawn)]
    if len(left) < valid + least:
        raise DataError(
            f"{len(chosen)} training items leave {len(left)} labeled ones, "
            f"{valid} to validate and {least} to test are needed; give smaller numbers"
        )
    end = None if test is None else valid + test
    pieces = {"train": chosen, "valid": left[:valid], "test": left[valid:end]}
    return {part: piece.sort().values for part, piece in pieces.items()}


def node_split(
    labels: Tensor,
    seed: int = 0,
    labels_per_class: int | None = None,
    valid: int | None = None,
    test: int | None = None,
    fractions: Sequence[float] | None = None,
) -> dict[str, Tensor]:
    """The split of a graph without a published one: few labels per class, or shares at random.

    Args:
        labels: As for :func:`few_labels_split`.
        seed: The same seed gives the same split.
        labels_per_class: Training items of each class; 20 by default (Shchur et al. 2018).
        valid: Validation items; 500 by default.
        test: Test items; by default all that are left.
        fractions: Shares of ``train``, ``valid`` and ``test`` instead, of the labeled items.

    Raises:
        DataError: If there are too few labeled items.
        ConfigError: If both ways are given, or a part is to have no item.
    """
    if fractions is None:
        shots = 20 if labels_per_class is None else labels_per_class
        return few_labels_split(labels, shots, 500 if valid is None else valid, test, seed)
    if (labels_per_class, valid, test) != (None, None, None):
        raise ConfigError(
            "`fractions` and `labels_per_class`, `valid`, `test` are two ways to split; give one"
        )
    known = _members(labels).any(1).nonzero().flatten()
    return {part: known[index] for part, index in random_split(len(known), fractions, seed).items()}


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) not in (2, 3) or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"`fractions` are {tuple(fractions)}, expected two or three positive shares "
            "that sum to 1"
        )


def _first_of_each(groups: Tensor) -> Tensor:
    """Places of the first item of each group, ascending."""
    distinct, number = groups.unique(return_inverse=True)
    place = torch.arange(len(groups))
    first = torch.full((len(distinct),), len(groups)).scatter_reduce(0, number, place, "amin")
    return first.sort().values


def _with_all(split: dict[str, Tensor], groups: Tensor, candidates: Tensor) -> dict[str, Tensor]:
    """The split with all items of the groups of its items, those of ``candidates``."""
    of = groups[candidates]
    return {part: candidates[torch.isin(of, groups[index])] for part, index in split.items()}


def _classes(labels: Tensor) -> Tensor:
    if labels.is_floating_point():
        if labels.dim() != 2 or labels.shape[1] != 1:
            raise DataError(
                f"`labels` have shape {tuple(labels.shape)}, expected one column of classes"
            )
        return labels[:, 0].nan_to_num(-1).long()
    return labels


def _members(labels: Tensor) -> Tensor:
    """Which items are of which class, boolean ``(items, c)``."""
    if labels.is_floating_point() and labels.dim() == 2 and labels.shape[1] > 1:
        return labels == 1
    classes = _classes(labels)
    return classes.unsqueeze(1) == torch.arange(int(classes.max()) + 1 if len(classes) else 0)


def scaffolds(smiles: Sequence[str]) -> list[str]:
    """Bemis-Murcko scaffold of each molecule, empty for one without rings.

    Chirality counts; atom map numbers and isotopes do not.

    Raises:
        DataError: If a SMILES cannot be read.
        MissingDependencyError: If RDKit is not installed.
    """
    with needs("chem", "a scaffold split"):
        from rdkit import Chem, rdBase
        from rdkit.Chem.Scaffolds import MurckoScaffold

        from gtl.data.atom_marks import without_marks
    found = []
    with rdBase.BlockLogs():
        for i, text in enumerate(smiles):
            molecule = Chem.MolFromSmiles(text)
            if molecule is None:
                raise DataError(f"molecule {i}, {text!r}, has no scaffold: it is not valid SMILES")
            molecule = without_marks(molecule, isotopes=True)
            found.append(MurckoScaffold.MurckoScaffoldSmiles(mol=molecule, includeChirality=True))
    return found
