"""Targets of a fine-tuning by the level of the data: labels to predict, or triples to rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.data.triples import TripleItems
from gtl.errors import ConfigError, DataError
from gtl.roles import Encoder, Task
from gtl.tasks.link_ranking import LinkRanking
from gtl.train.labels import LabelNames
from gtl.train.model import Model
from gtl.train.ranker import Ranker
from gtl.train.resolve import has_inverses, makes_relations, reads_edges
from gtl.train.target import check_labels, link_options, target_task

SCORE = "rotate"  # of triples, where no other was given
_OF_LABELS = ("readout", "properties", "class_weights", "unlabeled")
_LINKS = ("negatives", "temperature", "remove")


def check_options(dataset: Dataset, arguments: Mapping[str, Any]) -> None:
    """Refuse a data set that nothing can be learned from, and options that are not for it.

    Args:
        dataset: The target.
        arguments: Of :func:`gtl.finetune`, by name.

    Raises:
        DataError: If there is nothing to learn from, or no epoch could be chosen.
        ConfigError: If an option is for labels and the target has triples.
    """
    if not isinstance(dataset.contents, TripleItems):
        check_labels(dataset)
        return
    if not len(dataset.split.get("train", ())):
        raise DataError(f"{dataset.spec} has no training triples")
    given = [name for name in _OF_LABELS if arguments.get(name)]
    given += ["head_start"] if arguments.get("head_start") not in (None, "random") else []
    given += ["members"] if arguments.get("members", 1) != 1 else []
    if given:
        raise ConfigError(
            f"{', '.join(f'`{name}`' for name in given)}: the items of {dataset.spec} are triples, "
            "which are ranked and have no labels; leave it out"
        )


def target_for(
    encoder: Encoder,
    dataset: Dataset,
    train: Tensor,
    batch_size: int,
    head: Any,
    readout: Any,
    links: Mapping[str, Any] | None,
    class_weights: Any,
    properties: Sequence[str],
) -> Any:
    """The target task, set up: labels to predict, or triples to rank.

    Args:
        encoder: Whose vectors it gets.
        dataset: The target.
        train: Training items, int64 ``(k,)``.
        batch_size: Items of a step; 0 for all.
        head: Of labels a head; of triples a score, :data:`SCORE` for ``"linear"``.
        readout: As for :func:`gtl.finetune`.
        links: Options of :class:`gtl.tasks.links.Links`, or of triples ``negatives``,
            ``temperature`` and ``remove`` of :class:`gtl.tasks.link_ranking.LinkRanking`.
        class_weights: As for :func:`gtl.finetune`.
        properties: Names of the properties that the head reads.

    Raises:
        ConfigError: If an option does not fit.
    """
    if not isinstance(dataset.contents, TripleItems):
        options = link_options(links, dataset, train, batch_size)
        how = (head, readout, options, class_weights, properties)
        return target_task(encoder, dataset, train, *how)
    options = _ranking_options(links, dataset, reads_edges(encoder))
    require_edges(encoder, options["remove"], batch_size, len(train), "links={'remove': 'none'}")
    task = LinkRanking(
        score=SCORE if head in ("linear", {"name": "linear"}) else head,
        relations="encoder" if makes_relations(encoder) else "own",
        **options,
    )
    task.setup(dataset.schema, encoder.width)
    return task


def require_edges(encoder: Encoder, remove: str, batch_size: int, items: int, keep: str) -> None:
    """Refuse a ranking of triples each step of which encodes a graph without edges.

    Args:
        encoder: What is trained.
        remove: As for :class:`gtl.tasks.link_ranking.LinkRanking`.
        batch_size: Triples of a step; 0 for all.
        items: Training triples.
        keep: The option that leaves edges in, for the message.

    Raises:
        ConfigError: If a step has all triples, and the encoder needs edges.
    """
    if remove != "none" and reads_edges(encoder) and not 0 < batch_size < items:
        raise ConfigError(
            "a batch of all training triples leaves no edge in the graph to learn from; use a "
            f"smaller `batch_size`, or leave them in with {keep}"
        )


def model_for(
    encoder: Encoder, target: Task, dataset: Dataset, fan_out: Sequence[int | None] | None
) -> Any:
    """What predicts with an encoder and a target: a :class:`Ranker` of triples, else a Model."""
    if isinstance(target, LinkRanking):
        return Ranker(encoder, target, dataset.vocabulary)
    labels = LabelNames.of(dataset)
    return Model(encoder, target, labels=labels, fan_out=fan_out)  # type: ignore[arg-type]


def _ranking_options(
    links: Mapping[str, Any] | None, dataset: Dataset, reads_edges: bool
) -> dict[str, Any]:
    """Options of the ranking, completed to suit the data.

    Where training triples are there in both directions, each is an edge that gives the other away:
    both are taken out. A table of vectors reads no edges, and none need be taken out.
    """
    for name in links or {}:
        if name not in _LINKS:
            raise ConfigError(
                f"links of triples have no option {name!r}; they have: {', '.join(_LINKS)}"
            )
    usual = "none" if not reads_edges else "pairs" if has_inverses(dataset) else "triples"
    return {"remove": usual, **(links or {})}
