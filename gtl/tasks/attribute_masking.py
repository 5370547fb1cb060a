"""Attribute masking: tell hidden features from their surroundings (Hu et al. 2020, 3.1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.sample import draw_rows
from gtl.roles import Task, View
from gtl.tasks.ready import first_setup, made, require_share

_NO_FEATURES = (
    "attribute masking needs node features, the graphs have none; add some (such as degrees) or "
    "leave this task out"
)


class AttributeMasking(Task):
    """Hides the features of some nodes and predicts them from the vectors of these nodes.

    One sample is a masked node. All its columns are hidden: a categorical one by its code for
    *masked*, floating ones by zeros. For categorical features the loss is the mean cross-entropy
    over ``columns``. For floating features it is one minus the cosine between prediction and
    truth, in ``[0, 2]``: unlike a squared error it depends neither on the unit nor on the number of
    features, so its size compares with that of a cross-entropy, and unlike minus the cosine
    (Hu et al. 2020b, GPT-GNN) it is never negative, which a weighting that reads losses needs. A
    node whose features are all zero has no direction: its loss is 1 and it has no gradient.

    Args:
        rate: Share of the nodes of a batch that is masked, in ``(0, 1]``; at least one node.
        columns: Categorical columns to predict, ``None`` for all. The default is the first, as
            published, where it is the kind of atom. Floating features are predicted whole.

    Raises:
        ConfigError: If ``rate`` is out of range.

    Example:
        >>> graph = Graph(torch.tensor([0]), torch.tensor([1]), 2, x=torch.tensor([[0], [1]]))
        >>> task = AttributeMasking(rate=1.0)
        >>> task.setup(Schema.of(graph), width=4)
        >>> task.view(graph, torch.Generator()).graph.x.flatten().tolist()
        [2, 2]
    """

    def __init__(self, rate: float = 0.15, columns: Sequence[int] | None = (0,)):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.columns = None if columns is None else tuple(columns)
        self.features: Columns | None = None
        self.decoder: nn.Linear | None = None

    def setup(self, schema: Schema, width: int) -> None:
        """Make the decoder: a linear map to the categories of ``columns`` or to the features.

        Raises:
            ConfigError: If nodes have no features, ``columns`` are not among them, or the task was
                set up before for other sizes.
        """
        features = schema.node
        if features is None or features.width == 0:
            raise ConfigError(_NO_FEATURES)
        if features.categories is not None:
            self._require_columns(features.width)
        if first_setup(self, features=features, width=width):
            self.features = features
            self.decoder = nn.Linear(width, sum(self._outputs()))

    def view(self, graph: Graph, rng: torch.Generator) -> View:
        """The graph with a random share of its nodes masked; its structure is shared.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
            ShapeError: If the features are not of the kind it was set up for.
        """
        x = self._features_of(graph)
        nodes = draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        masked = x.clone()
        masked[nodes] = self._mask(x)
        view = graph.replace(x=masked)
        return View(view, {"nodes": nodes, "features": x.index_select(0, nodes)})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node, ``(b,)``."""
        decoder = made(self, self.decoder)
        predicted = decoder(nodes.index_select(0, view.targets["nodes"]))  # (b, outputs)
        truth = view.targets["features"]
        if truth.is_floating_point():
            return 1 - F.cosine_similarity(predicted, truth.to(predicted.dtype), dim=1)
        parts = predicted.split(self._outputs(), dim=1)
        losses = [
            F.cross_entropy(part, truth[:, column], reduction="none")
            for part, column in zip(parts, self._predicted())
        ]
        return torch.stack(losses).mean(0)

    def _predicted(self) -> Sequence[int]:
        features = made(self, self.features)
        return range(features.width) if self.columns is None else self.columns

    def _outputs(self) -> list[int]:
        features = made(self, self.features)
        if features.categories is None:
            return [features.width]
        return [features.categories[column] for column in self._predicted()]

    def _mask(self, x: Tensor) -> Tensor:
        categories = made(self, self.features).categories or [0] * x.shape[1]
        return torch.tensor(categories, dtype=x.dtype, device=x.device)

    def _features_of(self, graph: Graph) -> Tensor:
        built = made(self, self.features)
        x = graph.x
        if x is None:
            raise ConfigError(_NO_FEATURES)
        if x.shape[1] != built.width:
            raise ShapeError(
                f"`x` has {x.shape[1]} columns, attribute masking was set up for {built.width}; "
                "use data prepared in the same way"
            )
        if x.is_floating_point() != (built.categories is None):
            kind = "categorical" if built.categories is not None else "floating"
            raise ShapeError(
                f"`x` is {x.dtype}, attribute masking was set up for {kind} features; "
                "use data prepared in the same way"
            )
        return x

    def _require_columns(self, width: int) -> None:
        for column in self.columns or ():
            if not 0 <= column < width:
                raise ConfigError(
                    f"`columns` names column {column}, expected columns in 0..{width - 1}"
                )
        if self.columns is not None and not self.columns:
            raise ConfigError("`columns` is empty; name at least one column, or None for all")
