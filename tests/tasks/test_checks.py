"""Setting up: once, the same sizes again, or other sizes."""

from __future__ import annotations

import copy
import inspect

import pytest

from gtl import tasks
from gtl.errors import ConfigError
from gtl.graph import Columns, Schema

SCHEMA = Schema(node=Columns((3,)))
TASKS = [getattr(tasks, name) for name in tasks.__all__]


@pytest.mark.parametrize("cls", TASKS)
def test_every_option_has_a_default(cls: type) -> None:
    options = inspect.signature(cls).parameters.values()
    assert all(option.default is not inspect.Parameter.empty for option in options)
    cls()


@pytest.mark.parametrize("cls", TASKS)
def test_the_same_sizes_keep_the_parameters_and_others_are_refused(cls: type) -> None:
    task = cls()
    task.setup(SCHEMA, 5)
    held = {**dict(task.named_parameters()), **dict(task.named_buffers())}
    assert held or cls is tasks.L2SP  # it has nothing before it has met the encoder
    task.setup(SCHEMA, 5)
    now = {**dict(task.named_parameters()), **dict(task.named_buffers())}
    assert all(value is held[name] for name, value in now.items())
    with pytest.raises(ConfigError, match=r"`width` 5, now for 7; make a new task"):
        task.setup(SCHEMA, 7)
    task.setup(SCHEMA, 5)


@pytest.mark.parametrize("cls", TASKS)
def test_a_copy_is_set_up_too(cls: type) -> None:
    task = cls()
    task.setup(SCHEMA, 5)
    copied = copy.deepcopy(task)
    held = dict(copied.named_parameters())
    copied.setup(SCHEMA, 5)
    assert all(value is held[name] for name, value in copied.named_parameters())


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: tasks.RandomQuantizer(hops=[0, 0.5]), "`hops` is 0.5, expected a whole number"),
        (lambda: tasks.DANN(hidden=8.5), "`hidden` is 8.5, expected a whole number, 1 or more"),
        (lambda: tasks.MKMMD(rows=float("inf")), "`rows` is inf, expected a whole number"),
    ],
)
def test_counts_are_whole_numbers(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
    assert tasks.DANN(hidden=8.0).adversary.hidden == 8
