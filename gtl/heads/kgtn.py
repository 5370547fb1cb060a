"""KGTN: a classifier whose weights are computed along graphs of related classes.

The knowledge graph transfer network (Chen et al. 2020) runs a gated graph network over a graph of
classes and reads the classifier's weights off its last state; with several graphs, each runs one
and their scores are combined (KGTN-ens, Filipiak et al. 2024).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Graph, ops
from gtl.heads.class_graph import Graphs, as_triples, edge_weights, graphs_of_classes
from gtl.heads.shrinkage import Shrinkage
from gtl.roles import Head

CLASSIFIERS = ("inner", "cosine", "pearson")
_COMBINE = ("mean", "max")
_TINY = 1e-12  # added to a squared length: keeps a zero vector, and its gradient, finite
# Names in states of older run folders, and what they are called now.
_FORMER = {"speaks": "sends", "listens": "receives", ".heard.": ".messages."}


class KGTN(Head):
    """A classifier whose weights pass messages along graphs of classes.

    There is no bias per class, as published. With ``steps=0`` it is the plain classifier.

    Trained together with the rest, as published, weights of classes with few samples are free to
    memorize them, and the graph is not used (``benchmarks/category_graph_pays.py``).
    :func:`gtl.fewshot.kgtn_episodes.train_by_episodes` starts at a closed form instead and trains
    on pseudo-novel classes, base classes of which few samples are used.

    Args:
        width: Columns of the features ``d``.
        outputs: Number of classes ``c``.
        graphs: One graph of ``c`` nodes, or a list. An edge from ``j`` to ``i`` has the weight of
            the messages that class ``i`` receives from ``j``; messages are also passed back along
            it, with the same weight. A graph is a :class:`gtl.Graph` with the weights in ``e`` (1
            if there is none), or plain: a list of ``[src, dst, weight]``.
        steps: Rounds of message passing.
        classifier: ``"inner"`` product of features and weights, or ``scale`` times their
            ``"cosine"`` or ``"pearson"`` correlation.
        scale: Initial factor of the last two; it is learned.
        residual: Add the output of the graph network to the plain weights. If false, its output
            takes their place, as published, and a class without neighbors changes too.
        combine: ``"mean"`` or ``"max"`` of the scores by several graphs.
        decay: Factor of :meth:`regularizer` in :meth:`penalty`, 0.001 in the paper.
        metric: Center and map the features, as :meth:`start` sets.

    Attributes:
        sends: Factor of the messages that each class sends, ``(c,)``; 1 at first.
        receives: Factor of the change of each class's weights by messages, ``(c,)``; 1 at first.

    Raises:
        ConfigError: If an option is outside its range, or there is no graph.
        ShapeError: If a graph has other than ``outputs`` nodes or other than one weight an edge.
        DataError: If an end of an edge is no class or its weight is not a finite number.

    Example:
        >>> head = KGTN(8, 3, graphs=[[[0, 1, 0.5], [1, 0, 0.5]]])
        >>> head(torch.randn(5, 8)).shape
        torch.Size([5, 3])
    """

    sends: Tensor
    receives: Tensor
    center: Tensor
    map: Tensor

    def __init__(
        self,
        width: int,
        outputs: int,
        graphs: Graphs,
        steps: int = 2,
        classifier: str = "inner",
        scale: float = 10.0,
        residual: bool = True,
        combine: str = "mean",
        decay: float = 1e-3,
        metric: bool = False,
    ):
        super().__init__()
        _require_options(steps, classifier, scale, combine, decay)
        self._graphs = graphs_of_classes(graphs, outputs)
        # A graph is no plain option; as triples it can be stored in a run folder.
        self.arguments["graphs"] = [as_triples(graph) for graph in self._graphs]
        self.classifier, self.residual, self.combine = classifier, residual, combine
        self.decay, self.metric = decay, metric
        self.weight = nn.Parameter(torch.randn(outputs, width) * (2 / width) ** 0.5)
        self.parts = nn.ModuleList(Propagation(width, steps) for _ in self._graphs if steps)
        if classifier != "inner":
            self.scale = nn.Parameter(torch.tensor(float(scale)))
        self.register_buffer("sends", torch.ones(outputs))
        self.register_buffer("receives", torch.ones(outputs))
        if metric:
            self.register_buffer("center", torch.zeros(width))
            self.register_buffer("map", torch.eye(width))
        self._register_load_state_dict_pre_hook(_rename_former)

    def start(self, shrinkage: Shrinkage, few: Tensor) -> KGTN:
        """Take over the class vectors and the map of the features of a fitted head ``shrinkage``.

        The propagation then adds nothing until it is trained. Classes with few samples receive
        messages and send none, since their vectors are mostly noise; the others send and keep
        their weights.

        Args:
            shrinkage: A fitted head, of the same width and classes.
            few: Which classes have few samples, boolean ``(c,)``.

        Returns:
            The head.

        Raises:
            ConfigError: If the head has no map of the features, or no cosines.
        """
        if not self.metric or self.classifier != "cosine" or not self.residual:
            raise ConfigError(
                "only a head with metric=True, classifier='cosine' and residual=True can start "
                "from another one"
            )
        state = started(shrinkage, few)
        with torch.no_grad():
            self.weight.copy_(state.pop("weight"))
            for name, value in state.items():
                getattr(self, name).copy_(value)
            for parameter in self.parts.parameters():
                parameter.zero_()
        return self

    def class_weights(self) -> list[Tensor]:
        """Class weights computed with each graph, not normalized, each ``(c, d)``."""
        if not len(self.parts):
            return [self.weight]
        device = self.weight.device
        self._graphs = [graph.to(device) for graph in self._graphs]
        out = [part(g, self.weight, self.sends) for part, g in zip(self.parts, self._graphs)]
        factor = self.receives.unsqueeze(1)
        return [self.weight + factor * change for change in out] if self.residual else out

    def regularizer(self) -> Tensor:
        """Squared length ``()`` of all class weights, the mean over graphs.

        The published code takes it of the normalized weights where scores are cosines; that is
        the constant ``c`` and has no gradient. The paper multiplies it by 0.001.
        """
        return torch.stack([weight.square().sum() for weight in self.class_weights()]).mean()

    def penalty(self) -> Tensor:
        """What loops add to the loss, ``()``."""
        return self.decay * self.regularizer()

    def forward(self, features: Tensor) -> Tensor:
        """Logits ``(b, outputs)`` of features ``(b, width)``."""
        if self.metric:
            features = (features - self.center) @ self.map
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
    """Gated propagation of class vectors, and a map from states to weights (Chen et al. 2020).

    The gates start at zero and the map close to it, as published: the first state is halved in
    each step.

    Args:
        width: Columns of the class vectors ``d``.
        steps: Rounds of message passing.
    """

    def __init__(self, width: int, steps: int):
        super().__init__()
        self.steps = steps
        self.update, self.reset, self.change = (Gate(width) for _ in range(3))
        self.output = nn.Linear(2 * width, width)
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    def states(self, graph: Graph, h: Tensor, sends: Tensor | None = None) -> list[Tensor]:
        """Class vectors before the first step and after each, each ``(c, d)``.

        Args:
            graph: Of the classes.
            h: Their vectors.
            sends: Factor of the messages that each class sends, ``(c,)``; 1 by default.
        """
        weight = edge_weights(graph).to(h.dtype)
        back = graph.remember("reverse", graph.reverse)
        states = [h]
        for _ in range(self.steps):
            sent = h if sends is None else sends.unsqueeze(1) * h
            sums = [ops.weighted_sum_neighbors(way, sent, weight) for way in (graph, back)]
            a = torch.cat(sums, 1)  # (c, 2d)
            update = torch.sigmoid(self.update(a, h))
            reset = torch.sigmoid(self.reset(a, h))
            h = (1 - update) * h + update * torch.tanh(self.change(a, reset * h))
            states.append(h)
        return states

    def forward(self, graph: Graph, h: Tensor, sends: Tensor | None = None) -> Tensor:
        """Weights ``(c, d)`` computed from the plain ones along the graph."""
        return self.output(torch.cat([self.states(graph, h, sends)[-1], h], 1))


class Gate(nn.Module):
    """A linear map of the messages to a class and of its own vector; zero at first.

    Args:
        width: Columns of the class vectors ``d``.
    """

    def __init__(self, width: int):
        super().__init__()
        self.messages = nn.Linear(2 * width, width, bias=False)
        self.own = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.messages.weight)
        nn.init.zeros_(self.own.weight)

    def forward(self, messages: Tensor, own: Tensor) -> Tensor:
        """Values ``(c, d)`` of messages ``(c, 2d)`` and the classes' own vectors ``(c, d)``."""
        return self.messages(messages) + self.own(own)


