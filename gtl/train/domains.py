"""Domains of an adaptation: labeled source, target with few labels, and graphs without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.train.domain_features import common_features
from gtl.train.resolve import as_dataset
from gtl.train.seen_inputs import has_test_inputs
from gtl.train.unlabeled import of_labeled_types


@dataclass(frozen=True)
class Domains:
    """All data of an adaptation; encoders are built for :attr:`schema`.

    Attributes:
        source: Labeled data of the source domain.
        target: Data of the target domain, with few labels or none.
        corpus: Graphs without labels to pre-train on.
        unlabeled: Graphs without labels of the target domain. Of a typed graph the split ``train``
            has the nodes of types that have labels.
        schema: What the graphs of all of them fit.
        test_inputs: Whether test items of the target, or the graph that test links lie in, are in
            :attr:`unlabeled`.
    """

    source: Dataset
    target: Dataset
    corpus: Dataset
    unlabeled: Dataset
    schema: Schema
    test_inputs: bool

    @property
    def items(self) -> Tensor:
        """Items of :attr:`unlabeled` that are compared with those of the source, ``(u,)``."""
        return self.unlabeled.split.get("train", self.unlabeled.items("all"))

    def to_json(self) -> dict[str, Any]:
        """What ``config.json`` holds of the data beside the target; ``None`` for derived data."""
        given = {"source": self.source, "corpus": self.corpus, "unlabeled": self.unlabeled}
        found: dict[str, Any] = {}
        for name, data in given.items():
            derived = name != "source" and data.spec == _derived(name, self.target)
            found[name] = None if derived else {"spec": data.spec, **data.options}
            found[f"{name}_checksum"] = data.checksum()
        return found


def domains_of(
    source: Any,
    target: Any,
    corpus: Any = None,
    unlabeled: Any = None,
    names: Sequence[Sequence[str]] | None = None,
    project: int | None = None,
    context: int | None = None,
) -> Domains:
    """The data of an adaptation, checked to have the same features.

    Args:
        source: As for :func:`gtl.adapt_domain`.
        target: Likewise.
        corpus: Likewise.
        unlabeled: Likewise.
        names: Names of feature columns, likewise ``feature_names``.
        project: Likewise.
        context: Likewise.

    Raises:
        DataError: If the domains have other items or features.
    """
    source, target = as_dataset(source), as_dataset(target)
    _require_same_items(source, target)
    changed = not (names is None and project is None and context is None)
    all_inputs = unlabeled is target
    if changed and not (corpus is None and (unlabeled is None or all_inputs)):
        raise ConfigError(
            "`feature_names`, `project` and `context` are for source and target alone; leave out "
            "`corpus` and `unlabeled`"
        )
    source, target = common_features(source, target, names, project, context)
    unlabeled = target if changed and all_inputs else unlabeled
    own = _unlabeled_part(target) if unlabeled is None else without_labels(as_dataset(unlabeled))
    own = _with_labeled_types(own, source if "train" in source.split else target)
    sides = {"source": source, "target": target, "unlabeled": own}
    schema = _common_schema({**sides, **({} if corpus is None else {"corpus": as_dataset(corpus)})})
    if unlabeled is None:
        own = _named(own, "unlabeled", target)
    if corpus is None:
        broad = _joined(_unlabeled_part(source), own, schema)
        broad = _named(broad, "corpus", target)
    else:
        broad = without_labels(as_dataset(corpus))
    found = Domains(source, target, broad, own, schema, False)
    left_out = unlabeled is None and target.level == "graph"
    seen = not left_out and has_test_inputs(target, own, found.items)
    return replace(found, test_inputs=seen)


def without_labels(data: Dataset) -> Dataset:
    """The items of a data set, all of one part and without labels.

    The links to predict of a link-level set are left out with its labels: the items are nodes.
    """
    level = "graph" if data.level == "graph" else "node"
    contents: Mapping[str, Any] = {"graphs": data.graphs}
    if level == "node":
        assert data.graph is not None
        contents = {"graph": data.graph.unlabeled()}
    return Dataset(data.spec, **contents, level=level, options=data.options, root=data.root)


def _unlabeled_part(data: Dataset) -> Dataset:
    """The one graph, or the graphs that neither validate nor test."""
    found = without_labels(data)
    held = [data.split[part] for part in ("valid", "test") if part in data.split]
    if data.graphs is None or not held:
        return found
    free = torch.ones(len(data), dtype=torch.bool)
    free[torch.cat(held)] = False
    if not bool(free.any()):
        raise DataError(
            f"{data.spec}: all graphs validate or test, none is left to learn from without labels; "
            "give graphs of this domain as `unlabeled`, or another split"
        )
    graphs = data.graphs.subset(free.nonzero().flatten())
    return Dataset(data.spec, graphs=graphs, options=data.options, root=data.root)


def _with_labeled_types(data: Dataset, labeled: Dataset) -> Dataset:
    """The data; of a typed graph with a split ``train`` of the nodes whose types have labels."""
    if "train" not in labeled.split:
        return data
    items = of_labeled_types(data, labeled).nonzero().flatten()
    return data if len(items) == len(data) else replace(data, split={"train": items})


def joined(source: Dataset, target: Dataset, schema: Schema) -> Dataset:
    """Both domains as one data set, with the labels that training and validation may use.

    Args:
        source: Labeled.
        target: With labels of the same meaning. Those outside ``train`` and ``valid`` become
            missing.
        schema: What the graphs of both fit.
    """
    assert source.labels is not None and target.labels is not None
    parts = ("train", "valid")
    used = {part: target.split[part] for part in parts if part in target.split}
    hidden = torch.ones(len(target), dtype=torch.bool)
    hidden[torch.cat([*used.values()])] = False
    labels = target.labels.clone()
    labels[hidden] = torch.nan if labels.is_floating_point() else -1
    none = torch.empty(0, dtype=torch.int64)
    split = {
        part: torch.cat([source.split.get(part, none), used.get(part, none) + len(source)])
        for part in parts
    }
    whole = _joined(without_labels(source), without_labels(target), schema)
    meaning = ("kind", "metric", "class_names", "label_names")
    return replace(
        whole,
        spec=f"{source.spec} and {target.spec}",
        labels=torch.cat([source.labels, labels]),
        split={part: items for part, items in split.items() if len(items)},
        names=[*source.names, *target.names] if source.names and target.names else (),
        **{name: getattr(source, name) for name in meaning},
    )


def _joined(one: Dataset, other: Dataset, schema: Schema) -> Dataset:
    """Both in one data set: packed graphs, or one disjoint graph."""
    if one.graphs is not None and other.graphs is not None:
        packed = [graphs.batch(torch.arange(len(graphs))) for graphs in (one.graphs, other.graphs)]
        return Dataset(one.spec, graphs=PackedGraphs.pack(packed, schema))
    assert one.graph is not None and other.graph is not None
    whole = Graph.batch([one.graph, other.graph])
    return Dataset(one.spec, graph=whole, level="node")


def _named(data: Dataset, name: str, target: Dataset) -> Dataset:
    return Dataset(
        _derived(name, target), data.graphs, data.graph, level=data.level, split=data.split
    )


def _derived(name: str, target: Dataset) -> str:
    what = "source and target" if name == "corpus" else "target"
    return f"graphs of {what} of {target.spec}"


def _require_same_items(source: Dataset, target: Dataset) -> None:
    if source.level != target.level:
        raise DataError(
            f"items of the source {source.spec} are {source.level}s, those of the target "
            f"{target.spec} are {target.level}s; give data of one level"
        )


def _common_schema(domains: Mapping[str, Dataset]) -> Schema:
    """The schema that graphs of all domains fit.

    Raises:
        DataError: If there is none, naming the domain at fault.
    """
    target = domains["target"]
    schema = target.schema
    for name, data in domains.items():
        for columns in (data.schema.node, schema.node):
            if columns is not None and columns.identity and data.graph is not target.graph:
                raise DataError(
                    f"node features of the {name} {data.spec} or of the target {target.spec} are "
                    "the nodes' own numbers, of which nothing carries over to other graphs; give "
                    "features that both domains have, such as degrees"
                )
        try:
            schema = schema.union(data.schema)
        except DataError as error:
            raise DataError(
                f"the {name} {data.spec} does not go with the target {target.spec}: {error}; give "
                "features that both have, or names of the columns to keep those in common "
                "(feature_names)"
            ) from error
    return schema
