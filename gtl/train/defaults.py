"""Settings that fine-tuning uses where none were given, by the level of the data.

Graph-level defaults are those of molecular pre-training (Hu et al. 2020): deep, wide, batch norm.
Node-level ones are those of Kipf and Welling 2017 for one graph with few labels: two layers, the
first of which reads the features, dropout, no norm, weight decay on the first layer. What was
compared on validation data is in ``benchmarks/node_level.py``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from torch import Tensor

_TRAINING: dict[str, dict[str, Any]] = {
    "graph": {"lr": 1e-3, "epochs": 50, "weight_decay": 0.0, "patience": 0},
    "node": {"lr": 1e-2, "epochs": 300, "weight_decay": {"first": 5e-4}, "patience": 100},
    "triple": {"lr": 1e-3, "epochs": 100, "weight_decay": 0.0, "patience": 10},
}
_BATCHES = {"triple": 1024}
_LEFT = 10  # a batch of triples is at most one part in so many of all: the graph has the others
_TUNING: dict[str, Any] = {
    "warmup": 0.0,
    "schedule": "constant",
    "head_start": "random",
    "head_first": 0,
    "batch_norm": "train",
    "average": 0.0,
}
# Encoders that come with gtl: what was best on validation data of OGB's small molecule sets.
_STARTS: dict[str, dict[str, Any]] = {
    "molecules": {
        "readout": ["mean", "sum", "max"],
        "properties": ["descriptors"],
        "head_start": "fitted",
        "batch_norm": "frozen",
        "lr": 3e-4,
        "epochs": 15,
        "average": 3.0,
    },
}
_NODE_ENCODER: dict[str, Any] = {
    "width": 64,
    "depth": 2,
    "norm": None,
    "input_dropout": 0.5,
    "dropout": 0.5,
}
_NODE_ENCODERS: dict[str, dict[str, Any]] = {
    name: _NODE_ENCODER for name in ("gcn", "sage", "gat", "gin", "mlp")
}
_BEFORE_A_HEAD: dict[str, dict[str, Any]] = {"gcn": {"last_linear": False}}


def training_defaults(level: str, encoder: str) -> dict[str, Any]:
    """Learning rate, epochs, weight decay and patience of fine-tuning.

    Args:
        level: ``"graph"``, ``"node"``, ``"edge"`` or ``"triple"``.
        encoder: Registered name of the encoder. Those without node-level defaults have the settings
            of graphs at every level.

    Returns:
        ``lr``; ``epochs``, the most of them; ``weight_decay``, of everything or by part, as
        :func:`gtl.train.optimizers.build_optimizer` takes it; ``patience``, epochs without a better
        validation value after which training ends, 0 for never.

    Example:
        >>> [training_defaults("node", name)["lr"] for name in ("gcn", "hgt")]
        [0.01, 0.001]
    """
    if level == "triple":
        return copy.deepcopy(_TRAINING[level])
    has_defaults = level == "node" and encoder in _NODE_ENCODERS
    return copy.deepcopy(_TRAINING["node" if has_defaults else "graph"])


def batch_size_of(level: str, given: int | None, usual: int, items: int) -> int:
    """Items of a step: those given, else those of the level or, where it has none, ``usual``.

    Triples of a step are taken out of the graph that is encoded, so that of a small knowledge graph
    a step has a tenth at most.

    Args:
        level: Of the data.
        given: What the user gave.
        usual: Items of a step of other levels.
        items: Training items.

    Example:
        >>> [batch_size_of("triple", None, 32, items) for items in (90_000, 5_000)]
        [1024, 500]
        >>> batch_size_of("graph", None, 32, 100)
        32
    """
    if given is not None:
        return given
    return min(_BATCHES[level], max(1, items // _LEFT)) if level in _BATCHES else usual


def encoder_defaults(
    level: str, name: str, features: Tensor | None = None, head: bool = True
) -> dict[str, Any]:
    """Options of an encoder that was given by name.

    Args:
        level: ``"graph"``, ``"node"`` or ``"edge"``.
        name: Name of the encoder.
        features: Node features of the data ``(n, d)``. Floating ones are read by the first layer
            itself and, if never negative (counts of words), divided by their length, node by node.
            Categorical ones have an embedding.
        head: Whether a head is trained with it from the start, whose matrix is that of the last
            layer; not so in pre-training.

    Returns:
        Options that replace the encoder's own defaults; empty where those are right.

    Example:
        >>> encoder_defaults("node", "gcn")["depth"], encoder_defaults("graph", "gcn")
        (2, {})
    """
    options = dict(_NODE_ENCODERS.get(name, {})) if level == "node" else {}
    if options and head:
        options |= _BEFORE_A_HEAD.get(name, {})
    if options and features is not None and features.is_floating_point():
        counts = bool((features >= 0).all())
        return {**options, "embedding": None, "normalize_features": "l2" if counts else False}
    return options


def training_settings(level: str, encoder: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`training_defaults` with what was given in their place; ``None`` is not given.

    Args:
        level: As for :func:`training_defaults`.
        encoder: Likewise.
        given: Arguments by name; others are left out.

    Example:
        >>> training_settings("graph", "gin", {"lr": 0.1, "epochs": None, "seed": 1})["lr"]
        0.1
    """
    return _replaced(training_defaults(level, encoder), given)


