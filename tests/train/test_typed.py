"""Typed graphs through whole jobs: every task beside the target, with encoders that read types."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import gtl
from gtl.catalog import ENCODERS as BUILDERS
from gtl.catalog import TASKS
from gtl.data.dataset import Dataset
from gtl.errors import DataError
from gtl.graph import Graph
from gtl.graph.heterogeneous import EdgesOfType, NodesOfType, join
from gtl.roles import Batch
from gtl.tasks import Supervised
from gtl.train.domain_validation import outputs_on
from gtl.train.domains import domains_of
from gtl.train.step import TaskModel
from gtl.train.unlabeled import find_unlabeled

ENCODERS = {
    "rgcn": {"name": "rgcn", "width": 8, "depth": 2},
    "hgt": {"name": "hgt", "width": 8, "depth": 2, "heads": 2},
}
# A distillation needs a teacher.
AUXILIARY = [
    name
    for name in TASKS.names()
    if name not in ("supervised", "distillation") and not TASKS.build(name).properties
]


@pytest.fixture
def library() -> Dataset:
    """Papers with a class, their authors and, without features, the places they appeared in."""
    rng = torch.Generator().manual_seed(0)
    papers, authors, places = 31, 23, 5
    labels = torch.arange(papers) % 2
    wrote = torch.stack([torch.arange(47) % papers, torch.randint(authors, (47,), generator=rng)])
    appeared = torch.stack([torch.arange(papers), (2 * torch.rand(papers, generator=rng)).long()])
    appeared[1] += 2 * labels
    edges = [
        EdgesOfType(wrote[0], wrote[1], {}, (0, 1)),
        EdgesOfType(wrote[1], wrote[0], {}, (1, 0)),
        EdgesOfType(appeared[0], appeared[1], {}, (0, 2)),
        EdgesOfType(appeared[1], appeared[0], {}, (2, 0)),
    ]
    nodes = [
        NodesOfType(papers, {"x": torch.randn(papers, 7, generator=rng)}),
        NodesOfType(authors, {"x": torch.randn(authors, 3, generator=rng)}),
        NodesOfType(places, {"x": None}),
    ]
    order = torch.randperm(papers, generator=rng)
    split = {"train": order[:13], "valid": order[13:20], "test": order[20:]}
    labels = torch.cat([labels, torch.full((authors + places,), -1)])
    graph = join(nodes, edges, typed=True)
    return Dataset("test:library", graph=graph, labels=labels, split=split, level="node")


@pytest.mark.parametrize("name", AUXILIARY)
def test_a_view_has_the_types_of_what_it_was_made_of(name: str, library: Dataset) -> None:
    assert library.graph is not None
    task = TASKS.build(name)
    target = Supervised(kind="multiclass", outputs=2)
    for part in (task, target):
        part.setup(library.schema, 8)
    encoder = BUILDERS.build(ENCODERS["rgcn"], library.schema)
    tasks = {"supervised": target, name: task} if task.needs_target else {name: task}
    task.after_step(TaskModel(encoder, tasks), 0.0)
    batch = Batch(library.graph)
    if task.uses_unlabeled:
        labeled, other = (library.graph.replace(seeds=torch.arange(i, i + 9)) for i in (0, 9))
        batch = Batch(labeled.replace(y=torch.arange(9) % 2), other)
    view = task.view(batch, torch.Generator().manual_seed(0)).graph
    assert view.node_type is not None
    assert view.edge_type is not None
    ends = torch.stack([view.node_type[view.src], view.node_type[view.dst]], 1)
    expected = torch.tensor([[0, 1], [1, 0], [0, 2], [2, 0]])
    assert torch.equal(ends, expected[view.edge_type])
    # A paper has seven columns, an author the three behind them, a place none: that must stay so.
    columns = torch.tensor([[1] * 7 + [0] * 3, [0] * 7 + [1] * 3, [0] * 10])
    assert view.x is not None
    assert not view.x[columns[view.node_type] == 0].any()


def test_items_of_other_types_are_no_target_items(library: Dataset) -> None:
    bare = replace(library, spec="test:bare", labels=None, split={})
    domains = domains_of(library, library)
    assert domains.items.tolist() == list(range(31)) and domains.test_inputs
    assert domains_of(library, library, unlabeled=bare).items.tolist() == list(range(31))
    found = find_unlabeled(library, "pseudo_label", bare, None)
    assert found.data.items("train").tolist() == list(range(31))
    model = gtl.finetune(ENCODERS["rgcn"], library, epochs=1)
    outputs, scores = outputs_on(model, domains)
    assert len(outputs.target_vectors) == len(scores) == 31
    types = library.graph.node_type
    authors = replace(library, labels=types, split={"train": (types == 1).nonzero().flatten()})
    papers = replace(bare, graph=library.graph.replace(node_type=torch.zeros_like(types)))
    with pytest.raises(DataError, match=r"no node of test:bare is of a type .* types \[1\]"):
        domains_of(authors, library, unlabeled=papers)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_task_trains_beside_the_target(encoder: str, library: Dataset) -> None:
    gates = {"pseudo_label": 0.4, "representation_consistency": 1.0}  # so that samples pass
    auxiliary = [
        {"name": name, "threshold": gates[name]} if name in gates else name for name in AUXILIARY
    ]
    model = gtl.finetune(
        ENCODERS[encoder], library, auxiliary=auxiliary, weighting="aux_ts", epochs=3
    )
    losses = model.history[-1]["losses"]
    assert set(losses) == {"supervised", *AUXILIARY}
    # Papers outside the training split: authors and places can have no label.
    assert model.results["unlabeled"]["items"] == 31 - 13
    assert all(math.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_run_on_a_typed_graph_is_read_again(encoder: str, library: Dataset, tmp_path) -> None:
    run = gtl.pretrain(ENCODERS[encoder], library, ["attribute_masking"], epochs=1)
    model = gtl.finetune(run, library, epochs=1, out=tmp_path / "run")
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(again, library), gtl.predict(model, library))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_types_tell_what_features_cannot(encoder: str) -> None:
    # Hubs that differ in nothing but the type of the edges that reach them.
    src, dst = torch.arange(12, 132), torch.arange(120) % 12
    labels = torch.cat([torch.arange(12) % 2, torch.full((120,), -1)])
    graph = Graph(src, dst, 132, edge_type=dst % 2, node_type=(torch.arange(132) > 11).long())
    split = {name: torch.arange(i, i + 4) for name, i in (("train", 0), ("valid", 4), ("test", 8))}
    data = Dataset("test:hubs", graph=graph, labels=labels, split=split, level="node")
    model = gtl.finetune(ENCODERS[encoder], data, epochs=20, lr=1e-2)
    assert gtl.evaluate(model, data, split="test")["acc"] == 1
