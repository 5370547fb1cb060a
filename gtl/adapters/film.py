"""FiLM: a trained scale and shift of each column after each normalization.

FiT (Shysheya et al. 2023, "FiT: Parameter efficient few-shot transfer learning for personalized and
federated image classification") learns these 2 dL numbers and nothing else (but a head's) of a
frozen network, fewer than any other adapter here; the layer is that of Perez et al. 2018.
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
    block that has none. A parameter is the difference of a scale from 1, so that weight decay
    pulls towards the frozen encoder. Where every normalization has weights, both can be merged.

    Attributes:
        scale: By site, ``(d,)``, zeros at first.
        shift: Likewise.
    """

    def setup(self, sites: Sites) -> None:
        """Make ``2 d`` parameters for each site."""
        acting = _sites_of_film(sites)
        self.paths = [site.path for site in acting]
        self.scale = nn.ParameterList(torch.zeros(site.width) for site in acting)
        self.shift = nn.ParameterList(torch.zeros(site.width) for site in acting)
        self.mergeable = all(_is_affine(site) for site in acting)

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Modulate the output of each site."""
        return {path: partial(self._modulate, i) for i, path in enumerate(self.paths)}

    def merge(self, sites: Sites) -> None:
        """Multiply the weights of the normalizations and move their biases."""
        if not self.mergeable:
            super().merge(sites)
        for site, scale, shift in zip(_sites_of_film(sites), self.scale, self.shift):
            weight, bias = site.module.weight, site.module.bias
            weight.mul_(1 + scale)  # type: ignore[operator]
            bias.mul_(1 + scale).add_(shift)  # type: ignore[operator]

    def _modulate(self, i: int, call: Callable[..., Tensor], *inputs: object) -> Tensor:
        normalized = call(*inputs)
        return torch.addcmul(normalized + self.shift[i], normalized, self.scale[i])


def _sites_of_film(sites: Sites) -> list[Site]:
    """The normalizations of each block, or the block itself if it has none."""
    return [site for block, norms in zip(sites.blocks, sites.norms) for site in (norms or [block])]


def _is_affine(site: Site) -> bool:
    """Whether the module is a normalization with a weight and a bias for each column."""
    weight, bias = getattr(site.module, "weight", None), getattr(site.module, "bias", None)
    return (
        "Norm" in type(site.module).__name__
        and isinstance(weight, nn.Parameter)
        and isinstance(bias, nn.Parameter)
        and weight.shape[-1] == bias.shape[-1] == site.width
    )
