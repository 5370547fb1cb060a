"""KGTN: the reference's numbers, values by hand, and that it is the plain classifier without it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import gtl
from gtl.catalog import HEADS
from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph
from gtl.heads import KGTN, Shrinkage

PAIR = [[0, 1, 0.5], [1, 0, 0.5]]
close = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)  # noqa: E731


def graph_of(matrix: torch.Tensor) -> Graph:
    """Row i of the matrix weighs what class i hears."""
    dst, src = matrix.nonzero().unbind(1)
    return Graph(src, dst, len(matrix), e=matrix[dst, src].unsqueeze(1))


@pytest.fixture(scope="module")
def numbers(golden):
    with np.load(golden / "kgtn.npz", allow_pickle=False) as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


def as_published(numbers, steps: int, classifier: str = "inner") -> KGTN:
    graph = graph_of(numbers["A"])
    head = KGTN(5, 7, graph, steps=steps, classifier=classifier, residual=False).double()
    part = head.parts[0]
    with torch.no_grad():
        head.weight.copy_(numbers["W"].T)
        for gate, letter in ((part.update, "z"), (part.reset, "r"), (part.change, "h")):
            gate.messages.weight.copy_(numbers[f"w{letter}"])
            gate.own.weight.copy_(numbers[f"u{letter}"])
        part.output.weight.copy_(numbers["O_weight"])
        part.output.bias.copy_(numbers["O_bias"])
        if classifier != "inner":
            head.scale.copy_(numbers["scale"])
    return head


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_weights_are_those_of_the_reference(numbers, steps) -> None:
    head = as_published(numbers, steps)
    (weight,) = head.class_weights()
    close(head.parts[0].states(head._graphs[0], head.weight)[-1].T, numbers[f"hT_T{steps}"])
    close(weight.T, numbers[f"Wstar_T{steps}"])
    close(head.regularizer(), numbers[f"l2_T{steps}"])


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("classifier", ["inner", "cosine", "pearson"])
def test_logits_and_gradients_are_those_of_the_reference(numbers, steps, classifier) -> None:
    head, name = as_published(numbers, steps, classifier), f"{classifier}_T{steps}"
    logits = head(numbers["x"])
    loss = cross_entropy(logits, numbers["y"])
    loss.backward()
    close(logits, numbers[f"logits_{name}"])
    close(loss, numbers[f"ce_{name}"])
    close(head.weight.grad.T, numbers[f"grad_W_ce_{name}"])


def test_with_gates_at_zero_each_step_halves_the_state(numbers) -> None:
    head = as_published(numbers, 2)
    fresh = KGTN(5, 7, graph_of(numbers["A"]), residual=False).double()
    fresh.parts[0].output.load_state_dict(head.parts[0].output.state_dict())
    with torch.no_grad():
        fresh.weight.copy_(head.weight)
    close(fresh.class_weights()[0].T, numbers["Wstar_T2_zero_gates"])
    close(fresh.parts[0].states(fresh._graphs[0], fresh.weight)[-1], 0.25 * fresh.weight)


@pytest.mark.parametrize("classifier", ["cosine", "pearson"])
def test_the_regularizer_is_of_weights_that_are_not_normalized(numbers, classifier) -> None:
    head = as_published(numbers, 2, classifier)
    close(head.regularizer(), numbers["l2_T2"])
    head.regularizer().backward()
    assert head.weight.grad.abs().max() > 0.1  # of the published one it is zero


# -- without the graph -----------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [True, False])
def test_without_steps_it_is_the_plain_classifier(residual) -> None:
    head = KGTN(5, 2, [PAIR], steps=0, residual=residual)
    x = torch.randn(7, 5)
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    assert torch.equal(head(x), x @ head.weight.T)


def test_what_the_graph_says_is_added_to_the_plain_weights() -> None:
    head = KGTN(5, 2, [PAIR])
    with torch.no_grad():
        head.parts[0].output.weight.zero_()
        head.parts[0].output.bias.copy_(torch.arange(5.0))
    assert torch.equal(head.class_weights()[0], head.weight + torch.arange(5.0))


def test_a_class_hears_its_neighbors_and_no_other() -> None:
    head = KGTN(3, 5, [[[0, 1, 1.0], [2, 3, 1.0]]]).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_()
    grad = torch.autograd.grad(head.class_weights()[0][1].sum(), head.weight)[0]
    assert grad.abs().sum(1).gt(0).tolist() == [True, True, False, False, False]


def test_scores_by_hand() -> None:
    weight, x = torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    expected = {"inner": [8.0, 0.0], "cosine": [1.6, 0.0], "pearson": [2.0, -2.0]}
    for classifier, scores in expected.items():
        head = KGTN(2, 2, [PAIR], steps=0, classifier=classifier, scale=2)
        with torch.no_grad():
            head.weight.copy_(weight)
        torch.testing.assert_close(head(x), torch.tensor([scores]))


# -- classes with few samples ----------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_classes_with_few_samples_send_no_messages(steps) -> None:
    pairs = [[i, j, 0.5] for i in range(6) for j in range(6) if i != j]
    few = torch.tensor([True, True, True, False, False, False])
    head = KGTN(3, 6, [pairs], steps=steps, classifier="cosine", metric=True).double()
    closed = Shrinkage(3, 6, [pairs]).double()
    x = torch.randn(18, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    head.start(closed.fit(x, torch.arange(6).repeat(3)), few)
    for parameter in head.parts.parameters():
        torch.nn.init.normal_(parameter)
    for i in range(6):
        (grad,) = torch.autograd.grad(head.class_weights()[0][i].sum(), head.weight)
        reached = grad.abs().sum(1) > 0
        own = torch.arange(6) == i
        expected = (own | ~few) if few[i] else own  # a class with many samples keeps its weights
        assert torch.equal(reached, expected), i


def test_states_of_older_run_folders_are_loaded_under_their_former_names() -> None:
    head, other = KGTN(5, 2, [PAIR]), KGTN(5, 2, [PAIR])
    former = {"sends": "speaks", "receives": "listens"}
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    head.sends.fill_(0.5)
    state = {
        former.get(name, name.replace(".messages.", ".heard.")): value
        for name, value in head.state_dict().items()
    }
    assert "parts.0.update.heard.weight" in state and "speaks" in state
    torch.nn.ModuleDict({"head": other}).load_state_dict({f"head.{k}": v for k, v in state.items()})
    x = torch.randn(7, 5)
    assert torch.equal(other(x), head(x))


# -- several graphs --------------------------------------------------------------------------------


@pytest.mark.parametrize("combine", ["mean", "max"])
def test_several_graphs_vote_with_their_scores(combine) -> None:
    graphs = [PAIR, [[0, 0, 2.0]], []]
    head = KGTN(5, 2, graphs, combine=combine)
    for parameter in head.parts.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(7, 5)
    alone = torch.stack([x @ weight.T for weight in head.class_weights()])
    expected = alone.mean(0) if combine == "mean" else alone.max(0).values
    torch.testing.assert_close(head(x), expected)
    assert alone.std(0).min() > 0


def test_one_graph_twice_with_the_same_parameters_is_that_graph() -> None:
    one, two = KGTN(5, 2, [PAIR]), KGTN(5, 2, [PAIR, PAIR])
    state = one.state_dict()
    twin = {name.replace("parts.0", "parts.1"): value for name, value in state.items()}
    two.load_state_dict({**state, **twin})
    x = torch.randn(7, 5)
    torch.testing.assert_close(two(x), one(x))
    torch.testing.assert_close(two.regularizer(), one.regularizer())


# -- what comes in ---------------------------------------------------------------------------------


def test_a_graph_becomes_an_option_that_a_run_folder_can_hold() -> None:
    matrix = torch.tensor([[0.0, 0.3], [0.7, 2.0]], dtype=torch.float64)
    head = KGTN(5, 2, graph_of(matrix), classifier="cosine")
    spec = json.loads(json.dumps(HEADS.spec(head)))
    again = HEADS.build(spec, 5, 2)
    again.load_state_dict(head.state_dict())
    x = torch.randn(7, 5)
    assert torch.equal(head(x), again(x))
    assert spec["graphs"] == [[[1, 0, 0.3], [0, 1, 0.7], [1, 1, 2.0]]]


def test_edges_without_weights_weigh_one() -> None:
    plain = Graph(torch.tensor([0]), torch.tensor([1]), 2)
    assert KGTN(5, 2, plain).arguments["graphs"] == [[[0, 1, 1.0]]]


def test_thousands_of_classes_need_no_matrix_of_all_pairs() -> None:
    ring = torch.arange(6007)
    head = KGTN(8, 6007, Graph(ring, (ring + 1) % 6007, 6007))
    head(torch.randn(3, 8)).sum().backward()
    assert head.weight.grad.shape == (6007, 8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": -1}, ConfigError, "`steps` is -1"),
        ({"classifier": "euclid"}, ConfigError, "`classifier` is 'euclid'"),
        ({"scale": 0.0}, ConfigError, "`scale` is 0.0"),
        ({"combine": "sum"}, ConfigError, "`combine` is 'sum'"),
        ({"graphs": []}, ConfigError, "`graphs` is empty"),
        ({"graphs": [Graph(torch.tensor([0]), torch.tensor([1]), 3)]}, ShapeError, "3 nodes"),
        ({"graphs": PAIR}, DataError, "several graphs are a list"),
        ({"graphs": [[[0, 1]]]}, DataError, r"\[src, dst, weight\]"),
        ({"graphs": [[[0, 1], [1, 0], [1, 1]]]}, DataError, "an edge has other than three"),
        ({"graphs": gtl.CategoryGraph.identity(2)}, ConfigError, r"a CategoryGraph.*`graph\(\)`"),
        ({"graphs": [[[0, 0.5, 1.0]]]}, DataError, "not a whole number"),
        ({"graphs": [[[0, 2, 1.0]]]}, DataError, "out of range"),
        ({"graphs": [[[0, 1, float("nan")]]]}, DataError, "is nan"),
    ],
)
def test_what_cannot_be_used_is_named(options, error, message) -> None:
    with pytest.raises(error, match=message):
        KGTN(5, 2, **{"graphs": [PAIR], **options})


def test_an_edge_has_one_weight() -> None:
    two = Graph(torch.tensor([0]), torch.tensor([1]), 2, e=torch.ones(1, 2))
    with pytest.raises(ShapeError, match="one weight per edge"):
        KGTN(5, 2, two)


def test_a_run_folder_brings_it_back_with_its_graph(communities, tmp_path) -> None:
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    head = KGTN(8, 3, graph, classifier="cosine")
    encoder = {"name": "gcn", "width": 8}
    folder = tmp_path / "run"
    model = gtl.finetune(encoder, communities, head=head, epochs=2, seed=0, out=folder)
    again = gtl.Model.load(folder)
    assert torch.equal(gtl.predict(model, communities), gtl.predict(again, communities))
