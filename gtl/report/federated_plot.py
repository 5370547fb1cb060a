"""Plot of a federated training: the validation metric against the bytes that were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gtl.report.drawing import panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEGA = 1e6


def plot_bytes(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], metric: str, out: Path
) -> Path | None:
    """Validation metric by bytes of training, up and down, and by round with the clients' range.

    Args:
        runs: Lines of ``metrics.jsonl`` of federated runs, by title.
        metric: Name of the metric.
        out: Folder for the picture; made if missing.

    Returns:
        The file ``bytes.png``; ``None`` where no run has a validation value.
    """
    known = {title: lines for title, lines in runs.items() if any(_valid(lines))}
    if not known:
        return None
    out.mkdir(parents=True, exist_ok=True)

    def draw(left: Axes, right: Axes) -> None:
        for number, (title, lines) in enumerate(known.items()):
            rows = [line for line in lines if line["valid"] is not None]
            sent = list(accumulate(line["bytes"]["up"] + line["bytes"]["down"] for line in lines))
            at = [sent[line["epoch"]] / _MEGA for line in rows]
            values, rounds = [r["valid"] for r in rows], [r["epoch"] + 1 for r in rows]
            left.plot(at, values, label=title or None, color=f"C{number % 10}")
            right.plot(rounds, values, color=f"C{number % 10}")
            low = [row["clients"]["valid"]["min"] for row in rows]
            high = [row["clients"]["valid"]["max"] for row in rows]
            right.fill_between(rounds, low, high, alpha=0.15, color=f"C{number % 10}", lw=0)
        left.set(xlabel="megabytes sent, both ways", ylabel=f"validation {metric}", xscale="log")
        right.set(
            xlabel="round; the band is the range of the clients", ylabel=f"validation {metric}"
        )
        if any(known):
            left.legend(frameon=False)

    return panels(draw, 2, out / "bytes.png")


def _valid(lines: Sequence[Mapping[str, Any]]) -> list[bool]:
    return [line["valid"] is not None for line in lines]
