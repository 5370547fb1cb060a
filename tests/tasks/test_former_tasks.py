"""Tasks written for gtl 0.1: they work as they did, and a warning names the new signature."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.catalog import TASKS
from gtl.errors import ConfigError
from gtl.graph import Graph, Schema
from gtl.roles import Batch, Task, View

DEGREE = """
import torch
import gtl
from gtl.roles import Task, View


@gtl.register_task("degree")
class Degree(Task):
    \"\"\"Predict each node's in-degree.\"\"\"

    def setup(self, schema, width):
        if not hasattr(self, "map"):
            self.map = torch.nn.Linear(width, 1)

    def view(self, graph, rng):
        return View(graph, {"degree": graph.in_degrees()})

    def losses(self, nodes, view):
        errors = self.map(nodes).squeeze(1) - view.targets["degree"]
        return errors.square()


gtl.testing.check_task(Degree())
"""


def test_the_task_of_the_former_readme_passes_the_laws_and_trains(monkeypatch, shapes):
    monkeypatch.setattr(TASKS, "_classes", dict(TASKS._classes))
    with pytest.warns(DeprecationWarning, match=r"Degree .*`build\(self, schema, width\)`"):
        exec(compile(DEGREE, "README.md", "exec"), {})
    gin = {"name": "gin", "width": 8, "depth": 2}
    losses = [line["losses"]["degree"] for line in gtl.pretrain(gin, shapes, ["degree"]).history]
    assert losses[-1] < losses[0]


@pytest.fixture
def former():
    """A task of the former kind and one that extends it by calling ``super``."""
    with pytest.warns(DeprecationWarning):

        class One(Task):
            def setup(self, schema, width):
                super().setup(schema, width)
                if not hasattr(self, "one"):
                    self.one = torch.nn.Linear(width, 1)

            def view(self, graph, rng):
                return View(graph, {"value": torch.ones(graph.num_nodes)})

            def losses(self, nodes, view):
                return self.one(nodes).squeeze(1) - view.targets["value"]

        class Two(One):
            def setup(self, schema, width):
                super().setup(schema, width)
                if not hasattr(self, "two"):
                    self.two = torch.nn.Linear(width, 1)

            def view(self, graph, rng):
                return super().view(graph.reverse(), rng)

    return One, Two


def test_a_former_task_may_call_its_parent_and_keeps_its_parameters(former, path, rng):
    one, two = former[0](), former[1]()
    for task in (one, two):
        task.setup(Schema(), 3)
        parameters = dict(task.named_parameters())
        task.setup(Schema(), 3)
        assert all(value is parameters[name] for name, value in task.named_parameters())
        with pytest.raises(ConfigError, match="`width` 3, now for 5"):
            task.setup(Schema(), 5)
    assert set(dict(two.named_children())) == {"one", "two"}
    graph = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
    assert one.view(Batch(graph), rng).graph is graph
    assert two.view(Batch(path(5), own=graph), rng).graph.src.tolist() == [1, 2]


def test_a_new_task_is_not_warned_of(recwarn):
    class New(Task):
        def build(self, schema, width): ...

        def view(self, batch, rng): ...

        def losses(self, nodes, view): ...

    New().setup(Schema(), 3)
    assert not recwarn.list
