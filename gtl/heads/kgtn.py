"""Classifier weights that listen to related classes: without it, a class with few samples is alone.

The knowledge graph transfer network (Chen et al. 2020) runs a gated graph network over a graph of
classes and reads the classifier's weights off its last state; with several graphs, each runs one
and their scores are combined (KGTN-ens, Filipiak et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph, ops
from gtl.roles import Head

CLASSIFIERS = ("inner", "cosine", "pearson")
_COMBINE = ("mean", "max")
_TINY = 1e-12  # beside a squared length: keeps a zero vector, and its gradient, finite
Triples = Sequence[Sequence[float]]


class KGTN(Head):
    """A classifier whose weights pass messages along graphs of classes.

    There is no bias per class, as published. With ``steps=0`` it is the plain classifier. A loop of
    your own may add :meth:`regularizer` to its loss; gtl's loops leave it aside.

    Args:
        width: Columns of the features ``d``.
        outputs: Number of classes ``c``.
        graphs: One graph of ``c`` nodes, or a list. An edge from ``j`` to ``i`` weighs what class
            ``i`` hears from ``j``; messages flow back along it with the same weight. A graph is a
            :class:`gtl.Graph` with the weights in ``e`` (1 if there is none), or plain: a list of
            ``[src, dst, weight]``.
        steps: How often messages are passed.
        classifier: ``"inner"`` product of features and weights, or ``scale`` times their
            ``"cosine"`` or ``"pearson"`` correlation.
        scale: Of the last two, to begin with; it is learned.
        residual: Add what the graph says to the plain weights. Without it the weights are what
            the output map makes of them, as published, and a class without neighbors changes too.
        combine: ``"mean"`` or ``"max"`` of the scores by several graphs.

    Raises:
        ConfigError: If an option is outside its range, or there is no graph.
        ShapeError: If a graph has other than ``outputs`` nodes or other than one weight an edge.
        DataError: If an edge leads nowhere or its weight is not a finite number.

    Example:
        >>> head = KGTN(8, 3, graphs=[[[0, 1, 0.5], [1, 0, 0.5]]])
        >>> head(torch.randn(5, 8)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        graphs: Graph | Sequence[Graph | Triples],
        steps: int = 2,
        classifier: str = "inner",
        scale: float = 10.0,
        residual: bool = True,
        combine: str = "mean",
    ):
        super().__init__()
        _require_options(steps, classifier, scale, combine)
        given = [graphs] if isinstance(graphs, Graph) else list(graphs)
        if not given:
            raise ConfigError("`graphs` is empty; give one graph of the classes or more")
        self._graphs = [_graph_of_classes(graph, outputs) for graph in given]
        # A graph is no plain option; as triples a run folder can remember it.
        self.arguments["graphs"] = [_triples(graph) for graph in self._graphs]
        self.classifier, self.residual, self.combine = classifier, residual, combine
        self.weight = nn.Parameter(torch.randn(outputs, width) * (2 / width) ** 0.5)
        self.parts = nn.ModuleList(Propagation(width, steps) for _ in self._graphs if steps)
        if classifier != "inner":
            self.scale = nn.Parameter(torch.tensor(float(scale)))

    def class_weights(self) -> list[Tensor]:
        """The weights that each graph makes of the plain ones, not normalized, each ``(c, d)``."""
        if not len(self.parts):
            return [self.weight]
        device = self.weight.device
        self._graphs = [graph.to(device) for graph in self._graphs]
        told = [part(graph, self.weight) for part, graph in zip(self.parts, self._graphs)]
        return [self.weight + more for more in told] if self.residual else told

    def regularizer(self) -> Tensor:
        """Squared length ``()`` of all class weights, the mean over graphs.

        The published code takes it of the normalized weights where scores are cosines; that is
        the constant ``c`` and regularizes nothing. The paper multiplies it by 0.001.
        """
        return torch.stack([weight.square().sum() for weight in self.class_weights()]).mean()

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, outputs)`` of features ``(b, width)``."""
        scores = [self._scores(features, weight) for weight in self.class_weights()]
        if len(scores) == 1:
            return scores[0]
        stacked = torch.stack(scores)  # (graphs, b, c)
        return stacked.mean(0) if self.combine == "mean" else stacked.amax(0)

    def _scores(self, features: Tensor, weight: Tensor) -> Tensor:
        if self.classifier == "inner":
            return features @ weight.T
        if self.classifier == "pearson":
            features = features - features.mean(1, keepdim=True)
            weight = weight - weight.mean(1, keepdim=True)
        return self.scale * (_unit(features) @ _unit(weight).T)


class Propagation(nn.Module):
    """Gated propagation of class vectors and the map that reads weights off it (Chen et al. 2020).

    The gates begin at zero and the map close to it, as published: the first state is halved in
    each step.

    Args:
        width: Columns of the class vectors ``d``.
        steps: How often messages are passed.
    """

    def __init__(self, width: int, steps: int):
        super().__init__()
        self.steps = steps
        self.update, self.reset, self.change = (Gate(width) for _ in range(3))
        self.output = nn.Linear(2 * width, width)
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    def states(self, graph: Graph, h: Tensor) -> list[Tensor]:
        """Class vectors before the first step and after each, each ``(c, d)``."""
        weight = _weights(graph).to(h.dtype)
        back = graph.remember("reverse", graph.reverse)
        states = [h]
        for _ in range(self.steps):
            heard = [ops.weighted_sum_neighbors(way, h, weight) for way in (graph, back)]
            a = torch.cat(heard, 1)  # (c, 2d)
            update = torch.sigmoid(self.update(a, h))
            reset = torch.sigmoid(self.reset(a, h))
            h = (1 - update) * h + update * torch.tanh(self.change(a, reset * h))
            states.append(h)
        return states

    def forward(self, graph: Graph, h: Tensor) -> Tensor:
        """What the graph says the weights ``(c, d)`` should be, of those without it."""
        return self.output(torch.cat([self.states(graph, h)[-1], h], 1))


class Gate(nn.Module):
    """A linear map of what a class hears and of its own vector; zero to begin with.

    Args:
        width: Columns of the class vectors ``d``.
    """

    def __init__(self, width: int):
        super().__init__()
        self.heard = nn.Linear(2 * width, width, bias=False)
        self.own = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.heard.weight)
        nn.init.zeros_(self.own.weight)

    def forward(self, heard: Tensor, own: Tensor) -> Tensor:
        """Values ``(c, d)`` of what is heard ``(c, 2d)`` and one's own ``(c, d)``."""
        return self.heard(heard) + self.own(own)


