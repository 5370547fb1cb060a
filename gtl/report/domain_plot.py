"""Picture of two domains before and after an alignment, by t-SNE (van der Maaten & Hinton 2008)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gtl.report.drawing import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLES = ("source alone", "after alignment")
_NAMES = ("source", "target")


def write_domain_plot(folder: Path, sides: Sequence[Sequence[np.ndarray]], seed: int) -> Path:
    """Draw ``plots/domains.png`` of a run folder.

    Args:
        folder: The run folder.
        sides: Before and after: vectors of the source ``(s, h)`` and of the target ``(t, h)``.
        seed: Of the embedding.

    Returns:
        The file.
    """
    out = folder / "plots"
    out.mkdir(parents=True, exist_ok=True)
    points = [_embedded(np.concatenate(list(side)), seed) for side in sides]

    def draw(*axes: Axes) -> None:
        for ax, both, side, title in zip(axes, points, sides, _TITLES):
            parts = np.split(both, [len(side[0])])
            for part, name, color in zip(parts, _NAMES, ("C0", "C1")):
                ax.scatter(
                    part[:, 0], part[:, 1], s=5, color=color, label=name, alpha=0.6, linewidths=0
                )
            ax.set_title(title, fontsize="medium")
            ax.set_xticks([])
            ax.set_yticks([])
        axes[0].legend(fontsize="small", markerscale=2)

    return panels(draw, len(points), out / "domains.png")


def _embedded(rows: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE

    if len(rows) < 4:
        return np.zeros((len(rows), 2))
    perplexity = min(30.0, (len(rows) - 1) / 3)
    spread = rows.std(0)
    rows = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1.0)
    start = TSNE(init="random", perplexity=perplexity, max_iter=500, random_state=seed)
    found: np.ndarray = start.fit_transform(rows.astype(np.float32))
    return found
