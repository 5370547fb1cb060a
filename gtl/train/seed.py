"""One seed for a whole run, without disturbing the caller's random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def reseed(rng: torch.Generator) -> None:
    """Start torch's global generators anew from ``rng``.

    After this, random numbers no longer depend on how many were used so far: a run from a saved
    encoder equals one from the encoder in memory, which needed no initial weights.
    """
    torch.manual_seed(int(torch.randint(2**31, (), generator=rng)))


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch's global generators inside the block; restore them afterwards.

    Yields:
        A CPU generator with the same seed, for order and random choices.
    """
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
