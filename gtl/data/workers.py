"""Work in several processes, in order and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TypeVar

from gtl.errors import ConfigError, GtlError

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Iterator[tuple[T, R]]:
    """Each item and what ``work`` makes of it, in the order of the items.

    Args:
        work: A function of a module; another process has only what that module imports.
        items: Taken up as they are needed, at most two a worker ahead.
        workers: Processes; 1 works in this one.

    Raises:
        ConfigError: If ``workers`` is below 1.
        GtlError: If a process ends before its work is done.

    Example:
        >>> list(in_order(abs, [-2, 1]))
        [(-2, 2), (1, 1)]
    """
    if workers < 1:
        raise ConfigError(f"`workers` is {workers}, expected at least 1")
    if workers == 1:
        yield from ((item, work(item)) for item in items)
        return
    # Threads of torch do not survive a fork: processes start afresh.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    waiting: deque = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) >= 2 * workers:
                done, result = waiting.popleft()
                yield done, result.result()
        while waiting:
            done, result = waiting.popleft()
            yield done, result.result()
    except BrokenProcessPool as error:
        raise GtlError(
            "a worker process ended early, for want of memory or because the script that started "
            "it has no `if __name__ == '__main__':`; add it, or use workers=1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when its parent has ended, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
