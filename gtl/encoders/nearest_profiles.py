"""Nearest among some relational profiles by cosine, in chunks, and a memory of what was found."""

from __future__ import annotations

import torch
from torch import Tensor

_CELLS = 2**22  # similarities in memory at a time
_MOST_KNOWN = 2**18  # profiles that are remembered
_TINY = 1e-6  # beside the length of a profile, as in the published code
_STEP = 1e-12  # by which the later of two equal neighbors counts as farther


def nearest_profiles(counts: Tensor, among: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` most similar rows of ``among`` for each profile.

    Similarities are the same whatever the chunks: products of whole numbers are exact. Of equal
    ones the earlier row is nearer.

    Args:
        counts: Profiles, int64 ``(u, 2 r)``.
        among: Profiles to choose from, int64 ``(s, 2 r)``.
        k: Number of neighbors, at most ``s``.

    Returns:
        Rows of ``among``, the most similar first, int64 ``(u, k)``; and their similarities,
        float64 ``(u, k)``, in ``[0, 1]``; 0 for a profile without edges.

    Example:
        >>> one, other = torch.tensor([[3, 0]]), torch.tensor([[0, 1], [2, 0], [1, 1]])
        >>> nearest_profiles(one, other, 2)[0].tolist()
        [[1, 2]]
    """
    others = among.double().t()
    lengths = others.norm(dim=0) + _TINY
    later = torch.arange(len(among), device=among.device, dtype=torch.float64) * _STEP
    rows, similarities = [], []
    for part in counts.double().split(max(1, _CELLS // max(len(among), 1))):
        cosine = part @ others / ((part.norm(dim=1, keepdim=True) + _TINY) * lengths)
        found = (cosine - later).topk(k).indices
        rows.append(found)
        similarities.append(cosine.gather(1, found))
    if not rows:
        empty = counts.new_zeros(0, k)
        return empty, empty.double()
    return torch.cat(rows), torch.cat(similarities)


class KnownNeighbors:
    """Neighbors of the profiles that were met before, by the key of a profile.

    A graph without the edges of a batch has nearly the profiles of the whole one: then neighbors
    are sought for the few new ones alone. Nothing of it needs to be saved, since neighbors depend
    on profiles alone.

    Args:
        among: Profiles to choose from, int64 ``(s, 2 r)``.
        k: Number of neighbors, at most ``s``.
    """

    _keys: Tensor
    _rows: Tensor
    _similarities: Tensor

    def __init__(self, among: Tensor, k: int):
        self.among, self.k = among, k
        self._forget()

    def of(self, counts: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and similarities ``(u, k)`` as of :func:`nearest_profiles`.

        Args:
            counts: Profiles, int64 ``(u, 2 r)``.
            keys: Their keys, distinct, int64 ``(u,)``.
        """
        new = ~torch.isin(keys, self._keys)
        if bool(new.any()):
            if len(self._keys) + int(new.sum()) > _MOST_KNOWN:
                self._forget()
                new = torch.ones_like(new)
            self._learn(keys[new], *nearest_profiles(counts[new], self.among, self.k))
        place = torch.searchsorted(self._keys, keys)
        return self._rows[place], self._similarities[place]

    def _learn(self, keys: Tensor, rows: Tensor, similarities: Tensor) -> None:
        self._keys, order = torch.cat([self._keys, keys]).sort()
        self._rows = torch.cat([self._rows, rows])[order]
        self._similarities = torch.cat([self._similarities, similarities])[order]

    def _forget(self) -> None:
        self._keys = self.among.new_zeros(0)
        self._rows = self.among.new_zeros(0, self.k)
        self._similarities = self._rows.double()
