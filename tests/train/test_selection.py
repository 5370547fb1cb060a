"""Races: several trainings side by side, and the guard against auxiliary tasks that hurt."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gtl
from gtl.catalog import ENCODERS
from gtl.errors import CheckpointError, ConfigError
from gtl.roles import Task, View
from gtl.train.selection import TARGET_ONLY, Candidate, copy_of, ranked, select
from gtl.train.step import TaskModel

GIN = {"name": "gin", "width": 16, "depth": 2}
QUICK = {"epochs": 2, "batch_size": 8}


class Script:
    """Stands in for a training: its validation values are written down beforehand."""

    steps_per_epoch = 1

    def __init__(self, values, metric="acc"):
        self.values, self.history = values, SimpleNamespace(epochs=[])
        self.job = SimpleNamespace(data=SimpleNamespace(metric=metric), writes=True)

    @property
    def epoch(self):
        return len(self.history.epochs)

    def advance(self, epochs, progress=None):
        self.history.epochs = [{"valid": v} for v in self.values[: max(epochs, self.epoch)]]


def scripts(values, metric="acc"):
    return [Candidate(name, Script(line, metric)) for name, line in values.items()]


def test_the_worse_half_is_dropped_half_way_and_target_only_is_trained_to_the_end():
    candidates = scripts(
        {"a": [1, 2, 3, 4], "b": [2, 3, 0, 0], "c": [0, 0, 9, 9], TARGET_ONLY: [0, 0, 0, 1]}
    )
    order = select(candidates, 4, "")
    assert [e.name for e in order] == ["a", "b", TARGET_ONLY, "c"]
    assert {e.name: e.training.epoch for e in order} == {"a": 4, "b": 4, "c": 2, TARGET_ONLY: 4}


def test_target_only_is_selected_only_when_it_is_better():
    assert select(scripts({"a": [1, 2], TARGET_ONLY: [0, 2]}), 2, "")[0].name == "a"
    assert select(scripts({"a": [1, 2], TARGET_ONLY: [0, 3]}), 2, "")[0].name == TARGET_ONLY


def test_errors_are_better_when_smaller():
    assert (
        select(scripts({"a": [1.0, 2.0], TARGET_ONLY: [0.5, 3.0]}, "rmse"), 2, "")[0].name
        == TARGET_ONLY
    )


def test_a_race_that_was_interrupted_goes_on_to_the_same_end():
    values = {"a": [1, 2, 3, 4], "b": [2, 3, 0, 0], TARGET_ONLY: [0, 0, 0, 1]}
    fresh, stopped = scripts(values), scripts(values)
    stopped[0].training.advance(3)
    assert [e.name for e in select(fresh, 4, "")] == [e.name for e in select(stopped, 4, "")]


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=6))
def test_ranking_is_by_the_best_value_and_stable(lines):
    candidates = scripts({str(i): line for i, line in enumerate(lines)})
    for candidate in candidates:
        candidate.training.advance(5)
    expected = sorted(range(len(lines)), key=lambda i: -max(lines[i][:3]))
    assert [int(e.name) for e in ranked(candidates, 3)] == expected


class Poison(Task):
    """A task that pulls every vector to zero, against any target; its first weights are drawn."""

    def build(self, schema, width):
        self.scale = torch.nn.Parameter(100 + torch.rand(()))

    def view(self, batch, rng):
        graph = batch.source
        return View(graph, {})

    def losses(self, nodes, view):
        return self.scale * nodes.square().sum(1)


def _weights(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def test_the_guard_returns_the_run_without_auxiliary_tasks_bit_for_bit(shapes, tmp_path):
    options = {"epochs": 12, "batch_size": 8, "lr": 5e-3}
    gin = {**GIN, "dropout": 0.1}
    alone = gtl.finetune(gin, shapes, **options)
    guarded = gtl.finetune(
        gin,
        shapes,
        auxiliary=[Poison()],
        weighting={"name": "fixed", "weights": {"Poison": 100.0}},
        out=tmp_path / "run",
        **options,
    )
    assert guarded.results["selection"]["selected"] == TARGET_ONLY
    before, after = _weights(alone), _weights(guarded)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert guarded.results["test"] == alone.results["test"]
    assert "Poison" in guarded.history[0]["losses"]
    again = gtl.Model.load(tmp_path / "run")
    assert torch.equal(gtl.predict(again, shapes), gtl.predict(alone, shapes))


def test_without_the_guard_one_training_is_done(shapes):
    model = gtl.finetune(
        GIN, shapes, auxiliary=["infomax"], weighting="equal", guard=False, **QUICK
    )
    assert "selection" not in model.results


def test_aux_ts_trains_each_of_its_auxiliary_weights(shapes, tmp_path):
    model = gtl.finetune(GIN, shapes, auxiliary=["infomax"], out=tmp_path / "run", **QUICK)
    candidates = model.results["selection"]["candidates"]
    assert list(candidates) == [
        "aux_ts (auxiliary_weight=0.3)",
        "aux_ts (auxiliary_weight=1.0)",
        TARGET_ONLY,
    ]
    assert sorted(e["epochs"] for e in candidates.values()) == [1, 2, 2]
    best = max(e["valid"] for e in candidates.values())
    assert (
        candidates[model.results["selection"]["selected"]]["valid"]
        == model.results["valid"]
        == best
    )
    assert gtl.evaluate(model, shapes, "valid")["rocauc"] == model.results["valid"]
    places = sorted(path.name for path in (tmp_path / "run" / "candidates").iterdir())
    assert places == ["aux_ts-auxiliary_weight=0.3", "aux_ts-auxiliary_weight=1.0", "target-only"]


def test_weightings_given_as_a_list_are_compared(shapes):
    model = gtl.finetune(
        GIN, shapes, auxiliary=["infomax"], weighting=["equal", "gcs"], guard=False, **QUICK
    )
    assert set(model.results["selection"]["candidates"]) == {"equal", "gcs"}


def test_an_empty_list_of_weightings_is_refused(shapes):
    with pytest.raises(ConfigError, match="empty list"):
        gtl.finetune(GIN, shapes, auxiliary=["infomax"], weighting=[], **QUICK)


def test_an_encoder_that_was_handed_in_ends_up_with_the_weights_that_were_selected(shapes):
    encoder = gtl.encoders.GIN(shapes.schema, width=16, depth=2)
    model = gtl.finetune(encoder, shapes, auxiliary=["infomax"], **QUICK)
    assert model.encoder is encoder
    assert gtl.evaluate(model, shapes, "valid")["rocauc"] == model.results["valid"]


def test_a_race_resumes_bit_for_bit(shapes, tmp_path):
    gin = {**GIN, "dropout": 0.2}
    options = {"auxiliary": ["infomax", "attribute_masking"], "batch_size": 8}
    whole = gtl.finetune(gin, shapes, epochs=4, out=tmp_path / "whole", **options)
    gtl.finetune(gin, shapes, epochs=2, out=tmp_path / "parts", **options)
    parts = gtl.finetune(gin, shapes, epochs=4, out=tmp_path / "parts", resume=True, **options)
    assert parts.results["selection"] == whole.results["selection"]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters()))


def test_a_run_from_a_guarded_folder_starts_from_what_was_selected(shapes, tmp_path):
    gtl.finetune(
        GIN,
        shapes,
        auxiliary=["infomax", Poison()],
        weighting={"name": "fixed", "weights": {"Poison": 100.0}},
        out=tmp_path / "run",
        epochs=8,
        lr=5e-3,
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    run = gtl.Run.load(tmp_path / "run")
    assert ("infomax" in run.tasks) == (results["selection"]["selected"] != TARGET_ONLY)


def test_a_race_that_never_ended_says_how_to_go_on(shapes, tmp_path):
    gtl.finetune(GIN, shapes, auxiliary=["infomax"], out=tmp_path / "run", **QUICK)
    for file in ("checkpoint.safetensors", "checkpoint.json", "results.json"):
        (tmp_path / "run" / file).unlink()
    with pytest.raises(CheckpointError, match="resume"):
        gtl.Model.load(tmp_path / "run")


def test_trainings_side_by_side_share_a_frozen_encoder_and_nothing_that_learns(shapes):
    encoder = gtl.adapters.attach(ENCODERS.build(GIN, shapes.schema), "film")
    model = TaskModel(encoder, {"infomax": gtl.tasks.Infomax()})
    copied = copy_of(model, ["infomax"]).encoder
    assert copied.base is encoder.base
    assert [place.module for place in copied.sites.blocks] == list(encoder.base.blocks)
    assert copied.parts()[0] is not encoder.parts()[0]
    encoder.base.requires_grad_(True)
    assert copy_of(model, ["infomax"]).encoder.base is not encoder.base
