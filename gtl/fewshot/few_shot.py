"""Comparison of few-shot methods on classes with one, two, five or ten samples.

Two protocols. ``k_shot``: every class has ``k`` samples. ``base_novel`` (Hariharan & Girshick 2017,
Chen et al. 2020): base classes have all their training samples, novel ones have ``k``.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.catalog import FEW_SHOT_METHODS, READOUTS
from gtl.data.category_graph import CategoryGraph
from gtl.errors import CheckpointError, ConfigError
from gtl.fewshot.class_graphs import as_relation, base_agreement, graph_spec
from gtl.fewshot.draws import Draw, draw
from gtl.fewshot.features import Samples, as_samples
from gtl.fewshot.measures import base_novel_measures, k_shot_measures, require_scores
from gtl.fewshot.methods import as_methods
from gtl.fewshot.problem import Problem, Source
from gtl.fewshot.record import as_source, encoder_notes, encoder_spec, novel_spec
from gtl.progress import Progress
from gtl.report.few_shot import PROTOCOLS, FewShotResult, advice
from gtl.roles import FewShotMethod
from gtl.train.seed import seeded
from gtl.train.session import Session

log = logging.getLogger(__name__)
SCALINGS = ("center", "unit", "none")


def few_shot(
    data: Any,
    methods: Any = ("linear", "cosine", "prototype", "gaussian"),
    *,
    encoder: Any = None,
    protocol: str = "k_shot",
    shots: Sequence[int] = (1, 2, 5, 10),
    splits: int = 20,
    graph: Any = None,
    novel: Any = 0.5,
    queries: float | None = None,
    prior: float = 0.8,
    scaling: str = "center",
    readout: Any = "mean",
    column: int | None = None,
    reference: str | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
) -> FewShotResult:
    """Compare methods on classes with few samples, on frozen features, split by split.

    Split ``s`` is drawn by ``seed + s``: the novel classes, the queries, and the shots, of which
    the two are among the five. All methods see the same splits and the same numbers.

    Args:
        data: Dataset with one class an item, or features ``(b, h)`` and labels ``(b,)``.
        methods: Names, mappings with options, or instances; or a mapping of titles to such.
        encoder: What turns graphs into vectors, once: a pre-training run or its folder, a
            checkpoint, an encoder, a fine-tuned model, or a name. Without one the features of the
            nodes themselves are used.
        protocol: ``k_shot`` (every class has so many samples) or ``base_novel`` (novel classes
            have so many, base classes all of theirs).
        shots: Numbers of samples per class.
        splits: Repetitions.
        graph: How classes relate: a CategoryGraph, or a table between tabs with ``class_id`` and
            ``path``. Whether it agrees with the features of base classes, those of the first
            split, is tested before any training.
        novel: Share of the classes that are novel, drawn anew in each split, or a list of their
            numbers or names (base_novel only). In Python also a function of a generator.
        queries: Query samples: a share of each class, or a number of samples of each class; by
            default the test split of the data or, if it has none, half.
        prior: Share of novel queries that the measure all_with_prior assumes.
        scaling: ``center`` (the mean of the training samples taken off, mean square 1), ``unit``
            (then every sample brought to one length) or ``none``.
        readout: Node vectors to graph vectors.
        column: Of the labels, if there are several.
        reference: Title of the method that others are compared with; the first by default.
        seed: Of the first split; the same seed gives the same numbers.
        device: Where to encode and to learn; by default where the features are.
        out: Run folder to write.

    Returns:
        Accuracies by method, shots, measure and split; ``print`` it for tables.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    _check_options(protocol, shots, splits, prior, scaling)
    built = as_methods(methods)
    reference = _reference(reference, built)
    _require_free(out)
    started = time.monotonic()
    samples = as_samples(data, encoder, readout, column, seed, device)
    relation = as_relation(graph, samples)
    novel = novel if protocol == "base_novel" else None
    draws = [_drawn(samples, max(shots), queries, novel, seed + s) for s in range(splits)]
    agreement, base = None, 0
    if relation is not None and protocol == "base_novel":
        agreement, base = base_agreement(relation, samples, draws[0], seed)
        log.info("%s", " ".join(advice(agreement, base).split()))
    measured = functools.partial(_measures, protocol, prior)
    values = _values(samples, draws, built, shots, relation, scaling, seed, measured)
    notes, place = encoder_notes(encoder), None if out is None else Path(out)
    result = FewShotResult(samples.spec, protocol, values, reference, agreement, base, notes, place)
    session = Session("fewshot", as_source(data, samples), seed=seed, out=out)
    folder = session.open(
        {
            "encoder": encoder_spec(encoder),
            "methods": {title: FEW_SHOT_METHODS.spec(how) for title, how in built.items()},
            "protocol": protocol,
            "shots": list(shots),
            "splits": splits,
            "graph": graph_spec(graph, relation),
            "novel": novel_spec(novel),
            "queries": queries,
            "prior": prior,
            "scaling": scaling,
            "readout": READOUTS.spec(readout) if isinstance(readout, nn.Module) else readout,
            "column": column,
        }
    )
    if folder is not None:
        chosen = [split.novel.nonzero().flatten().tolist() for split in draws]
        seconds = {"seconds": round(time.monotonic() - started, 2)}
        session.close({"novel": chosen, "footprint": seconds, **result.to_json()})
        result.plot(folder.path / "plots" / "few_shot.png")
    return result


