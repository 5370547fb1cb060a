"""What travels between clients and server, and how it is written and averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gtl
from gtl.adapters import attach
from gtl.encoders import GCN, GIN
from gtl.errors import ConfigError
from gtl.heads.class_statistics import ClassStatistics
from gtl.train.federated.federation import statistics_from, statistics_to
from gtl.train.federated.low_rank import factors_of, mean_of_products
from gtl.train.federated.plan import Plan
from gtl.train.federated.travel import SCALES, VECTOR, Codec, Layout, prepare, travelling
from gtl.train.model import build_target
from gtl.train.step import TaskModel

STATE = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([-4.0, 1000.0])}


def model_of(data, encoder, adapter=None, head="linear") -> TaskModel:
    base = encoder if adapter is None else attach(encoder, adapter)
    shape = {"kind": data.kind, "outputs": data.num_outputs, "level": data.level}
    target = build_target(base, shape, head, "mean")
    target.setup(data.schema, base.width)
    return TaskModel(base, {"supervised": target})


@pytest.mark.parametrize("scatter", [0, 1, 3])
def test_scatter_travels_as_triangles_and_nothing_is_lost(scatter):
    labels = torch.tensor([0, 1, 2, 0, 1])
    rng = torch.Generator().manual_seed(0)
    whole = ClassStatistics.of(torch.randn(5, 4, generator=rng), labels, 3, scatter)
    sent = statistics_to(whole)
    assert sent["scatter"].shape == (scatter, 10)
    for name, value in vars(statistics_from(sent)).items():
        torch.testing.assert_close(value, getattr(whole, name), rtol=1e-6, atol=0)


# -- vectors ---------------------------------------------------------------------------------------


def test_a_vector_holds_every_tensor_in_order():
    layout = Layout.of(STATE)
    vector = layout.pack(STATE)
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, -4, 1000]
    found = layout.unpack(vector)
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_nothing_is_lost_without_compression():
    codec = Codec(None, Layout.of(STATE))
    vector = codec.layout.pack(STATE)
    assert codec.decode(codec.encode(vector)).tolist() == vector.tolist()
    assert codec.error(vector) == 0


def test_bytes_are_wrong_by_half_a_level_of_each_tensor_at_most():
    rng = np.random.default_rng(0)
    layout = Layout({"small": (1000,), "large": (500,)})
    vector = np.concatenate([rng.normal(0, 1e-3, 1000), rng.normal(0, 50, 500)]).astype("f4")
    codec = Codec("int8", layout)
    sent = codec.encode(vector)
    assert sent[VECTOR].dtype == np.int8 and sent[SCALES].shape == (2,)
    apart = np.abs(codec.decode(sent) - vector)
    for part in (slice(0, 1000), slice(1000, 1500)):
        level = np.abs(vector[part]).max() / 127
        assert 0.4 * level < apart[part].max() <= 0.5001 * level
    assert 1e-3 < codec.error(vector) < 0.02


def test_half_precision_is_nearer_than_bytes_and_stays_finite():
    layout = Layout({"a": (100,)})
    vector = np.random.default_rng(0).normal(size=100).astype("f4")
    half = Codec("float16", layout)
    assert half.error(vector) < 5e-4 < Codec("int8", layout).error(vector)
    assert np.isfinite(half.encode(np.full(100, 1e9, dtype="f4"))[VECTOR]).all()


def test_zeros_are_written_as_zeros():
    codec = Codec("int8", Layout({"a": (3,), "b": (0,)}))
    assert codec.decode(codec.encode(np.zeros(3, dtype="f4"))).tolist() == [0, 0, 0]
    assert codec.error(np.zeros(3, dtype="f4")) == 0


# -- which parts -----------------------------------------------------------------------------------


def test_of_an_adapted_encoder_adapter_and_head_travel_alone(communities):
    model = model_of(communities, GCN(communities.schema, width=8), "film")
    names, kept = travelling(model, Plan(2))
    assert not kept and names
    assert all(".adapters." in name or ".predictor.head." in name for name in names)


def test_a_local_head_is_kept(communities):
    model = model_of(communities, GCN(communities.schema, width=8), "film")
    names, kept = travelling(model, Plan(2, share_head="local"))
    assert all(".adapters." in name for name in names)
    assert kept and all(".predictor." in name for name in kept)


@pytest.mark.parametrize(
    ("batch_norm", "travels", "stays"),
    [("average", True, False), ("frozen", False, False), ("local", False, True)],
)
def test_statistics_of_batch_norms_travel_or_stay_and_counts_never_travel(
    shapes, batch_norm, travels, stays
):
    model = model_of(shapes, GIN(shapes.schema, width=8, depth=2))
    names, kept = travelling(model, Plan(2, batch_norm=batch_norm))
    assert any("running_mean" in name for name in model.state_dict())
    assert any("running_" in name for name in names) == travels
    assert any("running_" in name for name in kept) == stays
    assert not any("num_batches" in name for name in [*names, *kept])


def test_statistics_of_a_frozen_encoder_stay_where_they_are(shapes):
    model = model_of(shapes, GIN(shapes.schema, width=8, depth=2), "bottleneck")
    names, kept = travelling(model, Plan(2))
    assert not any("running_" in name for name in [*names, *kept])


def test_one_factor_of_each_pair_is_frozen_by_default(communities):
    model = model_of(communities, GCN(communities.schema, width=8), "lora")
    prepare(model, Plan(2))
    names, _ = travelling(model, Plan(2))
    assert any(".up." in name for name in names) and not any(".down." in name for name in names)


def test_statistics_of_classes_need_a_head_that_has_some(communities):
    model = model_of(communities, GCN(communities.schema, width=8), "film")
    with pytest.raises(ConfigError, match="prototype"):
        prepare(model, Plan(2, share_head="statistics"))


# -- low rank --------------------------------------------------------------------------------------


def test_the_mean_of_products_is_that_of_the_reference(golden):
    with np.load(golden / "fed_aggregation.npz") as file:
        ups, downs, weights = file["lora_B"], file["lora_A"], file["weights"]
        expected, wrong = file["lora_mean_of_products"], file["lora_product_of_means"]
    found = mean_of_products(torch.from_numpy(ups), torch.from_numpy(downs), weights.tolist())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-13)
    assert not np.allclose(found.numpy(), wrong)


def test_factors_of_a_product_of_their_rank_lose_nothing():
    product = torch.randn(5, 2, dtype=torch.float64) @ torch.randn(2, 4, dtype=torch.float64)
    up, down, lost = factors_of(product, 2)
    assert torch.allclose(up @ down, product) and lost < 1e-12


def test_factors_of_a_higher_rank_lose_what_the_smallest_singular_values_have():
    product = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    up, down, lost = factors_of(product, 2)
    assert torch.allclose(up @ down, torch.diag(torch.tensor([3.0, 2.0, 0.0]).double()))
    assert lost == pytest.approx(1 / 14**0.5)


def test_factors_of_nothing_can_still_be_trained():
    up, down, lost = factors_of(torch.zeros(4, 3), 2)
    assert lost == 0 and not up.any()
    assert torch.allclose(down @ down.T, torch.eye(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clients": 0}, "clients"),
        ({"clients": 4, "fraction": 0.5, "minimum": 3}, "only 2 of 4"),
        ({"clients": 4, "compress": "int4"}, "compress"),
        ({"clients": 4, "drop_out": 1.0}, "drop_out"),
        ({"clients": 4, "fraction": 0.0}, "fraction"),
        ({"clients": 4, "low_rank": "product", "strategy": "fedadam"}, "no meaning"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Plan(**settings)


def test_an_unknown_option_of_a_strategy_is_named():
    with pytest.raises(gtl.GtlError, match="proximal_mu"):
        Plan(2, strategy={"name": "fedprox", "proximal": 1.0})
