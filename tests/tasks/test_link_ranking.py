"""Link ranking: the reference's loss, filtered negatives, and no edge of the step in its graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from gtl.errors import ConfigError, DataError
from gtl.graph import Graph, Schema
from gtl.graph.triples import triples_of
from gtl.roles import Batch, View
from gtl.tasks.link_ranking import LinkRanking

TRIPLES = [(0, 0, 1), (0, 0, 2), (1, 1, 2), (3, 0, 4), (2, 1, 3), (0, 1, 1), (1, 0, 0)]
SCHEMA = Schema(edge_types=2, nodes=5)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def graph(**changes) -> Graph:
    head, relation, tail = torch.tensor(TRIPLES).t()
    return Graph(head, tail, 5, edge_type=relation).replace(**changes)


def named(rows) -> Graph:
    chosen = torch.tensor([TRIPLES[i] for i in rows])
    return graph(pairs=chosen[:, ::2], pair_type=chosen[:, 1])


def ranking(width=4, schema=SCHEMA, **options) -> LinkRanking:
    torch.manual_seed(0)
    task = LinkRanking(**{"negatives": 6, **options})
    task.setup(schema, width)
    return task.double()


@pytest.mark.parametrize("suffix", ["", "_temp2"])
def test_the_loss_has_the_numbers_of_the_reference(golden, suffix):
    with np.load(golden / "earl.npz", allow_pickle=False) as file:
        numbers = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    rows = numbers["batch_index"]
    temperature = float(numbers[f"adv_temp{suffix}"])
    task = LinkRanking(negatives=7, temperature=temperature, relations="encoder")
    task.setup(Schema(edge_types=3), numbers["entity_emb"].shape[1])
    none = torch.zeros(5, 7, dtype=torch.bool)
    targets = {
        "triples": numbers["triples"][rows],
        "tails": numbers["neg_tail"],
        "heads": numbers["neg_head"],
        "no_tail": none,
        "no_head": none,
        "relations": numbers["relation_emb"],
    }
    losses = task.losses(numbers["entity_emb"], View(graph(), targets))
    assert losses.shape == (5,)
    expected = numbers[f"loss{suffix}"]
    torch.testing.assert_close(losses.mean(), expected, rtol=1e-10, atol=1e-11)


def test_a_loss_is_that_of_a_plain_loop_and_weights_have_no_gradient():
    task, nodes = ranking(score="distmult"), torch.randn(5, 4, dtype=torch.float64)
    view = task.view(Batch(named([0, 3])), rng())
    losses, targets = task.losses(nodes, view), view.targets
    vectors = task.score.relation_vectors

    def score(h, r, t):
        return (nodes[h] * vectors[r] * nodes[t]).sum()

    for i, (h, r, t) in enumerate(targets["triples"].tolist()):
        sides = [
            [score(h, r, e) for e, no in zip(targets["tails"][i], targets["no_tail"][i]) if not no],
            [score(e, r, t) for e, no in zip(targets["heads"][i], targets["no_head"][i]) if not no],
        ]
        wrong = [
            (torch.stack(side).softmax(0) * F.softplus(torch.stack(side))).sum() for side in sides
        ]
        expected = F.softplus(-score(h, r, t)) / 2 + sum(wrong) / 4
        torch.testing.assert_close(losses[i], expected)
    # Through the weights alone nothing flows: with equal scores the slope is that of plain means.
    flat = torch.ones(5, 4, dtype=torch.float64, requires_grad=True)
    one, other = (
        torch.autograd.grad(ranking(score="distmult", temperature=w).losses(flat, view).sum(), flat)
        for w in (0.0, 3.0)
    )
    torch.testing.assert_close(one, other)


def test_negatives_complete_no_known_triple():
    task, known = ranking(negatives=40), set(TRIPLES)
    view = task.view(Batch(named(range(7))), rng())
    for i, (h, r, t) in enumerate(view.targets["triples"].tolist()):
        for entity, none in zip(view.targets["tails"][i].tolist(), view.targets["no_tail"][i]):
            assert none or (h, r, entity) not in known
        for entity, none in zip(view.targets["heads"][i].tolist(), view.targets["no_head"][i]):
            assert none or (entity, r, t) not in known
    assert not view.targets["no_tail"].any() and not view.targets["no_head"].any()


def test_a_triple_that_is_no_edge_is_no_negative_of_itself():
    one = graph(pairs=torch.tensor([[4, 0]]), pair_type=torch.tensor([1]))
    view = ranking(negatives=50).view(Batch(one), rng())
    assert bool((view.targets["tails"] == 0).any())
    assert torch.equal(view.targets["tails"] == 0, view.targets["no_tail"])


def test_a_query_that_all_entities_complete_has_no_negatives_and_a_finite_loss():
    full = torch.tensor([[0, 0, t] for t in range(5)])
    whole = Graph(full[:, 0], full[:, 2], 5, edge_type=full[:, 1])
    whole = whole.replace(pairs=full[:2, ::2], pair_type=full[:2, 1])
    task = ranking(schema=Schema(edge_types=1))
    view = task.view(Batch(whole), rng())
    assert bool(view.targets["no_tail"].all()) and not bool(view.targets["no_head"].any())
    losses = task.losses(torch.randn(5, 4, dtype=torch.float64, requires_grad=True), view)
    assert bool(losses.isfinite().all())


def test_the_message_graph_lacks_the_triples_of_the_step():
    batch = named([0, 2])
    rest = {tuple(row) for row in triples_of(ranking().view(Batch(batch), rng()).graph).tolist()}
    assert rest == set(TRIPLES) - {TRIPLES[0], TRIPLES[2]}
    pairs = ranking(remove="pairs").view(Batch(batch), rng()).graph
    # Every edge between 0 and 1, and between 1 and 2, whatever its relation and direction.
    assert {tuple(row) for row in triples_of(pairs).tolist()} == {(0, 0, 2), (3, 0, 4), (2, 1, 3)}
    assert ranking(remove="none").view(Batch(batch), rng()).graph is batch


def test_edges_are_drawn_where_the_graph_names_no_triples():
    view = ranking(drawn=3).view(Batch(graph()), rng())
    drawn = {tuple(row) for row in view.targets["triples"].tolist()}
    assert len(drawn) == 3 and drawn <= set(TRIPLES) and view.graph.num_edges == 4
    every = ranking(remove="none").view(Batch(graph()), rng()).targets["triples"]
    assert len(every) == 7


def test_half_of_the_edges_stay_in_the_graph_where_the_drawn_ones_are_taken_out():
    view = ranking().view(Batch(graph()), rng())
    assert len(view.targets["triples"]) == 3 and view.graph.num_edges == 4


def test_negatives_have_the_type_and_the_graph_of_what_they_replace():
    typed = graph(node_type=torch.tensor([0, 1, 1, 0, 1]))
    both = Graph.batch([typed, typed])
    view = ranking(schema=Schema(node_types=2, edge_types=2), negatives=20).view(Batch(both), rng())
    triples, tails = view.targets["triples"], view.targets["tails"]
    assert torch.equal(both.node_type[tails], both.node_type[triples[:, 2:]].expand_as(tails))
    assert torch.equal(tails // 5, (triples[:, 2:] // 5).expand_as(tails))
    known = {(h, r, t) for h, r, t in triples_of(both).tolist()}
    for (h, r, _), row, none in zip(triples.tolist(), tails.tolist(), view.targets["no_tail"]):
        assert [(h, r, t) in known for t in row] == none.tolist()


def test_the_vectors_of_relations_are_the_encoders_where_it_makes_some():
    task = ranking(relations="encoder")
    assert not list(task.parameters())
    view = task.view(Batch(named([0])), rng())
    nodes = torch.randn(5, 4, dtype=torch.float64)
    with pytest.raises(ConfigError, match="the encoder makes no vectors of relations"):
        task.losses(nodes, view)
    wrong = View(view.graph, {**view.targets, "relations": torch.ones(2, 3).double()})
    with pytest.raises(ConfigError, match="of 3 columns, the score needs 2"):
        task.losses(nodes, wrong)
    made = nn.Parameter(torch.randn(2, 2, dtype=torch.float64))
    right = View(view.graph, {**view.targets, "relations": made})
    (grad,) = torch.autograd.grad(task.losses(nodes, right).sum(), made)
    assert bool(grad[0].any()) and not bool(grad[1].any())


def test_wrong_options_and_relations_are_refused():
    for options in ({"negatives": 0}, {"temperature": -1.0}, {"remove": "all"}, {"relations": "x"}):
        with pytest.raises(ConfigError):
            LinkRanking(**options)
    with pytest.raises(ConfigError, match="even number"):
        ranking(width=5)
    with pytest.raises(DataError, match="relation 1, the task was set up for 1"):
        ranking(schema=Schema(edge_types=1)).view(Batch(graph()), rng())
