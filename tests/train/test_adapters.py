"""Adapters in the loops: trained by name, beside auxiliary tasks, under heads, saved and loaded."""

from __future__ import annotations

import copy
import json

import pytest
import torch

import gtl
from gtl import adapters
from gtl.catalog import ADAPTERS, ENCODERS, HEADS
from gtl.errors import CheckpointError, ConfigError, GtlError, GtlWarning
from gtl.roles import Adapter

GIN = {"name": "gin", "width": 16, "depth": 2}
QUICK = {"epochs": 2, "batch_size": 8}
NAMES = [name for name in ADAPTERS.names() if name != "spatio_temporal"]  # that is for series
CLASSES = [[[0, 1, 0.5], [1, 0, 0.3]]]
NEEDED = {"kgtn": {"graphs": CLASSES}, "shrinkage": {"graphs": CLASSES}}


@pytest.mark.parametrize("adapter", NAMES)
def test_an_adapter_is_trained_by_name_and_the_encoder_is_not(shapes, adapter, tmp_path):
    run = gtl.pretrain(GIN, shapes, ["attribute_masking"], **QUICK)
    before = run.encoder.state_dict()
    model = gtl.finetune(run, shapes, adapter=adapter, lr=1e-2, **QUICK, out=tmp_path / "a")
    after = model.encoder.base.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(value.any() for value in adapters.adapter_state(model.encoder).values())
    loaded = gtl.Model.load(tmp_path / "a")
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))
    config = json.loads((tmp_path / "a/config.json").read_text())
    assert config["adapter"] == [{"name": adapter}]


@pytest.mark.parametrize("adapter", NAMES)
def test_auxiliary_tasks_act_through_the_adapter_alone(shapes, adapter):
    model = gtl.finetune(
        GIN,
        shapes,
        adapter=adapter,
        auxiliary=["attribute_masking", "infomax"],
        weighting={"name": "aux_ts", "auxiliary_weight": 0.3, "refresh": 1},
        guard=False,
        **QUICK,
    )
    alone = gtl.finetune(GIN, shapes, adapter=adapter, **QUICK)
    theirs, mine = model.encoder.base.state_dict(), alone.encoder.base.state_dict()
    assert all(torch.equal(theirs[name], mine[name]) for name in mine)
    assert set(model.history[0]["weights"]) == {"supervised", "attribute_masking", "infomax"}


@pytest.mark.parametrize("adapter", NAMES)
@pytest.mark.parametrize("head", HEADS.names())
def test_every_adapter_goes_with_every_head(communities, adapter, head):
    head = {"name": head, **NEEDED.get(head, {})}
    model = gtl.finetune("gcn", communities, adapter=adapter, head=head, epochs=1)
    assert gtl.predict(model, communities).shape == (60, 3)


def test_the_race_of_weightings_trains_adapters_of_their_own(shapes, tmp_path):
    model = gtl.finetune(
        GIN, shapes, adapter="film", auxiliary=["infomax"], out=tmp_path / "a", **QUICK
    )
    assert set(model.results["selection"]["candidates"]) >= {"target only"}
    loaded = gtl.Model.load(tmp_path / "a")
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))


def test_a_run_with_an_adapter_is_resumed_bit_for_bit(shapes, tmp_path):
    options = {"adapter": "film", "batch_size": 8, "lr": 1e-2}
    whole = gtl.finetune(GIN, shapes, epochs=4, **options)
    gtl.finetune(GIN, shapes, epochs=2, out=tmp_path / "a", **options)
    resumed = gtl.finetune(GIN, shapes, epochs=4, out=tmp_path / "a", resume=True, **options)
    one, two = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_footprint_counts_what_is_trained_and_what_must_be_stored(shapes):
    cost = gtl.finetune(GIN, shapes, adapter="film", **QUICK).results["footprint"]
    assert cost["parameters_trained"] == 2 * 16 * 2 + 16 + 1
    mean_and_scale_of_labels = 8
    assert cost["stored_bytes"] == 4 * cost["parameters_trained"] + mean_and_scale_of_labels
    assert cost["parameters_total"] > 10 * cost["parameters_trained"]