def _values(
    samples: Samples,
    draws: Sequence[Draw],
    methods: Mapping[str, FewShotMethod],
    shots: Sequence[int],
    graph: CategoryGraph | None,
    scaling: str,
    seed: int,
    measured: Callable[[Tensor, Tensor, Tensor], dict[str, float]],
) -> dict[str, dict[int, dict[str, list[float]]]]:
    """A value per split, by method, shots and measure."""
    values: dict[str, dict[int, dict[str, list[float]]]] = {
        title: {k: defaultdict(list) for k in shots} for title in methods
    }
    with Progress("few-shot", len(draws) * len(shots) * len(methods), unit="fit") as progress:
        for s, split in enumerate(draws):
            truth = samples.labels[split.queries].to(samples.features.device)
            novel = split.novel.to(truth.device)
            for k in shots:
                known, queries = _known(samples, split, k, scaling)
                for title, method in methods.items():
                    with seeded(seed + s) as rng:  # no method's random numbers depend on the others
                        scorer = method.fit(Problem(**known, graph=graph, rng=rng))
                    with torch.no_grad():
                        scores = scorer(queries).detach()
                    require_scores(scores, len(queries), samples.num_classes, title)
                    for name, value in measured(scores, truth, novel).items():
                        values[title][k][name].append(value)
                    progress.update()
    # One split may have too few novel classes for five guesses: such a measure is left out.
    return {
        title: {
            k: {name: column for name, column in by_name.items() if len(column) == len(draws)}
            for k, by_name in by_shots.items()
        }
        for title, by_shots in values.items()
    }


def _known(samples: Samples, split: Draw, k: int, scaling: str) -> tuple[dict[str, Any], Tensor]:
    """The fields of a Problem but graph and generator, and the queries ``(q, h)``."""
    empty = torch.empty(0, dtype=torch.int64)
    pools = list(enumerate(split.pools))
    base = torch.cat([empty, *(pool for i, pool in pools if not split.novel[i])])
    shown = torch.cat([pool[:k] for i, pool in pools if split.novel[i]])
    x, y = samples.features, samples.labels.to(samples.features.device)
    known = _scaled(x[torch.cat([base, shown])], x[torch.cat([base, shown])], scaling)
    fields = {
        "base_features": known[: len(base)],
        "base_labels": y[base],
        "features": known[len(base) :],
        "labels": y[shown],
        "novel": split.novel.to(x.device),
        "shots": k,
        "source": _source(samples, torch.cat([base, shown]), split.queries),
    }
    return fields, _scaled(x[split.queries], x[torch.cat([base, shown])], scaling)


def _source(samples: Samples, train: Tensor, queries: Tensor) -> Source | None:
    if samples.model is None or samples.data is None:
        return None
    numbers = samples.numbers
    return Source(samples.model, samples.data, numbers[train], numbers[queries])


def _scaled(features: Tensor, known: Tensor, scaling: str) -> Tensor:
    """Features by the mean and the one scale of the training samples."""
    if scaling == "none":
        return features
    center = known.mean(0)
    if scaling == "unit":
        return torch.nn.functional.normalize(features - center) * features.shape[1] ** 0.5
    size = (known - center).square().mean().sqrt()
    return (features - center) / torch.where(size > 0, size, torch.ones_like(size))


def _measures(
    protocol: str, prior: float, scores: Tensor, labels: Tensor, novel: Tensor
) -> dict[str, float]:
    if protocol == "k_shot":
        return k_shot_measures(scores, labels)
    return base_novel_measures(scores, labels, novel, prior)


def _drawn(samples: Samples, shots: int, queries: float | None, novel: Any, seed: int) -> Draw:
    return draw(samples, shots, queries, novel, torch.Generator().manual_seed(seed))


def _require_free(out: Path | str | None) -> None:
    """Refuse a folder that holds a run, before the work is done rather than after."""
    if out is not None and (Path(out) / "config.json").exists():
        raise CheckpointError(f"{out} already holds a run; choose another folder")


def _reference(reference: str | None, built: Mapping[str, FewShotMethod]) -> str:
    if reference is None:
        return next(iter(built))
    if reference not in built:
        raise ConfigError(
            f"`reference` is {reference!r}, expected the title of a method: {', '.join(built)}"
        )
    return reference


def _check_options(
    protocol: str, shots: Sequence[int], splits: int, prior: float, scaling: str
) -> None:
    if protocol not in PROTOCOLS:
        raise ConfigError(f"`protocol` is {protocol!r}, expected one of: {', '.join(PROTOCOLS)}")
    if scaling not in SCALINGS:
        raise ConfigError(f"`scaling` is {scaling!r}, expected one of: {', '.join(SCALINGS)}")
    if not shots or any(isinstance(k, bool) or k != int(k) or k < 1 for k in shots):
        raise ConfigError(f"`shots` is {list(shots)}, expected whole numbers from 1 on")
    if len(set(shots)) != len(shots):
        raise ConfigError(f"`shots` is {list(shots)}; name each number once")
    if splits < 1:
        raise ConfigError(f"`splits` is {splits}, expected at least 1")
    if not 0 < prior < 1:
        raise ConfigError(f"`prior` is {prior}, expected a share between 0 and 1")
