"""Codebooks that are drawn at random and never trained (Chiu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS_PER_CODE = 8
AT_ONCE = 1 << 24  # cosines that are held at once


class Quantizer(nn.Module):
    """Codes of vectors, one in each codebook.

    Each column is standardized by its mean and deviation in the training data, projected, and
    compared with the codes; the code is the one with the largest cosine::

        y = argmax_j cos(c_j, P^T (v - mean) / deviation)

    Without the standardization, or the comparison by cosines, a few codes take nearly all vectors.
    Everything is in buffers: saved with the run, and moved by no optimizer.

    Args:
        books: Number of codebooks.
        columns: Columns of the vectors.
        codes: Most codes of a codebook.
        code_width: Columns of a code.
    """

    mean: Tensor
    deviation: Tensor
    projections: Tensor
    codebooks: Tensor
    used: Tensor
    counts: Tensor

    def __init__(self, books: int, columns: int, codes: int, code_width: int):
        super().__init__()
        projections = torch.empty(books, columns, code_width)
        for projection in projections:
            nn.init.xavier_normal_(projection)
        self.register_buffer("mean", torch.zeros(books, columns))
        self.register_buffer("deviation", torch.ones(books, columns))  # 0: does not count
        self.register_buffer("projections", projections)
        codebooks = F.normalize(torch.randn(books, codes, code_width), dim=2)
        self.register_buffer("codebooks", codebooks)
        self.register_buffer("used", torch.tensor(codes))
        self.register_buffer("counts", torch.zeros(books, codes))

    def observe(self, values: Tensor) -> None:
        """Keep mean and deviation of each column, and the number of codes that are used.

        Args:
            values: ``(books, rows, columns)``. An eighth as many codes as rows are used at most.
        """
        codes = self.codebooks.shape[1]
        mean, deviation = values.mean(1), values.std(1, correction=0)
        # Means over neighborhoods of a constant column differ by their rounding.
        rounding = 8 * torch.finfo(values.dtype).eps * mean.abs()
        self.mean.copy_(mean), self.deviation.copy_(deviation.where(deviation > rounding, 0.0))
        self.used.fill_(min(codes, max(2, values.shape[1] // ROWS_PER_CODE)))

    def forward(self, values: Tensor) -> Tensor:
        """Code of each row in each codebook, int64 ``(books, rows)``.

        Rows are compared in blocks: their cosines with all codes of large graphs would not fit.

        Args:
            values: ``(books, rows, columns)``.
        """
        size = max(1, AT_ONCE // (len(values) * int(self.used)))
        return torch.cat([self._codes(block) for block in values.split(size, 1)], 1)

    def _codes(self, values: Tensor) -> Tensor:
        counts = self.deviation > 0
        scale = self.deviation.where(counts, torch.ones_like(self.deviation)).unsqueeze(1)
        units = (values.to(self.mean) - self.mean.unsqueeze(1)) / scale * counts.unsqueeze(1)
        # The length of a projected vector does not change which of its cosines is largest.
        scores = (units @ self.projections) @ self.codebooks[:, : self.used].transpose(1, 2)
        return scores.argmax(2)

    def spread(self, values: Tensor) -> Tensor:
        """Perplexity of the codes of some vectors in each codebook, ``(books,)``."""
        return perplexity(self._counted(self(values)))

    def count(self, codes: Tensor) -> None:
        """Add codes ``(books, rows)`` to those that :meth:`measured` is about."""
        self.counts += self._counted(codes)

    def measured(self) -> list[float]:
        """Perplexity of the codes counted since the last call, by codebook; 0 without any."""
        found: list[float] = perplexity(self.counts).tolist()
        self.counts.zero_()
        return found

    def losses(self, scores: Tensor, codes: Tensor) -> Tensor:
        """Mean cross-entropy over the codebooks, ``(rows,)``.

        Args:
            scores: ``(rows, books x codes)``; those of codes that are not used are left out.
            codes: ``(rows, books)``.
        """
        scores = scores.view(-1, *self.codebooks.shape[:2])[:, :, : self.used]
        return F.cross_entropy(scores.transpose(1, 2), codes, reduction="none").mean(1)

    def _counted(self, codes: Tensor) -> Tensor:
        found = torch.zeros_like(self.counts)
        return found.scatter_add_(1, codes, torch.ones_like(codes, dtype=found.dtype))


def perplexity(counts: Tensor) -> Tensor:
    """Exponential of the entropy of counts ``(books, codes)``, ``(books,)``; 0 without counts."""
    total = counts.sum(1, keepdim=True)
    shares = counts / total.clamp(min=1)
    return torch.where(total[:, 0] > 0, torch.special.entr(shares).sum(1).exp(), 0.0)


def one_hot(x: Tensor, categories: Sequence[int]) -> Tensor:
    """One-hot columns of all categorical columns side by side; none for *masked*."""
    places = [F.one_hot(column, size + 1)[:, :size] for column, size in zip(x.t(), categories)]
    return torch.cat(places, 1).float()
