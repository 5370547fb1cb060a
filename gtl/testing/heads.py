"""The laws of heads and readouts: each row and each graph is treated by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtl.errors import ShapeError
from gtl.graph import Graph
from gtl.roles import Head, Readout
from gtl.testing.examples import POINTS, Example
from gtl.testing.laws import (
    copied,
    generator,
    loosened,
    obey,
    require,
    require_close,
    require_finite,
    require_true_derivatives,
    same,
    values_at,
)


def check_head(
    head: Callable[[int, int], Head], width: int = 5, outputs: int = 3, skip: Collection[str] = ()
) -> None:
    """Check that a head obeys the laws of its role.

    Args:
        head: The class, or a function that makes a head of ``(width, outputs)``.
        width: Columns of the features.
        outputs: Columns of the predictions.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    obey(head, HeadTrial(head, width, outputs), HEAD_LAWS, skip)


def check_readout(
    readout: Callable[[int], Readout], width: int = 5, skip: Collection[str] = ()
) -> None:
    """Check that a readout obeys the laws of its role.

    Args:
        readout: The class, or a function that makes a readout for vectors of ``width`` columns.
        width: Columns of the node vectors.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the law, what came and what was expected.
    """
    obey(readout, ReadoutTrial(readout, width), READOUT_LAWS, skip)


@dataclass(frozen=True)
class HeadTrial:
    """A way to make heads."""

    build: Callable[[int, int], Head] = field(repr=False)
    width: int
    outputs: int

    def head(self) -> Head:
        """A fresh head, float64, zeros moved a little."""
        torch.manual_seed(5)
        head = self.build(self.width, self.outputs).double()
        loosened(head)
        return head

    def features(self, rows: int = 7) -> Tensor:
        """Random features."""
        return torch.randn(rows, self.width, generator=generator(1), dtype=torch.float64)


@dataclass(frozen=True)
class ReadoutTrial:
    """A way to make readouts."""

    build: Callable[[int], Readout] = field(repr=False)
    width: int

    def __str__(self) -> str:
        return f"vectors of {self.width} columns"

    def readout(self) -> Readout:
        """A fresh readout, float64, zeros moved a little."""
        torch.manual_seed(5)
        readout = self.build(self.width).double()
        loosened(readout)
        return readout

    def batch(self) -> Graph:
        """A batch with empty and one-node graphs."""
        return Example(POINTS).graph([3, 0, 1, 5]).replace(y=None)

    def nodes(self, graph: Graph) -> Tensor:
        """Random node vectors."""
        rng = generator(2)
        return torch.randn(graph.num_nodes, self.width, generator=rng, dtype=torch.float64)


# -- laws of heads -------------------------------------------------------------------------------


def one_prediction_per_row(trial: HeadTrial) -> None:
    """Features ``(b, h)`` give finite predictions ``(b, c)`` in their dtype, also for no rows."""
    for rows in (7, 1, 0):
        for dtype in (torch.float32, torch.float64):
            out = trial.head().to(dtype).eval()(trial.features(rows).to(dtype))
            expected = (rows, trial.outputs)
            require(out.shape == expected, f"shape {tuple(out.shape)}", f"{expected}")
            require(out.dtype == dtype, f"{out.dtype} of features in {dtype}", f"{dtype}")
            require_finite("the predictions", out)


def a_row_does_not_know_the_others(trial: HeadTrial) -> None:
    """In eval mode the prediction of a row is the same whatever other rows come with it."""
    head, features = trial.head().eval(), trial.features()
    alone = torch.cat([head(row.unsqueeze(0)) for row in features])
    require_close("a prediction", head(features), alone)


def features_stay_as_they_were(trial: HeadTrial) -> None:
    """A head leaves the features that it reads unchanged."""
    head, features = trial.head(), trial.features()
    before = features.clone()
    head(features)
    require(same(before, features), "the features changed", "no change")


def gradients_reach_everything(trial: HeadTrial) -> None:
    """The features and every parameter get a finite gradient, at zero features too."""
    for scale in (1.0, 0.0):
        head, features = trial.head(), (scale * trial.features()).requires_grad_()
        head(features).sin().sum().backward()
        for name, tensor in (("features", features), *head.named_parameters()):
            require(tensor.grad is not None, f"no gradient at `{name}`", "one")
            require_finite(f"the gradient of `{name}`", torch.as_tensor(tensor.grad))