def start_settings(start: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a fine-tuning, completed by what suits the encoder that it starts from.

    Args:
        start: Name of an encoder that comes with gtl; ``None`` or another for none.
        given: All arguments by name; ``None`` is not given. A head that is not linear starts at
            random, and properties are left out where they cannot be computed.

    Example:
        >>> start_settings("molecules", {"lr": None, "head": "linear"})["lr"]
        0.0003
    """
    defaults = copy.deepcopy(_STARTS.get(start or "", {}))
    if given.get("head") not in ("linear", {"name": "linear"}):
        defaults.pop("head_start", None)
    if not _has_molecules(given.get("dataset")):
        defaults.pop("properties", None)
    chosen = {name: value for name, value in given.items() if value is not None}
    completed = {"readout": "mean", "properties": (), **defaults, **chosen}
    return {**dict.fromkeys(given), **completed}


def _has_molecules(dataset: Any) -> bool:
    """Whether RDKit is there and the graphs have names to read, which are their SMILES."""
    return bool(len(getattr(dataset, "names", ()))) and find_spec("rdkit") is not None


def tuning_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of :class:`gtl.train.tuning.Tuning`: defaults, and what was given in their place.

    Args:
        given: Arguments by name; ``None`` is not given, others are left out.

    Example:
        >>> tuning_settings({"warmup": 2, "schedule": None})["warmup"]
        2
    """
    return _replaced(_TUNING, given)


def with_defaults(
    encoder: Any, level: str, features: Tensor | None = None, head: bool = True
) -> Any:
    """What was given for an encoder, completed by the defaults of the level.

    Args:
        encoder: A registered name, a mapping with ``name`` and options, which go before the
            defaults entry by entry, or anything else, which is returned as it is.
        level: ``"graph"``, ``"node"`` or ``"edge"``.
        features: Node features of the data.
        head: As for :func:`encoder_defaults`.

    Example:
        >>> with_defaults({"name": "gcn", "width": 16}, "node")["width"]
        16
    """
    given = {"name": encoder} if isinstance(encoder, str) else encoder
    if not isinstance(given, Mapping) or "name" not in given:
        return encoder
    options = encoder_defaults(level, str(given["name"]), features, head)
    if not options:
        return encoder
    if given.get("depth", options["depth"]) == 1:
        options.pop("last_linear", None)  # which is of the second layer and later ones
    if given.get("embedding") is not None:
        options.pop("normalize_features", None)  # which is for raw features
    return {**options, **given}


def _replaced(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    chosen = {name: given[name] for name in defaults if given.get(name) is not None}
    return {**defaults, **chosen}