def _unit(rows: Tensor) -> Tensor:
    return rows * (rows.square().sum(1, keepdim=True) + _TINY).rsqrt()


def _weights(graph: Graph) -> Tensor:
    return torch.ones_like(graph.src) if graph.e is None else graph.e[:, 0]


def _triples(graph: Graph) -> list[list[float]]:
    edges = zip(graph.src.tolist(), graph.dst.tolist(), _weights(graph).tolist())
    return [[src, dst, weight] for src, dst, weight in edges]


def _graph_of_classes(given: Graph | Triples, classes: int) -> Graph:
    """Only what is needed of a graph, made of triples if it is no Graph yet; checked."""
    graph = given if isinstance(given, Graph) else _from_triples(given, classes)
    if graph.num_nodes != classes:
        raise ShapeError(
            f"`graphs` has one of {graph.num_nodes} nodes, expected {classes}, one per class"
        )
    if graph.e is not None and graph.e.shape[1] != 1:
        raise ShapeError(
            f"`e` of a graph of classes has shape {tuple(graph.e.shape)}, expected (m, 1), one "
            "weight per edge"
        )
    weight = _weights(graph).double().unsqueeze(1).detach()
    return Graph(graph.src, graph.dst, classes, e=weight).validate()


def _from_triples(triples: Triples, classes: int) -> Graph:
    try:
        table = torch.tensor([list(row) for row in triples], dtype=torch.float64).reshape(-1, 3)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            "`graphs` has something that is neither a Graph nor a list of [src, dst, weight]: "
            f"{error}; several graphs are a list of such lists, and one is too"
        ) from error
    if (table[:, :2] != table[:, :2].round()).any():
        raise DataError("`graphs` has an edge whose end is not a whole number")
    src, dst = table[:, :2].long().unbind(1)
    return Graph(src.contiguous(), dst.contiguous(), classes, e=table[:, 2:])


def _require_options(steps: int, classifier: str, scale: float, combine: str) -> None:
    if steps < 0:
        raise ConfigError(f"`steps` is {steps}, expected 0 or more")
    if classifier not in CLASSIFIERS:
        raise ConfigError(f"`classifier` is {classifier!r}, expected one of {CLASSIFIERS}")
    if not 0 < scale < float("inf"):
        raise ConfigError(f"`scale` is {scale}, expected a positive number")
    if combine not in _COMBINE:
        raise ConfigError(f"`combine` is {combine!r}, expected one of {_COMBINE}")
