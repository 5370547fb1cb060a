"""Completion of triples: the most plausible tails of a head and a relation, and the reverse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gtl.adapters.sites import in_eval_mode
from gtl.checks import check_positive
from gtl.data.dataset import Dataset
from gtl.data.new_triples import read_triples_like, with_triples
from gtl.data.triples import Vocabulary
from gtl.errors import DataError
from gtl.train.device import module_device
from gtl.train.ranker import Ranker, items_of
from gtl.train.ranking import scores_of_queries

if TYPE_CHECKING:
    import pandas as pd

MISSING = "?"  # the entity that is looked for
Query = Sequence[Any]


def complete(
    model: Any,
    data: Dataset,
    queries: Sequence[Query] | Query | str | Path,
    *,
    top: int = 10,
    known: bool = False,
    facts: Any = None,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """The most plausible entities that complete triples.

    Args:
        model: A model of a knowledge graph, as :func:`gtl.finetune` returns it, or its run folder.
        data: The knowledge graph; its relations are matched with those of training by name.
        queries: Triples by name, one of whose entities is ``"?"`` or ``None``: one, a list of
            them, or a file with columns and separator as in the files of the data.
        top: Entities for each query; fewer if there are not as many.
        known: Whether entities that complete a known triple of ``data`` are among the answers.
        facts: More triples that are known, a file or a list of them by name, such as those of
            entities that training had not: see :func:`gtl.data.new_triples.with_triples`.
        batch_size: Queries at a time.

    Returns:
        A row for each answer, the most plausible first: ``head``, ``relation``, ``tail`` by name,
        ``score``, ``rank`` from 1 and ``known``. ``head`` or ``tail`` is the answer.

    Raises:
        DataError: If a name is unknown, or a query has not one missing entity.
    """
    import pandas as pd

    from gtl.train.evaluate import as_model

    model = as_model(model)
    if not isinstance(model, Ranker):
        raise DataError("the model was not trained on a knowledge graph; it completes no triples")
    check_positive(top=top)
    data = data if facts is None else with_triples(data, facts)
    data = model.aligned(data)
    names = data.vocabulary
    if names is None:
        raise DataError(f"{data.spec} has no names of entities; load it with kg:...")
    rows = [_numbered(query, names) for query in _read(queries, data)]
    found: list[dict[str, Any]] = []
    for place, answers in _answers(model, data, rows, top, known, batch_size):
        head, relation, tail = rows[place]
        for rank, (entity, score, is_known) in enumerate(answers, 1):
            pair = (entity if head is None else head, entity if tail is None else tail)
            found.append(
                {
                    "head": names.entities[pair[0]],
                    "relation": names.relations[relation],
                    "tail": names.entities[pair[1]],
                    "score": score,
                    "rank": rank,
                    "known": is_known,
                }
            )
    columns = ["head", "relation", "tail", "score", "rank", "known"]
    return pd.DataFrame(found, columns=columns)


Numbered = tuple["int | None", int, "int | None"]
Answer = tuple[int, float, bool]


@torch.no_grad()
def _answers(
    model: Ranker,
    data: Dataset,
    rows: Sequence[Numbered],
    top: int,
    with_known: bool,
    batch_size: int | None,
) -> list[tuple[int, list[Answer]]]:
    """Places of the queries in order, with their answers."""
    items, device = items_of(data), module_device(model)
    known = items.known(device)
    with in_eval_mode(model):
        graph = items.batch(torch.empty(0, dtype=torch.int64), device)
        entities, relations = model.vectors(graph)
    answers: dict[int, list[Answer]] = {}
    for side, other, make in (
        (known.tails, 2, model.score.tail_queries),
        (known.heads, 0, model.score.head_queries),
    ):
        places = [place for place, row in enumerate(rows) if row[other] is None]
        given = torch.tensor([rows[p][2 - other] for p in places], dtype=torch.int64, device=device)
        kinds = torch.tensor([rows[p][1] for p in places], dtype=torch.int64, device=device)
        queries = side.queries(given, kinds)

        def vectors(of: Tensor, kind: Tensor, make: Any = make) -> Tensor:
            return make(entities[of], relations[kind])  # type: ignore[no-any-return]

        for part, scores in scores_of_queries(
            queries, vectors, side, model.score, entities, batch_size
        ):
            true = torch.zeros_like(scores, dtype=torch.bool)
            true[side.known(queries[part])] = True
            ranked = scores if with_known else scores.masked_fill(true, -torch.inf)
            best = ranked.topk(min(top, scores.shape[1]), 1)
            for place, values, chosen, marks in zip(places[part], best.values, best.indices, true):
                answers[place] = [
                    (int(entity), float(value), bool(marks[entity]))
                    for entity, value in zip(chosen, values)
                    if float(value) > -torch.inf
                ]
    return sorted(answers.items())


def _read(queries: Sequence[Query] | Query | str | Path, data: Dataset) -> list[Query]:
    if isinstance(queries, (str, Path)):
        named = read_triples_like(data, queries)
        return list(zip(named.heads, named.relations, named.tails))
    given = list(queries)
    single = len(given) == 3 and all(isinstance(name, str) or name is None for name in given)
    return [given] if single else [list(query) for query in given]


def _numbered(query: Query, names: Vocabulary) -> Numbered:
    """Numbers of a query, ``None`` for what is missing."""
    missing = [name in (None, MISSING) for name in query]
    if len(query) != 3 or missing[1] or missing[0] == missing[2]:
        raise DataError(
            f"the query {tuple(query)!r} has not one missing entity; give head, relation and tail, "
            "'?' for the head or the tail"
        )
    head, relation, tail = query
    return (
        None if missing[0] else names.entity(str(head)),
        names.relation(str(relation)),
        None if missing[2] else names.entity(str(tail)),
    )
