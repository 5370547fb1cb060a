"""Two domains of small graphs, and models that train a domain task beside a labeled target."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gtl.catalog import TASKS
from gtl.graph import Columns, Graph, Schema
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.train.step import TaskModel

SCHEMA = Schema(Columns(width=3))
NONE = torch.empty(0, dtype=torch.int64)


class Scaled(nn.Module):
    """An encoder whose node vectors are the features, times a number for each column."""

    def __init__(self, width: int = 3):
        super().__init__()
        self.schema, self.width = Schema(Columns(width=width)), width
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, width, dtype=torch.float64))

    def forward(self, graph: Graph) -> torch.Tensor:
        return graph.x * self.scale


def lone_nodes(rows: int, seed: int, shift: float = 0.0, classes: int = 2) -> Graph:
    """Nodes without edges, all but the first of them seeds."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=rng, dtype=torch.float64) + shift
    y = torch.arange(rows - 1) % classes
    return Graph(NONE, NONE, rows, x, seeds=torch.arange(1, rows), y=y)


def two_domains(source: int = 6, target: int = 12) -> Batch:
    """A labeled source and an unlabeled target graph of unequal sizes."""
    return Batch(lone_nodes(source, 0), lone_nodes(target, 1, shift=1.0).replace(y=None))


def beside(task: object, kind: str = "multiclass", outputs: int = 2) -> TaskModel:
    """The task, or one of that name, beside a target on an encoder that scales features."""
    torch.manual_seed(3)
    built, target = TASKS.build(task), Supervised(kind=kind, outputs=outputs)
    for part in (target, built):
        part.setup(SCHEMA, 3)
    model = TaskModel(Scaled(), {"supervised": target, "task": built}).double()
    built.after_step(model, 0.0)
    return model


def view_of(model: TaskModel, batch: Batch, seed: int = 0):
    """The view of the task."""
    return model.tasks["task"].view(batch, torch.Generator().manual_seed(seed))


def losses_of(model: TaskModel, view) -> torch.Tensor:
    """The losses of a view."""
    return model.tasks["task"].losses(model.encoder(view.graph), view)


@pytest.fixture
def domains() -> Callable[..., Batch]:
    return two_domains


@pytest.fixture
def train() -> Callable[..., TaskModel]:
    return beside


@pytest.fixture
def view() -> Callable[..., object]:
    return view_of


@pytest.fixture
def losses() -> Callable[..., torch.Tensor]:
    return losses_of