def started(shrinkage: Shrinkage, few: Tensor) -> dict[str, Tensor]:
    """The values that :meth:`KGTN.start` sets, for :func:`torch.func.functional_call`."""
    receives = few.to(shrinkage.vectors)
    return {
        "weight": _unit(shrinkage.vectors),
        "center": shrinkage.center,
        "map": shrinkage.map,
        "sends": 1 - receives,
        "receives": receives,
    }


def _rename_former(state: dict[str, Any], prefix: str, *_: object) -> None:
    """Rename entries of a state from before, in place: a hook of ``load_state_dict``."""
    for key in [key for key in state if key.startswith(prefix)]:
        name = key[len(prefix) :]
        for former, now in _FORMER.items():
            name = now if name == former else name.replace(former, now) if "." in former else name
        state[prefix + name] = state.pop(key)


def _unit(rows: Tensor) -> Tensor:
    return rows * (rows.square().sum(1, keepdim=True) + _TINY).rsqrt()


def _require_options(steps: int, classifier: str, scale: float, combine: str, decay: float) -> None:
    if steps < 0:
        raise ConfigError(f"`steps` is {steps}, expected 0 or more")
    if classifier not in CLASSIFIERS:
        raise ConfigError(f"`classifier` is {classifier!r}, expected one of {CLASSIFIERS}")
    if not 0 < scale < float("inf"):
        raise ConfigError(f"`scale` is {scale}, expected a positive number")
    if combine not in _COMBINE:
        raise ConfigError(f"`combine` is {combine!r}, expected one of {_COMBINE}")
    if not 0 <= decay < float("inf"):
        raise ConfigError(f"`decay` is {decay}, expected 0 or more")
