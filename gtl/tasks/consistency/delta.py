"""DELTA: features stay near the source's where the target needs them (Li et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from gtl.graph import Schema
from gtl.roles import Batch, View
from gtl.tasks.consistency.source import Source
from gtl.tasks.items import item_vectors, labeled_inputs
from gtl.tasks.model_task import ModelTask


class Delta(ModelTask):
    """Holds columns of the item vectors near the source's, the more the target needs them.

    One sample is a labeled item; the loss is the mean over columns of the squared difference to the
    vector of the encoder as it was before training, each column weighted. The weight of a column
    comes from the source's vectors in the first step: the softmax over columns of the rise of the
    target's mean loss when the column is set to zero, times the number of columns. With a head
    that starts at random it says little: give ``head_start="fitted"`` or ``"imprinted"``.

    Here it departs from the paper, which compares the feature maps of several layers.

    Args:
        sharpness: What the rise of the loss is multiplied by before the softmax; 0 weighs all
            columns alike.
        warmup: Steps over which the losses rise linearly to their full size.
    """

    weights: Tensor
    found: Tensor
    uses_unlabeled: ClassVar[bool] = False
    divisible: ClassVar[bool] = False

    def __init__(self, sharpness: float = 10.0, warmup: int = 0):
        super().__init__(warmup)
        self.sharpness = sharpness
        self.source = Source()

    def prepare(self, schema: Schema, width: int) -> None:
        """Make room for the weights of the columns."""
        self.register_buffer("weights", torch.ones(width))
        self.register_buffer("found", torch.zeros((), dtype=torch.bool))

    def begin(self, encoder: nn.Module) -> None:
        """Keep the source."""
        self.source.begin(encoder)
        self.found.zero_()

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph itself, the source's vectors, and the weights of the columns."""
        inputs = labeled_inputs(batch)
        nodes = self.source.nodes(self.encoder, inputs.graph)
        if not self.found and batch.graph.y is not None and nodes.numel():
            self._weigh(nodes, View(batch.graph, {"y": batch.graph.y}))
        found = {"items": inputs.items, "known": inputs.vectors(nodes)}
        return View(inputs.graph, {**found, "weights": self.weights.clone(), "factor": self.factor})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each labeled item, ``(b,)``."""
        found = view.targets
        change = item_vectors(found["items"], nodes) - found["known"].to(nodes)
        each = (change.square() * found["weights"].to(nodes)).mean(1)
        return each * found["factor"].to(nodes)

    @torch.no_grad()
    def _weigh(self, nodes: Tensor, view: View) -> None:
        target = self.target
        if not bool(target.labeled(view).any()):
            return
        modes = {part: part.training for part in self.predictor.modules()}
        self.predictor.eval()
        before, rises = target.losses(nodes, view).mean(), []
        for column in range(nodes.shape[1]):
            without = nodes.clone()
            without[:, column] = 0
            rises.append(target.losses(without, view).mean() - before)
        for part, mode in modes.items():
            part.training = mode
        shares = torch.softmax(self.sharpness * torch.stack(rises), 0)
        self.weights.copy_(shares * len(shares))
        self.found.fill_(True)
