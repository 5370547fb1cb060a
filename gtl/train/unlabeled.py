"""Unlabeled items of a fine-tuning: which they are, and what results say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtl.catalog import TASKS
from gtl.data.dataset import Dataset
from gtl.data.items import PairItems
from gtl.data.loading import load
from gtl.data.properties import with_properties
from gtl.errors import ConfigError, DataError
from gtl.train.resolve import as_dataset, several
from gtl.train.seen_inputs import has_test_inputs


@dataclass(frozen=True)
class Unlabeled:
    """Unlabeled items for the tasks that use some.

    Attributes:
        data: They are its split ``train``; it has no labels.
        given: What the user gave, as JSON values; ``None`` for items of the target's own data.
        test_inputs: Whether items of the target's test split are among them, also among those that
            were given.
    """

    data: Dataset
    given: Any
    test_inputs: bool

    @property
    def count(self) -> int:
        """Number of items."""
        return len(self.data.split["train"])

    def config(self) -> dict[str, Any]:
        """What ``config.json`` holds; ``test_inputs`` is the argument of that name."""
        checksum = None if self.given is None else self.data.checksum(labels=False)
        return {
            "unlabeled": self.given,
            "unlabeled_checksum": checksum,
            "test_inputs": self.given is None and self.test_inputs,
        }

    def findings(self) -> dict[str, Any]:
        """What ``results.json`` holds."""
        return {
            "items": self.count,
            "of": self.data.spec,
            "test_inputs": self.test_inputs,
        }


def find_unlabeled(
    dataset: Dataset,
    auxiliary: Any,
    unlabeled: Any,
    test_inputs: bool | None,
    properties: Sequence[str] = (),
) -> Unlabeled | None:
    """Unlabeled items, if a task uses them.

    Without ``unlabeled`` they are items of the target's own data: at node level the nodes that are
    not in the training split (of a typed graph, those of the types in it), at graph level the
    graphs that are in no split, and those of any split that have no label. Labels are not among
    what tasks see.

    Args:
        dataset: The target.
        auxiliary: As for :func:`gtl.finetune`.
        unlabeled: Data set, or its spec or mapping of spec and options; ``None`` for none.
        test_inputs: Whether the test split is used, without its labels. By default at node level,
            where it is part of the graph, and not at graph level.
        properties: Properties that the head reads.

    Raises:
        ConfigError: If a task needs unlabeled items and there are none, or some are given and no
            task uses them, or they are of another level.
        DataError: If they have other features.
    """
    users = [task for task in map(_built, several(auxiliary)) if task.uses_unlabeled]
    users = [task for task in users if task.data is None]
    if not users:
        if unlabeled is not None or test_inputs is not None:
            name = "unlabeled" if unlabeled is not None else "test_inputs"
            raise ConfigError(
                f"`{name}` is given and no auxiliary task uses unlabeled items; add one, such as "
                "pseudo_label, or leave it out"
            )
        return None
    name = TASKS.name_of(users[0])
    if isinstance(dataset.contents, PairItems):
        raise ConfigError(
            f"the task {name!r} is for graphs and nodes, and the items of {dataset.spec} are pairs "
            "of nodes; use l2_sp or a self-supervised task"
        )
    if unlabeled is not None:
        return _given(dataset, unlabeled, test_inputs, properties)
    with_test = dataset.level == "node" if test_inputs is None else test_inputs
    items = unlabeled_items(dataset, with_test)
    if not len(items):
        raise ConfigError(
            f"the task {name!r} needs unlabeled items, and {dataset.spec} has none: every item is "
            "labeled and in a split; give `unlabeled`, a data set or its spec, or "
            "test_inputs=True to use the test split without its labels"
        )
    return Unlabeled(replace(dataset, labels=None, split={"train": items}), None, with_test)


def unlabeled_items(dataset: Dataset, test_inputs: bool) -> Tensor:
    """Items of a labeled data set that serve as unlabeled ones, int64 ``(k,)``.

    Args:
        dataset: The target.
        test_inputs: Whether those of its test split are among them.
    """
    assert dataset.labels is not None
    used = torch.zeros(len(dataset), dtype=torch.bool)
    parts = ("train",) if dataset.level == "node" else ("train", "valid")
    for part in parts if test_inputs else (*parts, "test"):
        used[dataset.split.get(part, used.nonzero().flatten()[:0])] = True
    labels = dataset.labels
    unknown = labels.isnan().all(1) if labels.is_floating_point() else labels < 0
    if not test_inputs and "test" in dataset.split:
        unknown[dataset.split["test"]] = False
    return ((~used | unknown) & of_labeled_types(dataset, dataset)).nonzero().flatten()


def of_labeled_types(data: Dataset, labeled: Dataset) -> Tensor:
    """Which items may have a label: of a typed graph, nodes of the types that have some, ``(n,)``.

    Args:
        data: The items.
        labeled: The same data or others; their training split has labels.

    Raises:
        DataError: If no node is of such a type.
    """
    types, known = (None if d.graph is None else d.graph.node_type for d in (data, labeled))
    if types is None or known is None or labeled.level != "node":
        return torch.ones(len(data), dtype=torch.bool)
    chosen = known[labeled.split["train"]].unique()
    found = torch.isin(types, chosen)
    if not bool(found.any()):
        raise DataError(
            f"no node of {data.spec} is of a type that has labels in {labeled.spec}, which are "
            f"the types {chosen.tolist()}; give a graph that has nodes of these types"
        )
    return found


def _given(
    dataset: Dataset, unlabeled: Any, test_inputs: bool | None, properties: Sequence[str]
) -> Unlabeled:
    if test_inputs:
        raise ConfigError(
            "`test_inputs` is for items of the target's own data, and `unlabeled` is given; give "
            "one of them"
        )
    data = _read(unlabeled, dataset)
    if data.level != dataset.level:
        raise ConfigError(
            f"`unlabeled` has {data.level}s for items and {dataset.spec} {dataset.level}s; give "
            "data of the level of the target"
        )
    if not len(data):
        raise ConfigError("`unlabeled` has no items; give others, or leave it out")
    try:
        dataset.schema.require(data.schema, "the target")
    except DataError as error:
        raise DataError(f"`unlabeled` does not fit the target: {error}") from error
    items = data.split.get("train")
    if items is None or not len(items):
        items = of_labeled_types(data, dataset).nonzero().flatten()
    seen = has_test_inputs(dataset, data, items)
    data = with_properties(replace(data, labels=None, split={"train": items}), properties)
    return Unlabeled(data, {"spec": data.spec, **data.options}, seen)


def _read(unlabeled: Any, dataset: Dataset) -> Dataset:
    if isinstance(unlabeled, (str, Path)):
        unlabeled = {"spec": str(unlabeled)}
    if isinstance(unlabeled, Mapping):
        options = {k: v for k, v in unlabeled.items() if k != "spec"}
        if "spec" not in unlabeled:
            raise ConfigError("`unlabeled` is a mapping without `spec`; name the data set")
        unlabeled = load(str(unlabeled["spec"]), root=dataset.root or None, **options)
    return as_dataset(unlabeled)


def _built(part: Any) -> Any:
    known = {"name": part} if isinstance(part, str) else part
    if isinstance(known, Mapping) and known.get("name") == "supervised":
        return TASKS.build({"kind": "binary", "outputs": 1, **known})
    return TASKS.build(part)
