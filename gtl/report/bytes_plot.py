"""Drawing of the validation metric against the bytes that processes sent, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.report.drawing import Drawing, wrapped
from gtl.run_folder import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_bytes(runs: Mapping[str, Sequence[Path]], metric: str) -> Drawing | None:
    """A line for each run, the color of its method.

    Args:
        runs: Run folders of each method, by its title. Lines of their ``metrics.jsonl`` with
            ``bytes``, a mapping of ``up`` and ``down``, count.
        metric: Name of the metric.

    Returns:
        The drawing, or ``None`` where no run counted bytes.
    """
    curves = {title: [_curve(read_metrics(f)) for f in folders] for title, folders in runs.items()}
    known = {title: [c for c in found if c] for title, found in curves.items()}
    known = {title: found for title, found in known.items() if found}
    if not known:
        return None

    def draw(ax: Axes) -> None:
        for number, (title, found) in enumerate(known.items()):
            for place, curve in enumerate(found):
                label = wrapped(title, 40) if place == 0 else None
                ax.plot(*zip(*curve), color=f"C{number % 10}", linewidth=1.2, label=label)
        ax.set(xlabel="bytes sent, both ways", ylabel=f"validation {metric}", xscale="log")
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize="small")

    return Drawing("bytes", draw)


def _curve(lines: Sequence[Mapping[str, Any]]) -> list[tuple[int, float]]:
    """Bytes so far and validation value, where both are known."""
    if not all(isinstance(line.get("bytes"), Mapping) for line in lines):
        return []
    sent = accumulate(line["bytes"].get("up", 0) + line["bytes"].get("down", 0) for line in lines)
    return [(b, line["valid"]) for b, line in zip(sent, lines) if line["valid"] is not None and b]
