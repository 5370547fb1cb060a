"""Ensemble of fine-tuned models (Lakshminarayanan et al. 2017): mean as prediction, spread as
uncertainty.

It is used like any :class:`gtl.Model`: encoders run side by side, each head reads the columns of
its own encoder, and the predictions are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Encoder
from gtl.run_folder import MEMBERS, RunFolder
from gtl.tasks import Supervised
from gtl.train.model import Model, Predictor, write_model


class Predictions(NamedTuple):
    """Predictions of an ensemble, both ``(items, c)``, on the CPU.

    Attributes:
        mean: Mean of the members' predictions: probabilities, or values in the unit of the labels.
        std: Standard deviation of the members' predictions.
    """

    mean: Tensor
    std: Tensor


class Ensemble(Model):
    """Models with equal outputs, trained with different seeds.

    Args:
        members: Two or more models.

    Attributes:
        members: The models.

    Raises:
        ConfigError: If there are fewer than two.
    """

    def __init__(self, members: Iterable[Model]):
        nn.Module.__init__(self)
        self.members = nn.ModuleList(members)
        if len(self.members) < 2:
            raise ConfigError(f"an ensemble has two members or more, not {len(self.members)}")
        first = self.models[0]
        self.labels, self.fan_out = first.labels, first.fan_out
        self.results, self.history = dict(first.results), first.history
        self.folder, self.trained_on = first.folder, first.trained_on
        # Not registered: its encoders are those of the members.
        object.__setattr__(self, "_encoder", SideBySide([m.encoder for m in self.models]))

    @property
    def models(self) -> list[Model]:
        """The members."""
        return list(self.members)  # type: ignore[arg-type]

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """All encoders, side by side."""
        encoder: Encoder = vars(self)["_encoder"]
        return encoder

    @property
    def target(self) -> Supervised:  # type: ignore[override]
        """Task of the first member: kind and number of outputs are those of all."""
        return self.models[0].target

    @property
    def predictor(self) -> Predictor:
        """Readout and head of the first member."""
        return self.models[0].predictor

    def each(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Outputs of every member ``(b, k, c)`` from the vectors of :attr:`encoder`."""
        parts = zip(self.models, self._split(nodes))
        return torch.stack([member.outputs(graph, part) for member, part in parts], 1)

    def outputs(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Logits of the mean probabilities, or mean values ``(b, c)``."""
        return mean_output(self.each(graph, nodes), str(self.target.kind))

    def features(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Item vectors of all members side by side: what the heads see."""
        parts = zip(self.models, self._split(nodes))
        return torch.cat([member.features(graph, part) for member, part in parts], 1)

    def config(self) -> dict[str, Any]:
        """Configuration of the first member, and the number of members."""
        return {**self.models[0].config(), "members": len(self.members)}

    def save(self, folder: Path | str) -> RunFolder:
        """Write a run folder: the first member in it, the others in folders below.

        Args:
            folder: A new folder.

        Raises:
            CheckpointError: If the folder holds a run already.
        """
        first, *others = self.models
        written = write_model(first, folder, len(self.members))
        for i, member in enumerate(others, 1):
            write_model(member, member_folder(folder, i))
        written.write_results(self.results)
        return written

    def _split(self, nodes: Tensor) -> Iterable[Tensor]:
        parts = nodes.split([member.encoder.width for member in self.models], 1)
        return (part.contiguous() for part in parts)


class SideBySide(Encoder):
    """Encoders of the same graphs whose vectors stand side by side.

    Args:
        encoders: Two or more.
    """

    def __init__(self, encoders: Sequence[Encoder]):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    @property
    def schema(self) -> Schema:  # type: ignore[override]
        """What graphs must look like."""
        schema: Schema = self.encoders[0].schema  # type: ignore[assignment]
        return schema

    @property
    def width(self) -> int:  # type: ignore[override]
        """Columns of all vectors together."""
        return sum(encoder.width for encoder in self.encoders)  # type: ignore[misc]

    @property
    def embed(self) -> nn.Module:  # type: ignore[override]
        """The input embedding of the first encoder."""
        return self.encoders[0].embed  # type: ignore[return-value]

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The blocks of the deepest encoder."""
        return max((encoder.blocks for encoder in self.encoders), key=len)  # type: ignore

    def layers(self, graph: Graph) -> list[Tensor]:
        """Vectors of all encoders side by side, layer by layer."""
        every = [encoder.layers(graph) for encoder in self.encoders]  # type: ignore[operator]
        return [torch.cat(parts, 1) for parts in zip(*every)]

    def forward(self, graph: Graph) -> Tensor:
        """Node vectors ``(n, width)``."""
        return torch.cat([encoder(graph) for encoder in self.encoders], 1)


def mean_output(each: Tensor, kind: str) -> Tensor:
    """Mean of outputs in the form of a single model's output.

    Args:
        each: Outputs ``(b, k, c)`` of ``k`` models: logits, or values.
        kind: ``"binary"``, ``"multiclass"`` or ``"regression"``.

    Returns:
        ``(b, c)``: mean values, or logits whose probabilities are the mean probabilities.

    Example:
        >>> logits = torch.tensor([0.9, 0.5]).logit().view(1, 2, 1)
        >>> round(float(mean_output(logits, "binary").sigmoid()), 4)
        0.7
    """
    if kind == "regression":
        return each.mean(1)
    if kind == "multiclass":
        return each.log_softmax(2).logsumexp(1) - math.log(each.shape[1])
    return logsigmoid(each).logsumexp(1) - logsigmoid(-each).logsumexp(1)


def member_folder(folder: Path | str, number: int) -> Path:
    """Run folder of a member, from number 1 on; the first one, 0, is in the run's own folder."""
    return Path(folder) / MEMBERS / str(number)
