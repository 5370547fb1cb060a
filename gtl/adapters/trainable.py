"""How much of a model may move: without it nobody would know what an adapter saves.

The wording is that of the library PEFT, so that numbers can be compared.
"""

from __future__ import annotations

from torch import nn


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Number of parameters in all, and of those that may move."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def print_trainable_parameters(module: nn.Module) -> None:
    """Print how many parameters may move, in the manner of PEFT."""
    total, trained = count_parameters(module)
    share = 100 * trained / max(total, 1)
    print(f"trainable params: {trained:,} || all params: {total:,} || trainable%: {share:.4f}")
