"""Progress counts units of work, on a bar or in the log."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from gtl import progress
from gtl.progress import Progress


def test_where_nobody_watches_lines_are_logged_now_and_then(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, "gtl.progress"), Progress("packing", 10, 2) as bar:
        bar._bar.disable = True
        bar.show(valid="0.5")
        for _ in range(4):
            now[0] += 20
            bar.update()
    assert [record.message for record in caplog.records] == [
        "packing: 4 of 10 steps, about 120 s left (valid 0.5)",
        "packing: 6 of 10 steps, about 80 s left (valid 0.5)",
    ]


def test_work_of_unknown_length_has_no_estimate(monkeypatch, caplog):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with caplog.at_level(logging.INFO, "gtl.progress"), Progress("reading", None) as bar:
        bar._bar.disable = True
        now[0] += 40
        bar.update(7)
    assert [record.message for record in caplog.records] == ["reading: 7 steps"]


@pytest.mark.parametrize("is_worker", [False, True])
def test_on_a_terminal_only_the_first_process_draws_a_bar(is_worker, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress.multiprocessing, "parent_process", lambda: is_worker or None)
    with Progress("packing", 2):
        assert ("packing" in terminal.getvalue()) != is_worker


def test_a_training_counts_its_steps(shapes, monkeypatch):
    import gtl
    from gtl.train import loop

    seen = []

    class Counted(Progress):
        def update(self, units=1):
            super().update(units)
            seen.append((self.done, self.total))

    monkeypatch.setattr(loop, "Progress", Counted)
    gtl.pretrain(
        {"name": "gin", "width": 8, "depth": 1}, shapes, ["infomax"], epochs=2, batch_size=32
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_selection_counts_all_steps_of_all_candidates(shapes, monkeypatch):
    import gtl
    from gtl.train import selection

    seen = []

    class Counted(Progress):
        def update(self, units=1):
            super().update(units)
            seen.append((self.done, self.total))

    monkeypatch.setattr(selection, "Progress", Counted)
    gtl.finetune({"name": "gin", "width": 8, "depth": 1}, shapes, auxiliary="infomax", epochs=2)
    assert seen[-1][0] == seen[-1][1] == 5


@pytest.mark.parametrize("unit", ["episode", "fit"])
def test_a_bar_names_its_unit(unit):
    with Progress("work", 3, unit=unit) as bar:
        bar.update()
        assert bar._line(bar._started + 1).startswith(f"1 of 3 {unit}s")
