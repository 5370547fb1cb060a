"""Counts of trainable parameters, printed in the format of the library PEFT."""

from __future__ import annotations

from torch import nn


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """Number of all parameters, and of those that require gradients."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained)


def print_trainable_parameters(module: nn.Module) -> None:
    """Print how many parameters are trained, in the format of PEFT."""
    total, trained = count_parameters(module)
    share = 100 * trained / max(total, 1)
    print(f"trainable params: {trained:,} || all params: {total:,} || trainable%: {share:.4f}")