def test_an_empty_list_trains_the_head_alone(shapes):
    model = gtl.finetune(GIN, shapes, adapter=[], **QUICK)
    assert model.results["footprint"]["parameters_trained"] == 17


def test_a_run_folder_has_the_frozen_encoder_once_and_needs_it(shapes, tmp_path):
    from gtl import checkpoint

    run = tmp_path / "run"
    model = gtl.finetune("gin", shapes, adapter="film", epochs=2, batch_size=60, out=run)
    state = checkpoint.load(run / "checkpoint.safetensors")
    frozen = checkpoint.load(run / "frozen.safetensors")["model"]
    base = {f"encoder.base.{name}" for name in model.encoder.base.state_dict()}
    assert set(frozen) == base
    for weights in (state["model"], state["best"]["model"]):
        assert not base & set(weights)
        assert base | set(weights) == {
            name.replace("target.", "tasks.supervised.", 1) for name in model.state_dict()
        }
    (run / "frozen.safetensors").unlink()
    with pytest.raises(CheckpointError, match="does not fit its config"):
        gtl.Model.load(run)


@pytest.mark.parametrize("auxiliary", [[], ["infomax"]])
def test_a_resumed_run_has_the_encoder_that_it_began_with(shapes, tmp_path, auxiliary):
    start = gtl.finetune("gin", shapes, epochs=1, batch_size=60).encoder
    other = copy.deepcopy(start)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(2)
    options = {
        "adapter": "film",
        "auxiliary": auxiliary,
        "batch_size": 60,
        "out": tmp_path / "run",
    }
    gtl.finetune(copy.deepcopy(start), shapes, epochs=1, **options)
    resumed = gtl.finetune(other, shapes, epochs=2, resume=True, **options)
    for name, value in start.state_dict().items():
        assert torch.equal(resumed.encoder.base.state_dict()[name], value)


def test_without_adapter_all_weights_are_in_the_checkpoint(shapes, tmp_path):
    gtl.finetune("gin", shapes, epochs=1, batch_size=60, out=tmp_path)
    assert not (tmp_path / "frozen.safetensors").exists()


def test_an_encoder_with_several_adapters_is_trained_and_loaded_with_the_one_in_use(
    shapes, tmp_path
):
    torch.manual_seed(0)
    encoder = adapters.attach(gtl.encoders.GCN(shapes.schema, width=8), "film", name="one")
    adapters.attach(encoder, "film", name="two").set_adapter("one")
    model = gtl.finetune(encoder, shapes, lr=1e-2, out=tmp_path / "a", **QUICK)
    state = encoder.adapters.state_dict()
    assert all(not value.any() for name, value in state.items() if name.startswith("two."))
    loaded = gtl.Model.load(tmp_path / "a")
    assert loaded.encoder.active_adapter == "one"
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))


def test_a_pretrained_adapter_goes_on_in_fine_tuning(shapes, tmp_path):
    torch.manual_seed(0)
    encoder = adapters.attach(gtl.encoders.GIN(shapes.schema, width=8, depth=2), "film")
    gtl.pretrain(encoder, shapes, ["infomax"], lr=1e-2, out=tmp_path / "p", **QUICK)
    model = gtl.finetune(tmp_path / "p", shapes, epochs=1, lr=1e-9)
    mine = adapters.adapter_state(model.encoder)
    for name, value in adapters.adapter_state(encoder).items():
        torch.testing.assert_close(mine[name], value, atol=1e-6, rtol=0)


