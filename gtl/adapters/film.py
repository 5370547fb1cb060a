"""FiLM: a scale and a shift for each column after each normalization, the smallest of adapters.

FiT (Shysheya et al. 2023, "FiT: Parameter efficient few-shot transfer learning for personalized and
federated image classification") learns these 2 dL numbers and nothing else (but a head's) of a
frozen network; the layer is that of Perez et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from gtl.roles import Adapter, Site, Sites


class FiLM(Adapter):
    """Feature-wise linear modulation: ``(1 + scale) * z + shift`` of every normalized ``z``.

    It acts on each normalization inside a block, before the activation, and on the output of a
    block that has none. Scales are kept as what they add to 1, so that weight decay pulls towards
    the frozen encoder. Where every normalization has weights of its own, both can be merged.

    Attributes:
        scale: By place, ``(d,)``, zeros at first.
        shift: Likewise.
    """

    def setup(self, sites: Sites) -> None:
        """Make ``2 d`` parameters for each place."""
        places = _places(sites)
        self.paths = [place.path for place in places]
        self.scale = nn.ParameterList(torch.zeros(place.width) for place in places)
        self.shift = nn.ParameterList(torch.zeros(place.width) for place in places)
        self.mergeable = all(_affine(place) for place in places)

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Modulate the output of each place."""
        return {path: partial(self._modulate, i) for i, path in enumerate(self.paths)}

    def merge(self, sites: Sites) -> None:
        """Multiply the weights of the normalizations and move their biases."""
        if not self.mergeable:
            super().merge(sites)
        for place, scale, shift in zip(_places(sites), self.scale, self.shift):
            weight, bias = place.module.weight, place.module.bias
            weight.mul_(1 + scale)  # type: ignore[operator]
            bias.mul_(1 + scale).add_(shift)  # type: ignore[operator]

    def _modulate(self, i: int, call: Callable[..., Tensor], *inputs: object) -> Tensor:
        normalized = call(*inputs)
        return torch.addcmul(normalized + self.shift[i], normalized, self.scale[i])


def _places(sites: Sites) -> list[Site]:
    return [
        place for block, norms in zip(sites.blocks, sites.norms) for place in (norms or [block])
    ]


def _affine(place: Site) -> bool:
    """Whether the module ends in a weight and a bias for each column."""
    weight, bias = getattr(place.module, "weight", None), getattr(place.module, "bias", None)
    return (
        "Norm" in type(place.module).__name__
        and isinstance(weight, nn.Parameter)
        and isinstance(bias, nn.Parameter)
        and weight.shape[-1] == bias.shape[-1] == place.width
    )
