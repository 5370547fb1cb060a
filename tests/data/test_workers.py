"""Several processes give what one gives, take little ahead, and end with their parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gtl.data.workers import in_order
from gtl.errors import ConfigError, GtlError


def test_one_worker_takes_an_item_when_it_is_needed():
    taken = []
    results = in_order(abs, (taken.append(i) or -i for i in range(9)))
    assert next(results) == (0, 0) and next(results) == (-1, 1)
    assert taken == [0, 1]


def test_two_workers_keep_the_order_take_little_ahead_and_hand_on_failures():
    taken = []
    texts = (taken.append(i) or ("one" if i == 20 else str(i)) for i in range(23))
    results = in_order(int, texts, workers=2)
    first = next(results)
    assert len(taken) <= 4
    assert [first, *(next(results) for _ in range(19))] == [(str(i), i) for i in range(20)]
    with pytest.raises(ValueError, match=r"invalid literal for int.*'one'"):
        next(results)


@pytest.mark.parametrize("workers", [0, -2])
def test_fewer_than_one_worker_is_refused(workers):
    with pytest.raises(ConfigError, match=f"`workers` is {workers}, expected at least 1"):
        next(in_order(abs, [1], workers))


def test_a_worker_that_ends_early_is_told():
    with pytest.raises(GtlError, match=r"a worker process ended early.*workers=1"):
        list(in_order(os._exit, [1, 1], workers=2))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_workers_end_with_a_killed_parent():
    code = """
import time
from gtl.data.workers import in_order
if __name__ == "__main__":
    import multiprocessing
    results = in_order(time.sleep, iter(lambda: 0.01, None), workers=2)
    next(results)
    print(*[child.pid for child in multiprocessing.active_children()], flush=True)
    for _ in results: pass
"""
    root = str(Path(__file__).resolve().parents[2])
    script = Path(os.environ["GTL_CACHE"]).parent / "parent.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": root}
    parent = subprocess.Popen([sys.executable, script], env=env, stdout=subprocess.PIPE)
    try:
        children = [int(number) for number in parent.stdout.readline().split()]
        assert len(children) == 2 and all(map(_alive, children))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    end = time.monotonic() + 20
    while any(map(_alive, children)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(_alive, children))


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
