"""Weight matrices inside blocks: which there are, calls with others in their place, merging.

An adapter that changes weights instead of vectors costs a product of small matrices in each call,
whatever the number of nodes; it works wherever a layer reads its weights, and can be merged without
an error of rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from gtl.adapters.module_views import Call
from gtl.errors import ConfigError
from gtl.roles import Sites


def matrices_in(block: nn.Module) -> list[tuple[nn.Module, Tensor]]:
    """The weights of the linear maps in a block, each with the module that owns it.

    That is every parameter ``weight`` of two axes or more outside of normalizations: rows and
    columns are its last two, the others count matrices (one for each type, for instance).
    """
    norms = [part for part in block.modules() if "Norm" in type(part).__name__]
    inside = {id(part) for norm in norms for part in norm.modules()}
    found: list[tuple[nn.Module, Tensor]] = []
    for part in block.modules():
        weight = part._parameters.get("weight")
        if weight is not None and weight.dim() >= 2 and id(part) not in inside:
            found.append((part, weight))
    return found


def all_matrices(sites: Sites, adapter: str) -> list[list[Tensor]]:
    """The matrices of each block.

    Args:
        sites: Of the encoder.
        adapter: Its name in the message.

    Raises:
        ConfigError: If no block has one.
    """
    matrices = [[weight for _, weight in matrices_in(block.module)] for block in sites.blocks]
    if not any(matrices):
        raise ConfigError(
            f"{adapter} changes matrices called `weight`, and the blocks of the encoder have none; "
            "use another adapter, such as 'bottleneck'"
        )
    return matrices


def call_changed(call: Call, changes: Sequence[Tensor], *inputs: object) -> Tensor:
    """Call a block with matrices ``weight + change``; the block itself stays as it is."""
    matrices = matrices_in(call.module)
    values = {(owner, "weight"): w + change for (owner, w), change in zip(matrices, changes)}
    return call.with_parameters(values)(*inputs)


def merge_matrices(sites: Sites, changes: Mapping[int, Sequence[Tensor]]) -> None:
    """Add changes to the matrices of blocks, by number of the block, in place."""
    for i, block in enumerate(sites.blocks):
        for (_, weight), change in zip(matrices_in(block.module), changes[i]):
            weight.add_(change)
