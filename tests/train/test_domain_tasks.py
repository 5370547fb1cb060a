"""Domain tasks in fine-tuning: two Gaussians come together, and runs resume."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import gtl
from gtl.data.dataset import Dataset
from gtl.graph import Graph, PackedGraphs
from gtl.roles import Batch
from gtl.tasks.mmd import median_widths, mmd_losses
from gtl.testing.laws import same

ENCODER = {"name": "gcn", "width": 8, "depth": 1, "embedding": None, "norm": None}
ENCODER |= {"dropout": 0.0, "input_dropout": 0.0}
ONE = {"weighting": "equal", "guard": False}
NONE = torch.empty(0, dtype=torch.int64)
SHIFT = torch.tensor([0.0, 0.0, 2.0, 0.0])
ACTING = {
    "dann": {},
    "cdan": {},
    "adda": {"after": 0.3, "lr": 1e-2, "steps": 5},
    "mcd": {"num_k": 1},
    "wdgrl": {},
    "mdd": {"strength": 1.0, "margin": 1.0, "alpha": None},
    "dsn": {"likeness": 1.0},
    "mk_mmd": {},
    "coral": {},
    "afn": {},
    "mcc": {},
    "target_entropy": {"strength": 1.0},
}


def part(name, **more):
    return {"name": name, **{**ACTING[name], **more}}


def gaussians(count, seed, shift=0.0, spread=1.0):
    """Nodes without edges of two classes, which the first column tells apart."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(count) % 2
    x = spread * torch.randn(count, 4, generator=rng) + shift
    x[:, 0] += 3 * y - 1.5
    order = torch.randperm(count, generator=rng)
    split = {"train": order[: count // 2], "valid": order[:0], "test": order[count // 2 :]}
    graph = Graph(NONE, NONE, count, x)
    return Dataset(f"test:{seed}", graph=graph, labels=y, split=split, level="node")


SOURCE, TARGET = gaussians(61, 0), gaussians(83, 1, SHIFT, 1.5)


def trained(name, epochs=100, **options):
    tasks = {} if name is None else {"auxiliary": [part(name)], "unlabeled": TARGET}
    return gtl.finetune(ENCODER, SOURCE, epochs=epochs, seed=0, **tasks, **{**ONE, **options})


def weighted(name, weight):
    return {"name": "fixed", "weights": {name: weight}}


def gap(model):
    """Squared MMD of the vectors of both domains, at the median distance."""
    x, y = (torch.as_tensor(gtl.embed(model, data)) for data in (SOURCE, TARGET))
    return float(mmd_losses(x, y, median_widths(torch.cat([x, y]), [1.0])).mean())


def entropy(model):
    """Mean entropy of the predictions on the target."""
    p = torch.as_tensor(gtl.predict(model, TARGET))
    return float(-(p * p.log()).sum(1).mean())


def last(model, name):
    return model.history[-1]["measures"][name]


@pytest.fixture(scope="module")
def source_only():
    torch.manual_seed(0)
    return trained(None)


HOW = {  # methods that bring the vectors together, and how they are trained here
    "dann": {},
    "cdan": {},
    "adda": {"epochs": 200},
    "mcd": {},
    "wdgrl": {},
    "mdd": {"rates": {"mdd": 1e-3}},
    "dsn": {},
    "mk_mmd": {},
    "coral": {"weighting": weighted("coral", 100.0)},
}


@pytest.mark.parametrize("name", HOW)
def test_two_gaussians_come_nearer_to_one_another_than_by_the_source_alone(name, source_only):
    model = trained(name, **HOW[name])
    assert gap(model) < 0.85 * gap(source_only)
    assert gtl.evaluate(model, SOURCE, split="test")["acc"] > 0.8


def test_the_encoder_makes_two_classifiers_agree_that_seek_to_differ():
    still = trained("mcd", weighting=weighted("mcd", 0.0))
    assert last(trained("mcd"), "mcd")["discrepancy"] < 0.9 * last(still, "mcd")["discrepancy"]


def test_the_encoder_lowers_the_disparity_that_a_classifier_raises():
    found = [
        gtl.finetune(
            ENCODER,
            SOURCE,
            epochs=100,
            seed=0,
            auxiliary=[part("mdd", strength=strength)],
            unlabeled=TARGET,
            **HOW["mdd"],
            **ONE,
        )
        for strength in (1.0, 0.0)
    ]
    moved, still = (last(model, "mdd")["target_disparity"] for model in found)
    assert moved < 0.9 * still


def test_vectors_of_both_domains_are_longer_by_afn(source_only):
    for data in (SOURCE, TARGET):
        lengths = [
            torch.as_tensor(gtl.embed(model, data)).norm(dim=1).mean()
            for model in (trained("afn"), source_only)
        ]
        assert lengths[0] > 1.5 * lengths[1]


@pytest.mark.parametrize("name", ["mcc", "target_entropy"])
def test_predictions_on_the_target_are_more_certain(name, source_only):
    assert entropy(trained(name)) < 0.8 * entropy(source_only)


@pytest.mark.parametrize("name", ACTING)
def test_a_run_that_was_interrupted_goes_on_bit_for_bit(name, tmp_path):
    how = {"epochs": 4}
    whole = trained(name, **how, out=tmp_path / "whole")
    step, taken = gtl.train.loop.train_step, []

    def killed(job, items):
        taken.append(len(items))
        if len(taken) == 3:
            raise KeyboardInterrupt
        return step(job, items)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gtl.train.loop, "CHECKPOINT_SECONDS", 0.0)
        patch.setattr(gtl.train.loop, "train_step", killed)
        trained(name, **how, out=tmp_path / "run")
    resumed = trained(name, **how, out=tmp_path / "run", resume=True)
    assert same(resumed.state_dict(), whole.state_dict())
    for one, two in zip(whole.history, resumed.history):
        assert {**one, "seconds": 0} == {**two, "seconds": 0}
    assert same(
        *(gtl.checkpoint.read_json(tmp_path / f / "results.json")["test"] for f in ("run", "whole"))
    )
    states = [folder_state(tmp_path / name) for name in ("whole", "run")]
    assert same(*states) and any(key.startswith(f"tasks.{name}.") for key in states[0])


def folder_state(folder):
    """Weights and buffers of all tasks in a run folder."""
    return gtl.run_folder.best_weights(folder)


@pytest.mark.parametrize("name", ACTING)
def test_graphs_of_unequal_batches_are_aligned(name, shapes):
    target = Dataset(
        "test:other", PackedGraphs.pack([g for g in shapes.graphs][:17], shapes.schema)
    )
    encoder = {"name": "gin", "width": 8, "depth": 1}
    how = {"auxiliary": [part(name)], "unlabeled": target, "readout": ["mean", "max"]}
    model = gtl.finetune(encoder, shapes, epochs=2, batch_size=11, **how, **ONE)
    assert model.history[-1]["losses"][name] is not None
    assert model.history[-1]["measures"][name]


def test_sampled_neighborhoods_of_both_graphs_are_one(communities):
    other = Dataset("test:other", graph=communities.graph, level="node", labels=None, split={})
    model = gtl.finetune(
        {"name": "sage", "width": 8, "depth": 2},
        communities,
        auxiliary=["dann", "wdgrl"],
        unlabeled=other,
        fan_out=[3, 3],
        batch_size=8,
        epochs=2,
        **ONE,
    )
    assert model.history[-1]["losses"]["dann"] > 0


def test_domain_tasks_stand_under_aux_ts_and_the_guard():
    model = gtl.finetune(
        ENCODER, SOURCE, auxiliary=["dann", "mk_mmd"], unlabeled=TARGET, epochs=6, seed=0
    )
    line = model.history[-1]
    assert set(line["weights"]) >= {"dann", "mk_mmd"} and all(
        value >= 0 for value in line["weights"].values()
    )


def test_a_target_only_run_is_as_without_the_task():
    """Critics draw their start from the run's own random state and leave that of others alone."""
    test = SOURCE.split["test"]
    split = {"train": SOURCE.split["train"], "valid": test[:15], "test": test[15:]}
    data = replace(SOURCE, split=split)
    plain = gtl.finetune(ENCODER, data, epochs=3, seed=0)
    guarded = gtl.finetune(
        ENCODER, data, auxiliary=["dann"], unlabeled=TARGET, weighting="equal", epochs=3, seed=0
    )
    candidates = guarded.results["selection"]["candidates"]
    assert candidates["target only"]["valid"] == plain.results["valid"]


def test_a_bare_step_with_a_domain_task():
    task = gtl.tasks.DANN(alpha=None)
    target = gtl.tasks.Supervised(kind="multiclass", outputs=2)
    encoder = gtl.encoders.GCN(SOURCE.schema, width=4, depth=1)
    for each in (target, task):
        each.setup(SOURCE.schema, 4)
    model = gtl.TaskModel(encoder, {"supervised": target, "dann": task})
    assert "tasks.dann.adversary.critic.maps.0.weight" in dict(model.named_parameters())
    task.after_step(model, 0.0)
    batch = Batch(SOURCE.batch(SOURCE.split["train"]), TARGET.batch(TARGET.split["train"]))
    view = task.view(batch, torch.Generator())
    assert len(task.losses(encoder(view.graph), view)) == 30 + 41