def test_both_adapters_of_the_paper_are_trained_together_and_the_depth_is_told(shapes, tmp_path):
    model = gtl.finetune(
        GIN, shapes, adapter=["bottleneck", "layerwise"], lr=1e-2, out=tmp_path / "a", **QUICK
    )
    depth = json.loads((tmp_path / "a/results.json").read_text())["adapter"]["layerwise"]["depth"]
    assert depth == model.encoder.parts()[1].findings()["depth"]
    assert len(depth) == 3
    assert sum(depth) == pytest.approx(1, abs=1e-3)
    loaded = gtl.Model.load(tmp_path / "a")
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))


def test_parts_learn_at_rates_of_their_own(shapes, tmp_path):
    both = {"adapter": ["bottleneck", "layerwise"], "auxiliary": ["infomax"], **QUICK}
    still = {"bottleneck": 1e-12, "infomax": 1e-12}
    model = gtl.finetune(GIN, shapes, lr=1e-2, rates=still, out=tmp_path / "a", **both)
    state = adapters.adapter_state(model.encoder)
    assert state["0.maps.0.up.weight"].abs().max() < 1e-9
    assert state["1.up.weight"].abs().max() > 1e-4
    assert json.loads((tmp_path / "a/config.json").read_text())["rates"] == still


def test_a_rate_for_no_part_is_refused_before_anything_is_written(shapes, tmp_path):
    with pytest.raises(ConfigError, match=r"'lora', which is no part .*: film, encoder, head"):
        gtl.finetune(GIN, shapes, adapter="film", rates={"lora": 1.0}, out=tmp_path / "a", **QUICK)
    with pytest.raises(ConfigError, match=r"the rate of 'head' is 0, expected a positive number"):
        gtl.finetune(GIN, shapes, rates={"head": 0}, out=tmp_path / "a", **QUICK)
    assert not (tmp_path / "a").exists()


def test_auxiliary_tasks_are_refused_where_all_of_the_encoder_is_frozen(shapes):
    with pytest.raises(ConfigError, match="all of it is frozen; attach an `adapter`"):
        gtl.finetune(GIN, shapes, adapter=[], auxiliary=["infomax"], **QUICK)


def test_an_adapter_of_ones_own_trains_by_name_and_loads_again(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(ADAPTERS, "_classes", dict(ADAPTERS._classes))

    @gtl.register_adapter("nudge")
    class Nudge(Adapter):
        """Adds a vector to what the encoder returns."""

        def __init__(self, size=1.0):
            super().__init__()
            self.size = size

        def setup(self, sites):
            self.vector = torch.nn.Parameter(torch.zeros(sites.width))

        def output(self, layers, out):
            return out + self.size * self.vector

    gtl.testing.check_adapter(Nudge)
    part = {"name": "nudge", "size": 3.0}
    model = gtl.finetune(GIN, shapes, adapter=part, out=tmp_path / "a", **QUICK)
    loaded = gtl.Model.load(tmp_path / "a")
    assert loaded.encoder.parts()[0].size == 3.0
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))


def test_the_command_line_takes_adapters(tmp_path, capsys):
    from gtl.cli import main

    words = ["finetune", "--data", "demo:shapes", "--epochs", "1", "--encoder"]
    words += [
        "{name: gin, width: 8, depth: 2}",
        "--adapter",
        "[film]",
        "--out",
        str(tmp_path / "a"),
    ]
    assert main(words) == 0
    assert main(["list", "adapter"]) == 0
    assert "film" in capsys.readouterr().out


def test_training_an_encoder_that_an_adapter_froze_is_warned_of(shapes):
    encoder = ENCODERS.build(GIN, shapes.schema)
    adapted = gtl.finetune(encoder, shapes, adapter="film", **QUICK).encoder
    with pytest.warns(GtlWarning, match="frozen when an adapter was attached"):
        gtl.finetune(encoder, shapes, **QUICK)
    gtl.finetune(encoder, shapes, adapter="lora", **QUICK)
    gtl.finetune(adapters.detach(adapted), shapes, **QUICK)
    assert all(p.requires_grad for p in encoder.parameters())


