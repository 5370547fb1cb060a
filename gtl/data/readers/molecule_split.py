"""Splits of a table of molecules: random, stratified, by folds or by scaffold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gtl.data.same_molecules import molecule_groups
from gtl.data.splits import FRACTIONS, fold_split, random_split, scaffold_split, stratified_split
from gtl.errors import ConfigError
from gtl.graph.pack import PackedGraphs

COMPUTED = ("random", "scaffold")


@dataclass(frozen=True)
class MoleculeSplit:
    """How molecules are split.

    Attributes:
        by: ``"random"``, ``"scaffold"``, the name of a column, or ``None``.
        fractions: Shares of the parts; 80/10/10 if not given.
        stratify: Whether each part has its share of every class.
        folds: Number of folds of a cross-validation, or ``None``.
        fold: Number of the fold that is the test part; 0 if not given.

    Raises:
        ConfigError: If options contradict each other.
    """

    by: str | None = "random"
    fractions: Sequence[float] | None = None
    stratify: bool = False
    folds: int | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        if self.fold is not None and self.folds is None:
            raise ConfigError(f"`fold` is {self.fold} without `folds`; give folds=10, for example")
        if self.folds is not None and self.fractions is not None:
            raise ConfigError("`folds` and `fractions` are two ways to split; give one")
        given = {
            "fractions": self.fractions is not None and self.by != "scaffold",
            "stratify": self.stratify,
            "folds": self.folds is not None,
        }
        for option, use in given.items():
            if use and self.by != "random":
                raise ConfigError(f"`{option}` does not go with split={self.by!r}; use 'random'")

    @property
    def column(self) -> str | None:
        """The column that gives the split, if one does."""
        return None if self.by is None or self.by in COMPUTED else self.by

    def require_labels(self, labeled: bool, classes: bool) -> None:
        """Refuse options that need labels, or one column of classes, where there are none.

        Raises:
            ConfigError: If an option needs what is missing.
        """
        needing = [self.fractions, self.folds] if self.by == "random" else []
        if not labeled and (self.stratify or any(option is not None for option in needing)):
            raise ConfigError("molecules without labels are not split at random; give `target`")
        if self.stratify and not classes:
            raise ConfigError("`stratify` needs one column of classes; leave it out")

    def of(
        self,
        names: Sequence[str],
        graphs: PackedGraphs,
        labels: Tensor | None,
        classes: bool,
        seed: int,
        source: str,
    ) -> dict[str, Tensor]:
        """The computed split; copies of a molecule are in one part.

        Args:
            names: SMILES of each item.
            graphs: Their graphs.
            labels: Their labels; a random split of unlabeled items is empty.
            classes: Whether the labels are one column of classes.
            seed: Of a random split.
            source: File of the molecules, for the log.

        Raises:
            DataError: If there are too few molecules, or too few of a class.
        """
        fractions = FRACTIONS if self.fractions is None else tuple(self.fractions)
        if self.by == "scaffold":
            return scaffold_split(names, fractions)
        if self.by != "random" or labels is None:
            return {}
        groups = molecule_groups(names, graphs, source)
        if self.stratify:
            return stratified_split(labels, fractions, seed, groups)
        if self.folds is not None:
            strata = labels if classes else torch.zeros(len(labels), dtype=torch.int64)
            return fold_split(strata, self.folds, self.fold or 0, seed, groups)
        return random_split(len(names), fractions, seed, groups)
