"""Matrices inside blocks, and other ones in their place for a while.

An adapter that changes weights instead of vectors costs a matrix product of weights, not of all
nodes; it works wherever a layer reads its weights, and can be merged without an error of rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.roles import Anatomy, Place


def matrices_in(place: Place) -> list[tuple[nn.Module, Tensor]]:
    """The weights of the linear maps in a block, each with the module that it belongs to.

    That is every parameter ``weight`` of two axes or more outside of normalizations: rows and
    columns are its last two, the others count matrices (one for each type, say).
    """
    norms = [part for part in place.module.modules() if "Norm" in type(part).__name__]
    inside = {id(part) for norm in norms for part in norm.modules()}
    found: list[tuple[nn.Module, Tensor]] = []
    for part in place.module.modules():
        weight = part._parameters.get("weight")
        if weight is not None and weight.dim() >= 2 and id(part) not in inside:
            found.append((part, weight))
    return found


def all_matrices(anatomy: Anatomy, what: str) -> list[list[Tensor]]:
    """The matrices of each block.

    Args:
        anatomy: Of the encoder.
        what: Names the adapter in the message.

    Raises:
        ConfigError: If no block has one.
    """
    matrices = [[weight for _, weight in matrices_in(block)] for block in anatomy.blocks]
    if not any(matrices):
        raise ConfigError(
            f"{what} changes matrices called `weight`, and the blocks of the encoder have none; "
            "use another adapter, such as 'bottleneck'"
        )
    return matrices


@contextmanager
def moved(module: nn.Module, changes: Sequence[Tensor]) -> Iterator[None]:
    """While it lasts, the matrices of a block are ``weight + change``."""
    owners = [owner for owner, _ in matrices_in(Place("", module, 0, 0))]
    before = [owner._parameters["weight"] for owner in owners]
    try:
        for owner, weight, change in zip(owners, before, changes):
            # Not registered anew, which would change the order of the parameters.
            owner._parameters["weight"] = weight + change  # type: ignore[operator,assignment]
        yield
    finally:
        for owner, weight in zip(owners, before):
            owner._parameters["weight"] = weight


def merge_matrices(anatomy: Anatomy, changes: Mapping[int, Sequence[Tensor]]) -> None:
    """Add changes to the matrices of blocks, by number of the block, in place."""
    for i, block in enumerate(anatomy.blocks):
        for (_, weight), change in zip(matrices_in(block), changes[i]):
            weight.add_(change)
