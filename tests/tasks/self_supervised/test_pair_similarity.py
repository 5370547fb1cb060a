"""Pair similarity: which pairs are drawn, how alike they are, and the loss by hand."""

from __future__ import annotations

import pytest
import torch

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch, View
from gtl.tasks import PairSimilarity
from gtl.testing import check_task

KINDS = Schema(node=Columns((3, 2, 5, 4)))
FLOATS = Schema(node=Columns(width=2))


def ready(schema: Schema = FLOATS, width: int = 2, **options: int) -> PairSimilarity:
    task = PairSimilarity(**options)
    task.setup(schema, width)
    return task.double()


@pytest.mark.slow  # tests/laws has the defaults
def test_it_obeys_the_laws_of_tasks() -> None:
    check_task(PairSimilarity())
    check_task(PairSimilarity(nodes=3, candidates=2))


def test_the_loss_by_hand() -> None:
    task = ready()
    assert task.predictor is not None
    with torch.no_grad():
        task.predictor.weight.copy_(torch.tensor([[0.5, -1.0]]))
        task.predictor.bias.fill_(0.25)
    targets = {"from": torch.tensor([0]), "to": torch.tensor([1]), "similarity": torch.tensor([1])}
    view = View(Graph(*torch.empty(2, 0).long(), 2), targets)
    losses = task.losses(torch.tensor([[1, 5], [4, 3]], dtype=torch.float64), view)
    torch.testing.assert_close(losses, torch.tensor([(1.5 - 2 + 0.25 - 1) ** 2]).double())


def test_the_most_and_the_least_similar_are_taken(rng) -> None:
    angles = torch.linspace(0, 3.1, 5, dtype=torch.float64)
    x = torch.stack([angles.cos(), angles.sin()], 1)
    graph = Graph(*torch.empty(2, 0).long(), 5, x=x)
    view = ready(candidates=64).view(Batch(graph), rng)  # so many that every other node is drawn
    assert view.graph is graph
    one, to = view.targets["from"].view(-1, 2), view.targets["to"].view(-1, 2)
    cosines = (x @ x.T).fill_diagonal_(-2)
    assert one[:, 0].sort().values.tolist() == list(range(5))
    found = view.targets["similarity"].view(-1, 2)
    torch.testing.assert_close(found[:, 0], cosines.max(1).values[one[:, 0]])
    torch.testing.assert_close(found[:, 1], cosines.fill_diagonal_(2).min(1).values[one[:, 0]])
    torch.testing.assert_close(found, (x[one] * x[to]).sum(2))


def test_categories_are_as_alike_as_columns_agree(rng) -> None:
    x = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 0], [2, 0, 2, 1]])
    graph = Graph(*torch.empty(2, 0).long(), 3, x=x)
    targets = ready(KINDS, candidates=40).view(Batch(graph), rng).targets
    pairs = set(zip(*(targets[name].tolist() for name in ("from", "to", "similarity"))))
    of_two = {pair for pair in pairs if pair[0] == 2}  # as alike to both others: either will do
    assert pairs - of_two == {(0, 1, 0.75), (0, 2, 0.25), (1, 0, 0.75), (1, 2, 0.25)}
    assert {alike for _, _, alike in of_two} == {0.25}


def test_pairs_stay_within_a_graph_and_are_no_more_than_wanted(path, rng) -> None:
    graph = Graph.batch([path(n, x=torch.randn(n, 2)) for n in (5, 0, 9, 1, 7)])
    view = ready(nodes=50).view(Batch(graph), rng)
    owners = graph.graph_ids()
    assert torch.equal(owners[view.targets["from"]], owners[view.targets["to"]])
    assert (view.targets["from"] != view.targets["to"]).all()
    assert len(view.targets["from"]) == 2 * 21  # the one without a partner is left out
    assert len(ready(nodes=3).view(Batch(graph), rng).targets["from"]) <= 6


def test_wrong_options_and_missing_features_are_named(path, rng) -> None:
    with pytest.raises(ConfigError, match="`nodes` is 0"):
        PairSimilarity(nodes=0)
    with pytest.raises(ConfigError, match="`candidates` is 1"):
        PairSimilarity(candidates=1)
    with pytest.raises(ConfigError, match="pair similarity needs node features"):
        PairSimilarity().setup(Schema(), 3)
    with pytest.raises(ConfigError, match=r"call `task\.setup"):
        PairSimilarity().view(Batch(path(3, x=torch.zeros(3, 2))), rng)
