"""Progress of long work: a bar on a terminal or in a notebook, log lines elsewhere."""

from __future__ import annotations

import logging
import multiprocessing
import time
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)
_SECONDS = 30.0  # between two log lines where no bar is shown


class Progress:
    """A bar with an estimate of the time left; a log line every half minute where nobody watches.

    Worker processes draw no bar: only the process that started them does.

    Args:
        title: What is done.
        total: Units of work in all; ``None`` if that is not known.
        done: Units that were done before.
        unit: What a unit is called.
        shown: Whether anything is shown or logged.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        done: int = 0,
        unit: str = "step",
        shown: bool = True,
    ):
        from tqdm.auto import tqdm

        self.title, self.total, self.done, self.unit = title, total, done, unit
        watched = shown and multiprocessing.parent_process() is None
        hide = None if watched else True  # None: where nobody watches
        self._bar = tqdm(
            total=total, initial=done, desc=title, unit=unit, disable=hide, leave=False
        )
        self._logs = shown
        self._started = self._logged = time.monotonic()
        self._before, self._shown = done, ""

    def __enter__(self) -> Progress:
        """Show the bar."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bar."""
        self._bar.close()

    def update(self, units: int = 1) -> None:
        """Count units of work that were done."""
        self.done += units
        self._bar.update(units)
        now = time.monotonic()
        if self._logs and self._bar.disable and now - self._logged >= _SECONDS:
            self._logged = now
            log.info("%s: %s", self.title, self._line(now))

    def show(self, **values: Any) -> None:
        """Values to show beside the bar."""
        self._shown = ", ".join(f"{name} {value}" for name, value in values.items())
        if not self._bar.disable:
            self._bar.set_postfix(values)

    def _line(self, now: float) -> str:
        of = f" of {self.total}" if self.total else ""
        text = f"{self.done}{of} {self.unit}s"
        if self.total and self.done > self._before:
            left = (now - self._started) / (self.done - self._before) * (self.total - self.done)
            text += f", about {left:.0f} s left"
        return f"{text} ({self._shown})" if self._shown else text
