"""forecast: baselines and errors by hand, nothing from the future, absent nodes, runs again."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch

import gtl
from gtl.adapters import attach
from gtl.adapters.spatio_temporal import SpatioTemporal
from gtl.catalog import ENCODERS
from gtl.data import Series
from gtl.data.series import Windows
from gtl.data.window_items import WindowItems, future_of
from gtl.errors import CheckpointError, ConfigError, DataError, GtlError, ShapeError
from gtl.forecasting.baselines import LastValue, LinearHistory, SeasonalNaive
from gtl.forecasting.forecaster import Forecaster, base_of
from gtl.forecasting.horizons import errors
from gtl.forecasting.recurrent import Recurrent
from gtl.graph import Graph
from gtl.train import loop

SAGE = {"name": "sage", "width": 8, "depth": 2, "norm": "layer"}
QUICK = {"history": 3, "horizons": [1, 2], "epochs": 2, "batch_size": 4, "lr": 1e-2}
STEPS, NODES = 40, 4


def ring() -> Graph:
    nodes = torch.arange(NODES)
    return Graph(nodes, (nodes + 1) % NODES, NODES)


@pytest.fixture
def waves() -> Series:
    """A sine of period 8 that each node has a step later than the one before it."""
    phase = torch.arange(STEPS).unsqueeze(1) - torch.arange(NODES)
    values = 3 + (phase * torch.pi / 4).sin() + torch.arange(NODES)
    return Series("memory", values.unsqueeze(2), ring(), period=8)


def holes(series: Series) -> Series:
    """The same with node 1 absent every seventh step, its values there no numbers."""
    mask = torch.ones(STEPS, NODES, dtype=torch.bool)
    mask[::7, 1] = False
    values = series.values.masked_fill(~mask.unsqueeze(2), torch.nan)
    return Series("memory", values, series.graph, mask=mask, period=8)


# -- errors and baselines ------------------------------------------------------------------------


def test_errors_by_hand():
    future = torch.tensor([[2.0, 0.0], [4.0, torch.nan]]).view(2, 1, 2, 1)
    forecast = torch.tensor([[1.0, 3.0], [6.0, 7.0]]).view(2, 1, 2, 1)
    (found,) = errors(forecast, future, (5,)).values()
    assert found["mae"] == pytest.approx((1 + 3 + 2) / 3)
    assert found["rmse"] == pytest.approx(((1 + 9 + 4) / 3) ** 0.5)
    assert found["mape"] == pytest.approx(100 * (1 / 2 + 2 / 4) / 2)  # nothing is divided by 0
    zeros = errors(forecast[:1, :, 1:], future[:1, :, 1:], (5,))
    assert zeros == {5: {"mae": 3.0, "rmse": 3.0, "mape": None}}


def test_errors_need_forecasts_of_the_same_shape():
    future = torch.zeros(2, 1, 2, 1)
    with pytest.raises(ShapeError, match=r"expected both to be \(w, 1, n, d\)"):
        errors(future[:1], future, (1,))
    with pytest.raises(DataError, match="no value 1 steps ahead has a forecast"):
        errors(future * torch.nan, future, (1,))


def test_the_last_value_and_the_last_season_by_hand():
    values = torch.arange(12.0).view(12, 1, 1).repeat(1, 2, 1)
    series = Series("memory", values, Graph(*torch.zeros(2, 0, dtype=torch.int64), 2), period=3)
    windows = series.windows(2, [1, 3, 4], "train").pick(torch.tensor([1]))
    assert windows.now.tolist() == [2]
    assert LastValue().predict(series, windows)[0, :, 0, 0].tolist() == [2.0, 2.0, 2.0]
    assert SeasonalNaive().predict(series, windows)[0, :, 1, 0].tolist() == [0.0, 2.0, 0.0]
    with pytest.raises(DataError, match="needs a season of 3 steps before step 1"):
        SeasonalNaive().predict(series, series.windows(2, 1, "train"))
    aperiodic = Series("memory", values, series.graph)
    with pytest.raises(ConfigError, match="has no `period`"):
        SeasonalNaive().predict(aperiodic, windows)


def test_the_linear_baseline_finds_an_autoregression():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(80, 3, 1, generator=rng, dtype=torch.float64)
    for t in range(2, 80):
        values[t] = 5 + 0.8 * values[t - 1] - 0.5 * values[t - 2]
    series = Series("memory", values, Graph(*torch.zeros(2, 0, dtype=torch.int64), 3))
    train, test = (series.windows(2, [1, 2], part) for part in ("train", "test"))
    baseline = LinearHistory().fit(series, train)
    forecast = baseline.predict(series, test)
    torch.testing.assert_close(forecast, future_of(series, test), rtol=1e-3, atol=1e-3)
    assert baseline.parameters == 3 * 2


def test_absent_nodes_have_no_baseline_forecast(waves):
    series = holes(waves)
    windows = series.windows(3, [1], "test")
    gone = ~series.mask[windows.now]
    for baseline in (LastValue(), LinearHistory().fit(series, series.windows(3, [1], "train"))):
        assert torch.equal(baseline.predict(series, windows)[:, 0, :, 0].isnan(), gone)


def test_the_last_season_is_judged_where_a_node_is_there_at_present(waves):
    series = holes(waves)
    windows = series.windows(3, [2], "test")
    now, season = ~series.mask[windows.now], ~series.mask[windows.now + 2 - 8]
    assert (now & ~season).any() and (season & ~now).any()
    forecast = SeasonalNaive().predict(series, windows)[:, 0, :, 0]
    assert torch.equal(forecast.isnan(), now | season)


def test_a_baseline_has_a_footprint_like_any_run(waves):
    keys = set(gtl.forecast(SAGE, waves, **QUICK).results["footprint"])
    for name, count in (("last_value", 0), ("seasonal_naive", 0), ("linear", 4 * 2)):
        footprint = gtl.forecast(name, waves, history=3, horizons=2).results["footprint"]
        assert set(footprint) == keys
        assert footprint["parameters_total"] == footprint["parameters_trained"] == count
        assert footprint["stored_bytes"] == 8 * count  # float64


@pytest.mark.parametrize(
    "options",
    [{"difference": True}, {"head": "mlp"}, {"lr": 0.1}, {"frozen": False}, {"memory": "gru"}],
    ids=lambda options: next(iter(options)),
)
def test_a_baseline_refuses_what_it_has_no_use_for(waves, options):
    (name,) = options
    with pytest.raises(ConfigError, match=f"no encoder to adapt or train; leave out `{name}`"):
        gtl.forecast("last_value", waves, history=3, horizons=2, **options)


# -- the recurrent unit --------------------------------------------------------------------------


def test_the_recurrent_unit_agrees_with_a_loop_over_nodes(waves):
    series = holes(waves)
    base = ENCODERS.build(SAGE, series.schema).eval()
    encoder = Recurrent(base, 3)
    steps = torch.tensor([5, 6, 7, 20, 21, 22])
    graph = series.snapshots(steps)
    vectors, out = base(graph), encoder(graph)
    place = {
        (s, int(i)): r for r, (s, i) in enumerate(zip(graph.graph_ids().tolist(), graph.origin))
    }
    for window in (0, 1):
        for node in range(NODES):
            rows = [place.get((3 * window + t, node)) for t in range(3)]
            inputs = [torch.zeros(8) if r is None else vectors[r] for r in rows]
            states, _ = encoder.gru(torch.stack(inputs).unsqueeze(1))
            for row, state in zip(rows, states[:, 0]):
                if row is not None:
                    torch.testing.assert_close(out[row], state)


# -- training ------------------------------------------------------------------------------------

WAYS = {
    "static": {},
    "adapter": {"adapter": "spatio_temporal"},
    "together": {"adapter": "spatio_temporal", "frozen": False, "difference": True},
    "gru": {"memory": "gru"},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_forecaster_repeats_itself_and_can_be_loaded(waves, way, tmp_path):
    model = gtl.forecast(SAGE, waves, **WAYS[way], **QUICK, out=tmp_path / "a")
    again = gtl.forecast(SAGE, waves, **WAYS[way], **QUICK)
    forecast = model.predict(waves)
    assert forecast.shape == (7, 2, NODES, 1) and bool(forecast.isfinite().all())
    assert torch.equal(forecast, again.predict(waves))
    assert torch.equal(forecast, Forecaster.load(tmp_path / "a").predict(waves))
    results = json.loads((tmp_path / "a/results.json").read_text())
    assert results["test"] == pytest.approx(
        sum(results["horizons"][h]["mae"] for h in ("1", "2")) / 2
    )
    assert results["valid"] == pytest.approx(model.training_history[results["epoch"]]["valid"])
    assert (tmp_path / "a/plots/learning_curves.png").exists()


def test_a_finished_run_can_be_extended(waves, tmp_path):
    way = {**QUICK, **WAYS["adapter"]}
    gtl.forecast(SAGE, waves, **{**way, "epochs": 1}, out=tmp_path / "a")
    gone_on = gtl.forecast(SAGE, waves, **way, out=tmp_path / "a", resume=True)
    whole = gtl.forecast(SAGE, waves, **way)
    assert torch.equal(gone_on.predict(waves), whole.predict(waves))
    with pytest.raises(CheckpointError, match="already holds a run"):
        gtl.forecast(SAGE, waves, **way, out=tmp_path / "a")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupted_run_goes_on_bit_for_bit(waves, way, tmp_path, monkeypatch):
    encoder = {"name": "gin", "width": 8, "depth": 2, "dropout": 0.3}
    options = {**QUICK, **WAYS[way], "epochs": 5}
    whole = gtl.forecast(encoder, waves, **options)
    train_step, steps = loop.train_step, []

    def killed(job, items):
        steps.append(items)
        if len(steps) == 14:  # of 5 an epoch: in the middle of the third
            raise Killed
        return train_step(job, items)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", killed)
        patch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
        with pytest.raises(Killed):
            gtl.forecast(encoder, waves, **options, out=tmp_path / "a")
    assert not (tmp_path / "a/results.json").exists()
    gone_on = gtl.forecast(encoder, waves, **options, out=tmp_path / "a", resume=True)
    assert torch.equal(gone_on.predict(waves), whole.predict(waves))
    assert torch.equal(Forecaster.load(tmp_path / "a").predict(waves), whole.predict(waves))
    valid = [[line["valid"] for line in m.training_history] for m in (gone_on, whole)]
    assert valid[0] == valid[1]


def test_an_adapter_trains_while_the_encoder_it_came_from_stays(waves):
    static = gtl.forecast(SAGE, waves, **{**QUICK, "history": 1})
    before = {name: value.clone() for name, value in static.encoder.state_dict().items()}
    adapted = gtl.forecast(static, waves, adapter="spatio_temporal", **QUICK)
    gtl.forecast(static, waves, adapter="spatio_temporal", frozen=False, **QUICK)
    assert all(
        torch.equal(before[name], value) for name, value in static.encoder.state_dict().items()
    )
    base = adapted.encoder.base.state_dict()
    assert all(torch.equal(before[name], base[name]) for name in before)
    moving = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert all(".adapters." in name or ".head." in name for name in moving)
    (part,) = adapted.encoder.parts()
    assert part.history == 3 and bool(part.maps["temporal"][0].up.weight.any())
    again = gtl.forecast(adapted, waves, memory="gru", **QUICK)  # from the encoder alone
    assert all(torch.equal(before[n], again.encoder.base.base.state_dict()[n]) for n in before)


def from_adapted(waves, folder):
    """What has an adapter on a frozen encoder: a forecaster, its folder, and its encoder."""
    model = gtl.forecast(SAGE, waves, adapter="spatio_temporal", **QUICK, out=folder)
    return {"object": model, "folder": folder, "encoder": model.encoder}


@pytest.mark.parametrize("kind", ["object", "folder", "encoder"])
@pytest.mark.parametrize("way", WAYS)
def test_an_encoder_that_was_frozen_learns_where_it_shall(waves, way, kind, tmp_path):
    start = from_adapted(waves, tmp_path / "a")[kind]
    model = gtl.forecast(start, waves, **{**QUICK, **WAYS[way], "frozen": False})
    assert all(p.requires_grad for p in model.parameters())
    sizes = model.results["footprint"]
    assert sizes["parameters_trained"] == sizes["parameters_total"]
    before = from_adapted(waves, None)["encoder"].base.state_dict()
    after = base_of(model.encoder).state_dict()
    assert set(before) == set(after)
    assert not any(torch.equal(before[name], after[name]) for name in before if "bias" in name)


def test_an_encoder_with_other_adapters_is_taken_without_them(waves):
    base = ENCODERS.build(SAGE, waves.schema)
    other = attach(base, "bottleneck")
    before = {name: value.clone() for name, value in other.state_dict().items()}
    bare = gtl.forecast(copy.deepcopy(base), waves, memory="gru", **QUICK)
    model = gtl.forecast(other, waves, memory="gru", **QUICK)
    assert torch.equal(model.predict(waves), bare.predict(waves))
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())
    assert other.base is base and other.active_adapter == "default"


def ambiguous() -> Series:
    """A sine of period 8 that all nodes share: whether it rises or falls, the present hides."""
    values = (torch.arange(STEPS) * torch.pi / 4 + 0.3).sin().view(-1, 1, 1).repeat(1, NODES, 1)
    return Series("memory", values, ring(), period=8)


def test_the_past_helps_where_the_present_does_not_tell():
    series = ambiguous()
    options = {"horizons": [2], "epochs": 30, "batch_size": 4, "lr": 2e-2}
    static = gtl.forecast(SAGE, series, history=1, **options)
    for way in ("adapter", "gru"):
        model = gtl.forecast(static, series, history=3, **WAYS[way], **options)
        assert model.results["test"] < 0.5 * static.results["test"]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_the_test_part_is_learned(waves, way):
    values = waves.values.clone()
    values[waves.split["test"][0] :] = 1e3
    changed = Series("memory", values, waves.graph, period=8)
    model, other = (gtl.forecast(SAGE, s, **WAYS[way], **QUICK) for s in (waves, changed))
    states = zip(model.state_dict().values(), other.state_dict().values())
    assert all(torch.equal(a, b) for a, b in states)
    assert model.results["valid"] == other.results["valid"]
    assert model.results["test"] != other.results["test"]


@pytest.mark.parametrize("way", WAYS)
def test_a_forecast_does_not_look_ahead(waves, way):
    model = gtl.forecast(SAGE, waves, **{**QUICK, **WAYS[way]})
    windows = waves.windows(3, [1, 2], "test")
    for i, now in enumerate(windows.now.tolist()):
        values = waves.values.clone()
        values[now + 1 :] = -50.0
        changed = Series("memory", values, waves.graph, period=8)
        same = model.predict(changed, windows) == model.predict(waves, windows)
        assert same[: i + 1].all() and not same[i + 1 :].flatten(1).all(1).any()


@pytest.mark.parametrize("causal", [True, False])
def test_an_adapter_for_other_windows_is_refused(waves, causal, tmp_path):
    for adapter in (
        {"name": "spatio_temporal", "history": 6, "causal": causal},
        SpatioTemporal(6, causal=causal),
        ["bottleneck", SpatioTemporal(6, causal=causal)],
    ):
        with pytest.raises(ConfigError, match="the adapter has `history` 6, the windows have 3"):
            gtl.forecast(SAGE, waves, adapter=adapter, **QUICK, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
    gtl.forecast(SAGE, waves, adapter=SpatioTemporal(3, causal=causal), **QUICK)


@pytest.mark.parametrize("way", [*WAYS, "last_value", "seasonal_naive", "linear"])
def test_what_is_not_known_yet_can_be_forecast(waves, way):
    if way in WAYS:
        model = gtl.forecast(SAGE, waves, **{**QUICK, **WAYS[way]})
    else:
        model = gtl.forecast(way, waves, history=3, horizons=[1, 2])
    last = Windows(torch.tensor([STEPS - 3, STEPS - 1]), 3, (1, 2))
    forecast = model.predict(waves, last)
    assert forecast.shape == (2, 2, NODES, 1) and bool(forecast.isfinite().all())
    longer = torch.cat([waves.values, torch.full((2, NODES, 1), 9.0)])
    known = Series("memory", longer, waves.graph, split=waves.split | {"test": (32, 42)}, period=8)
    assert torch.equal(forecast, model.predict(known, last))
    if way in WAYS:
        with pytest.raises(DataError, match="has 40 steps, windows ask what came at step 41"):
            model.errors(waves, last)


@pytest.mark.parametrize("name", ["sage", "linear", "last_value", "seasonal_naive"])
def test_windows_and_series_that_do_not_fit_are_refused(waves, name):
    encoder = SAGE if name == "sage" else name
    training = QUICK if name == "sage" else {"history": 3, "horizons": [1, 2]}
    model = gtl.forecast(encoder, waves, **training)
    judge = [model.predict, model.errors] if name == "sage" else [model.predict]
    two = Series("memory", waves.values.repeat(1, 1, 2), waves.graph, period=8)
    for call in judge:
        for windows in (waves.windows(3, [3, 4], "test"), waves.windows(3, [1], "test")):
            with pytest.raises(ConfigError, match=r"the model has 3 and \[1, 2\]; make them with"):
                call(waves, windows)
        with pytest.raises(ConfigError, match="`windows` have 6 past steps"):
            call(waves, waves.windows(6, [1, 2], "test"))
        with pytest.raises(
            DataError, match=r"windows cover steps -1 to 12 .* present steps from 2 to 39"
        ):
            call(waves, Windows(torch.tensor([1, 12]), 3, (1, 2)))
        with pytest.raises(DataError, match="windows cover steps 38 to 40 of a series of 40"):
            call(waves, Windows(torch.tensor([40]), 3, (1, 2)))
        with pytest.raises(DataError, match=r"columns"):
            call(two, "test")


def test_a_training_that_blows_up_says_so(waves, monkeypatch):
    with pytest.raises(GtlError, match=r"no finite numbers; lower the learning rate \(lr\)"):
        gtl.forecast(SAGE, waves, **{**QUICK, "lr": 1e25, "batch_size": 64})
    series = holes(waves)
    model = gtl.forecast(SAGE, series, **QUICK)
    assert model.errors(series) == model.errors(series, series.windows(3, [1, 2], "test"))
    right = model.predict(series)
    for wrong in (torch.nan, torch.inf):
        broken = right.index_fill(2, torch.tensor(3), wrong)
        monkeypatch.setattr(model, "predict", lambda *_, broken=broken: broken)
        with pytest.raises(GtlError, match="no finite numbers"):
            model.errors(series)


def test_a_failing_forecast_leaves_the_modes_as_they_were(waves, monkeypatch):
    model = gtl.forecast(SAGE, waves, **QUICK).train()
    before = [part.training for part in model.modules()]
    assert all(before)

    def failing(self, index):
        raise RuntimeError("stop")

    monkeypatch.setattr(WindowItems, "inputs", failing)
    with pytest.raises(RuntimeError, match="stop"):
        model.predict(waves)
    assert [part.training for part in model.modules()] == before


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_a_forecast_goes_with_the_unit(waves, unit):
    other = Series("memory", waves.values * unit, waves.graph, period=8)
    for encoder, options in (("linear", {}), (SAGE, {"epochs": 3, "batch_size": 4})):
        tests = [
            gtl.forecast(encoder, s, history=3, horizons=[1], **options).results["test"]
            for s in (waves, other)
        ]
        assert tests[1] / unit == pytest.approx(tests[0], rel=0.02)


def test_numbers_of_numpy_are_horizons_and_strides(waves, tmp_path):
    model = gtl.forecast(
        "last_value",
        waves,
        history=np.int64(3),
        horizons=np.int64(2),
        stride=np.int64(2),
        out=tmp_path / "a",
    )
    assert list(model.results["horizons"]) == ["1", "2"]


@pytest.mark.parametrize("way", WAYS)
def test_absent_nodes_count_nowhere(waves, way):
    series = holes(waves)
    other = Series("memory", series.values.nan_to_num(7e5), waves.graph, mask=series.mask, period=8)
    model, twin = (gtl.forecast(SAGE, s, **WAYS[way], **QUICK) for s in (series, other))
    states = zip(model.state_dict().values(), twin.state_dict().values())
    assert all(torch.equal(a, b) for a, b in states)
    assert model.results["horizons"] == twin.results["horizons"]
    windows = series.windows(3, [1, 2], "test")
    gone = ~series.mask[windows.now]
    assert gone.any()
    assert torch.equal(model.predict(series)[:, 0, :, 0].isnan(), gone)


def test_a_batch_has_a_seed_for_each_node_that_is_there(waves):
    series = holes(waves)
    windows = series.windows(3, [1, 2], "train")
    chosen = torch.tensor([windows.now.tolist().index(t) for t in (7, 13)])
    graph = WindowItems(series, windows, series.scale(), False).batch(chosen)
    assert graph.num_graphs == 6
    assert graph.origin[graph.seeds].tolist() == [0, 2, 3, 0, 1, 2, 3]  # node 1 is absent at 7
    assert (
        graph.y[:3].flatten().tolist()
        == series.values[[8, 9]][:, [0, 2, 3], 0].T.flatten().tolist()
    )
    assert graph.y[4].isnan().tolist() == [True, False]  # and at 14
    change = WindowItems(series, windows, series.scale(), True).batch(chosen).y
    torch.testing.assert_close(change[0], graph.y[0] - series.values[7, 0, 0])


def test_baselines_go_by_name(waves, tmp_path):
    for name in ("last_value", "seasonal_naive", "linear"):
        model = gtl.forecast(name, waves, history=3, horizons=2, out=tmp_path / name)
        assert (tmp_path / name / "results.json").exists()
        assert set(model.results["horizons"]) == {"1", "2"}
    seasonal = gtl.forecast("seasonal_naive", waves, history=3, horizons=2)
    assert seasonal.results["test"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(ConfigError, match="no encoder to adapt"):
        gtl.forecast("linear", waves, adapter="spatio_temporal", history=3, horizons=2)
    with pytest.raises(CheckpointError, match="a run of the baseline 'linear'"):
        Forecaster.load(tmp_path / "linear")


def test_bad_input_is_refused_before_anything_is_written(waves, shapes, tmp_path):
    out = tmp_path / "a"
    for options, error, words in (
        ({"history": 50}, DataError, "no window of 50 past steps"),
        ({"history": 0}, ConfigError, "`history` is 0"),
        ({"horizons": 0}, ConfigError, "`horizons` is 0"),
        ({"horizons": [30]}, DataError, "30 ahead fits the train part"),
        ({"memory": "lstm"}, ConfigError, "`memory` is 'lstm'"),
        ({"epochs": 0}, ConfigError, "`epochs` is 0"),
        ({"stride": {"training": 20}}, ConfigError, "`stride` names 'training', expected parts:"),
        (
            {"adapter": {"name": "spatio_temporal", "reach": 0}},
            ConfigError,
            "`reach` is 0, expected",
        ),
        ({"frozen": True, "head": "liner"}, LookupError, "did you mean 'linear'"),
    ):
        with pytest.raises(error, match=words):
            gtl.forecast(SAGE, waves, **{**QUICK, **options}, out=out)
    typed = Series("memory", waves.values, ring().replace(edge_type=torch.zeros(NODES).long()))
    rgcn = {"name": "rgcn", "width": 8, "depth": 1}
    with pytest.raises(ConfigError, match="`edge_type` is 3"):
        adapter = {"name": "spatio_temporal", "edge_type": 3}
        gtl.forecast(rgcn, typed, adapter=adapter, **QUICK, out=out)
    with pytest.raises(ConfigError, match=r"expected a gtl\.data\.Series"):
        gtl.forecast(SAGE, shapes, out=out)
    assert not out.exists()
