"""The weighting network: a perceptron from a sample's loss and task to its weight.

Han et al. 2021 (AUX-TS); Shu et al. 2019 (Meta-Weight-Net) for the idea.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError, ShapeError

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "softplus": nn.Softplus}


class WeightNetwork(nn.Module):
    """One hidden layer, ``v = act(W2 relu(W1 xi + b1) + b2)``, shared by all tasks.

    Args:
        inputs: Columns of the features.
        hidden: Width of the hidden layer.
        activation: ``"sigmoid"`` or ``"softplus"``: weights must be positive, since they are
            divided by their mean.

    Raises:
        ConfigError: If the activation is neither.
    """

    def __init__(self, inputs: int, hidden: int = 100, activation: str = "sigmoid"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ConfigError(
                f"`activation` is {activation!r}, expected one of {tuple(ACTIVATIONS)}"
            )
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, 1)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: Tensor) -> Tensor:
        """Weights ``(b,)``, positive, of samples with features ``(b, inputs)``."""
        # With the weights of a linear map as they are stored, torch would compute their gradient
        # as a product of unsuitable shapes, at five times the time.
        matrix = self.hidden.weight.t().contiguous()
        hidden = torch.relu(torch.addmm(self.hidden.bias, features, matrix))
        weights: Tensor = self.activation(self.output(hidden))
        return weights.squeeze(1)


def sample_features(
    losses: Mapping[str, Tensor], tasks: Sequence[str], consistency: Sequence[float]
) -> Tensor:
    """Inputs of the network for each sample: its loss, its task, every task's consistency.

    Departure from the paper: the loss enters as ``sign(l) log(1 + |l|)``, where the paper has
    ``l``. Both are alike for small losses, but a loss of a thousand would saturate the sigmoid.

    Args:
        losses: Losses ``(b_k,)`` by task.
        tasks: Names of all ``t`` tasks; decide the one-hot columns.
        consistency: Cosines that are inputs for every sample, ``c`` numbers.

    Returns:
        Features ``(b, 1 + t + c)`` of the samples of all tasks one after the other, detached.

    Raises:
        ShapeError: If losses are not one number per sample.
    """
    blocks = []
    for name, values in losses.items():
        if values.dim() != 1:
            raise ShapeError(
                f'`losses["{name}"]` has shape {tuple(values.shape)}, expected one loss per '
                "sample, (b,); squeeze the last axis"
            )
        values = values.detach()
        constant = [*(float(name == task) for task in tasks), *consistency]
        block = values.new_empty(len(values), 1 + len(constant))
        block[:, 0] = values.sign() * values.abs().log1p()
        block[:, 1:] = values.new_tensor(constant)
        blocks.append(block)
    return torch.cat(blocks)  # (b, 1 + t + c)