def derivatives_are_true(trial: HeadTrial) -> None:
    """First and second derivatives by autograd agree with differences."""
    head = trial.head()

    def value(point: dict[str, Tensor]) -> Tensor:
        rest = {name: tensor for name, tensor in point.items() if name != "features"}
        return values_at(head, rest, point["features"]).sin().sum()

    point = {"features": trial.features(), **dict(head.named_parameters())}
    require_true_derivatives(value, point)


def saving_and_loading_changes_nothing(trial: HeadTrial) -> None:
    """A head loaded from another's ``state_dict`` gives the same predictions."""
    head, features = trial.head(), trial.features()
    head(features)
    loaded = copy.deepcopy(trial.head())
    with torch.no_grad():
        for tensor in loaded.parameters():
            tensor.zero_()
    loaded.load_state_dict(copied(head.state_dict()))
    one, two = head.eval()(features), loaded.eval()(features)
    require(same(one, two), "other predictions after loading", "the same predictions")


HEAD_LAWS = (
    one_prediction_per_row,
    a_row_does_not_know_the_others,
    features_stay_as_they_were,
    gradients_reach_everything,
    derivatives_are_true,
    saving_and_loading_changes_nothing,
)


# -- laws of readouts ----------------------------------------------------------------------------


def it_derives_from_readout(trial: ReadoutTrial) -> None:
    """It derives from :class:`gtl.roles.Readout`, which checks the shape of its input."""
    kind = type(trial.readout())
    parents = ", ".join(parent.__name__ for parent in kind.__bases__)
    require(issubclass(kind, Readout), f"a class derived from {parents}", "gtl.roles.Readout")


def one_vector_per_graph(trial: ReadoutTrial) -> None:
    """Each graph of a batch has one finite vector ``(width,)``, zeros for an empty graph."""
    readout, graph = trial.readout().eval(), trial.batch()
    nodes = trial.nodes(graph)
    out, expected = readout(graph, nodes), (4, readout.width)
    require(out.shape == expected, f"shape {tuple(out.shape)}", f"{expected}")
    require_finite("the graph vectors", out)
    require(not out[1].any(), f"{out[1].tolist()} for an empty graph", "zeros")
    parts = nodes.split(graph.graph_sizes().tolist())
    alone = [readout(one, part) for one, part in zip(graph.unbatch(), parts)]
    require_close("a graph's vector in a batch", out, torch.cat(alone))


def vectors_of_another_shape_are_refused(trial: ReadoutTrial) -> None:
    """One row or column too few raises a ShapeError."""
    readout, graph = trial.readout(), trial.batch()
    nodes = trial.nodes(graph)
    for wrong in (nodes[1:], nodes[:, 1:]):
        refused = False
        try:
            readout(graph, wrong)
        except ShapeError:
            refused = True
        require(refused, f"an answer to vectors of shape {tuple(wrong.shape)}", "a ShapeError")


def the_order_of_nodes_does_not_matter(trial: ReadoutTrial) -> None:
    """The nodes of a graph in another order give the same vector."""
    readout, graph = trial.readout().eval(), Example(POINTS).graph([7]).replace(y=None)
    nodes, order = trial.nodes(graph), torch.randperm(7, generator=generator(3))
    require_close("the vector", readout(graph, nodes[order]), readout(graph, nodes))


def readout_derivatives_are_true(trial: ReadoutTrial) -> None:
    """First and second derivatives by autograd agree with differences."""
    readout, graph = trial.readout(), trial.batch()

    def value(point: dict[str, Tensor]) -> Tensor:
        rest = {name: tensor for name, tensor in point.items() if name != "nodes"}
        return values_at(readout, rest, graph, point["nodes"]).sin().sum()

    require_true_derivatives(
        value, {"nodes": trial.nodes(graph), **dict(readout.named_parameters())}
    )


READOUT_LAWS = (
    it_derives_from_readout,
    one_vector_per_graph,
    vectors_of_another_shape_are_refused,
    the_order_of_nodes_does_not_matter,
    readout_derivatives_are_true,
)
