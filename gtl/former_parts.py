"""Acceptance of parts written for gtl 0.1, with a warning that names the new signature."""

from __future__ import annotations

import functools
import inspect
import warnings
from typing import Any


def accept_former_task(cls: Any, task: Any) -> None:
    """Let a task with ``setup`` and ``view(graph, rng)``, as of gtl 0.1, work as it did.

    Its ``setup`` becomes ``build``, and its ``view`` gets the graph of the batch. Both may call
    the method of a parent class, as before.

    Args:
        cls: A new class of task, changed in place if it is of that kind.
        task: The class :class:`gtl.roles.Task`.
    """
    setup, view = vars(cls).get("setup"), vars(cls).get("view")
    given = list(inspect.signature(view).parameters)[1:2] if inspect.isfunction(view) else []
    if not (given == ["graph"] or (setup is not None and given not in ([], ["batch"]))):
        view = None
    if setup is None and view is None:
        return
    if view is not None:

        @functools.wraps(view)
        def view_of_graph(self: Any, batch: Any, rng: Any) -> Any:
            return view(self, getattr(batch, "source", batch), rng)

        cls.view = view_of_graph
    if setup is not None:

        def build(self: Any, schema: Any, width: int) -> None:
            self._in_former_setup = True
            try:
                setup(self, schema, width)
            finally:
                self._in_former_setup = False

        def setup_or_former(self: Any, schema: Any, width: int, sample: Any = None) -> None:
            if getattr(self, "_in_former_setup", False):  # called by a subclass's own `setup`
                setup(self, schema, width)
            else:
                task.setup(self, schema, width, sample)

        cls.build, cls.setup = build, setup_or_former
    warnings.warn(
        f"{cls.__name__} is a task as of gtl 0.1; rename `setup(self, schema, width)` to "
        "`build(self, schema, width)`, which is called once, and `view(self, graph, rng)` to "
        "`view(self, batch, rng)`, where `batch.source` is the graph",
        DeprecationWarning,
        stacklevel=4,  # the class statement, past `__init_subclass__` and ABCMeta
    )
