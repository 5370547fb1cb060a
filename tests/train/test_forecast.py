"""forecast: baselines and errors by hand, nothing from the future, absent nodes, runs again."""

from __future__ import annotations

import json

import pytest
import torch

import gtl
from gtl.data import Series
from gtl.errors import CheckpointError, ConfigError, DataError, ShapeError
from gtl.graph import Graph
from gtl.registry import ENCODERS
from gtl.train.forecaster import Forecaster, WindowBatches
from gtl.train.horizons import errors, future_of
from gtl.train.naive import LastValue, LinearHistory, SeasonalNaive
from gtl.train.recurrent import Recurrent

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


def test_an_interrupted_run_goes_on_bit_for_bit(waves, tmp_path):
    way = {**QUICK, **WAYS["adapter"]}
    gtl.forecast(SAGE, waves, **{**way, "epochs": 1}, out=tmp_path / "a")
    gone_on = gtl.forecast(SAGE, waves, **way, out=tmp_path / "a", resume=True)
    whole = gtl.forecast(SAGE, waves, **way)
    assert torch.equal(gone_on.predict(waves), whole.predict(waves))
    with pytest.raises(CheckpointError, match="already holds a run"):
        gtl.forecast(SAGE, waves, **way, out=tmp_path / "a")


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


def test_the_past_helps_where_the_present_does_not_tell(waves):
    options = {"horizons": [1], "epochs": 20, "batch_size": 4, "lr": 2e-2}
    static = gtl.forecast(SAGE, waves, history=1, **options)
    level = float(future_of(waves, waves.windows(3, 1, "test")).std())
    for way in ("adapter", "gru"):
        model = gtl.forecast(static, waves, history=3, **WAYS[way], **options)
        assert model.results["test"] < 0.7 * level


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


def test_a_forecast_does_not_look_ahead(waves):
    model = gtl.forecast(SAGE, waves, adapter="spatio_temporal", **QUICK)
    windows = waves.windows(3, [1, 2], "test").pick(torch.tensor([0]))
    values = waves.values.clone()
    values[int(windows.now) + 1 :] = -50.0
    changed = Series("memory", values, waves.graph, period=8)
    assert torch.equal(model.predict(changed, windows), model.predict(waves, windows))


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
    graph = WindowBatches(series, windows, series.scale(), False).batch(chosen)
    assert graph.num_graphs == 6
    assert graph.origin[graph.seeds].tolist() == [0, 2, 3, 0, 1, 2, 3]  # node 1 is absent at 7
    assert (
        graph.y[:3].flatten().tolist()
        == series.values[[8, 9]][:, [0, 2, 3], 0].T.flatten().tolist()
    )
    assert graph.y[4].isnan().tolist() == [True, False]  # and at 14
    change = WindowBatches(series, windows, series.scale(), True).batch(chosen).y
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
    with pytest.raises(CheckpointError, match="a run of 'linear'"):
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
        ({"frozen": True, "head": "liner"}, LookupError, "did you mean 'linear'"),
    ):
        with pytest.raises(error, match=words):
            gtl.forecast(SAGE, waves, **{**QUICK, **options}, out=out)
    with pytest.raises(ConfigError, match=r"expected a gtl\.data\.Series"):
        gtl.forecast(SAGE, shapes, out=out)
    assert not out.exists()