def test_a_run_whose_encoder_is_under_an_adapter_is_fine_tuned_whole(shapes):
    run = gtl.pretrain(GIN, shapes, ["attribute_masking"], **QUICK)
    adapters.attach(run.encoder, "film")
    cost = gtl.finetune(run, shapes, **QUICK).results["footprint"]
    assert cost["parameters_trained"] == cost["parameters_total"]


@pytest.mark.parametrize("wrong", [{"head": "nope"}, {"weighting": "nope"}, {"rates": {"x": 1}}])
def test_a_training_that_cannot_begin_leaves_the_encoder_as_it_was(shapes, wrong):
    encoder = ENCODERS.build(GIN, shapes.schema)
    with pytest.raises(GtlError):
        gtl.finetune(encoder, shapes, adapter="film", **QUICK, **wrong)
    assert all(p.requires_grad for p in encoder.parameters())
    adapted = adapters.attach(encoder, "film", "mine")
    with pytest.raises(GtlError):
        gtl.finetune(adapted, shapes, adapter="lora", **QUICK, **wrong)
    assert list(adapted.adapters) == ["mine"] and adapted.active_adapter == "mine"


def test_that_no_adapter_is_in_use_is_remembered(shapes, tmp_path):
    adapted = adapters.attach(ENCODERS.build(GIN, shapes.schema), "film")
    with torch.no_grad():
        for parameter in adapted.adapters.parameters():
            parameter.add_(0.5)
    model = gtl.finetune(adapted.set_adapter(None), shapes, out=tmp_path / "a", **QUICK)
    loaded = gtl.Model.load(tmp_path / "a")
    assert loaded.encoder.active_adapter is None
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(model, shapes))


def test_a_rate_for_what_is_frozen_is_refused(shapes):
    with pytest.raises(ConfigError, match="names 'encoder', of which nothing may move"):
        gtl.finetune(GIN, shapes, adapter="film", rates={"encoder": 1e-3}, **QUICK)


def test_an_adapter_that_is_not_in_use_is_stored_once_and_not_counted(shapes, tmp_path):
    encoder = adapters.attach(ENCODERS.build(GIN, shapes.schema), "lora", "other")
    adapted = adapters.attach(encoder, "film", "mine")
    model = gtl.finetune(adapted, shapes, out=tmp_path / "a", **QUICK)
    alone = gtl.finetune(GIN, shapes, adapter="film", **QUICK).results["footprint"]
    assert model.results["footprint"]["stored_bytes"] == alone["stored_bytes"]
    loaded = gtl.Model.load(tmp_path / "a")
    other = loaded.encoder.adapters["other"].state_dict()
    kept = model.encoder.adapters["other"].state_dict()
    assert all(torch.equal(other[name], kept[name]) for name in kept)


def test_a_checkpoint_that_holds_everything_is_gone_on_with(shapes, tmp_path):
    from gtl import checkpoint

    options = {"adapter": "film", "batch_size": 60, "out": tmp_path / "a"}
    whole = gtl.finetune(GIN, shapes, epochs=3, **{**options, "out": None})
    gtl.finetune(GIN, shapes, epochs=1, **options)
    file, frozen = (tmp_path / "a" / f"{name}.safetensors" for name in ("checkpoint", "frozen"))
    state, base = checkpoint.load(file), checkpoint.load(frozen)["model"]
    frozen.unlink()
    with pytest.raises(CheckpointError, match="does not fit its config"):
        gtl.finetune(GIN, shapes, epochs=3, resume=True, **options)
    state["model"] |= base
    state["best"]["model"] |= base
    checkpoint.save(file, state)
    gtl.finetune(GIN, shapes, epochs=3, resume=True, **options)
    loaded = gtl.Model.load(tmp_path / "a")
    assert torch.equal(gtl.predict(loaded, shapes), gtl.predict(whole, shapes))
