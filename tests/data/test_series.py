"""Series: windows counted by hand, a scale that has seen the training part alone, absent nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtl.data import Series
from gtl.data.series import split_steps
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph, PackedGraphs

SPLIT = {"train": (0, 7), "valid": (7, 10), "test": (10, 13)}


def ring(n: int = 3) -> Graph:
    nodes = torch.arange(n)
    return Graph(nodes, (nodes + 1) % n, n)


def series(**changes) -> Series:
    """Value ``10 t + i`` of node ``i`` at step ``t``, 13 steps of 3 nodes."""
    steps, nodes = torch.arange(13.0), torch.arange(3.0)
    values = (10 * steps.unsqueeze(1) + nodes).unsqueeze(2).double()
    return Series("memory", **{"values": values, "graph": ring(), "split": SPLIT, **changes})


@pytest.mark.parametrize(
    ("part", "now"),
    [("train", [1, 2, 3, 4]), ("valid", [6, 7]), ("test", [9, 10])],
)
def test_windows_counted_by_hand(part, now):
    windows = series().windows(2, [2, 1], part)
    assert windows.now.tolist() == now
    assert windows.past()[0].tolist() == [now[0] - 1, now[0]]
    assert windows.future()[-1].tolist() == [now[-1] + 1, now[-1] + 2]
    assert series().windows(2, 2, part, stride=3).now.tolist() == now[::3]


@given(
    history=st.integers(1, 6),
    ahead=st.integers(1, 3),
    part=st.sampled_from(["train", "valid", "test"]),
)
def test_the_future_of_a_window_lies_in_its_part_and_its_past_is_over(history, ahead, part):
    try:
        windows = series().windows(history, ahead, part)
    except DataError:
        assert part == "train" and history + ahead > 7
        return
    start, end = SPLIT[part]
    assert bool((windows.future() >= start).all()) and bool((windows.future() < end).all())
    assert bool((windows.past() >= 0).all())
    assert bool((windows.past()[:, -1] < windows.future()[:, 0]).all())


def test_the_scale_by_hand_is_that_of_the_training_part():
    values = torch.full((13, 3, 2), torch.nan, dtype=torch.float64)
    values[:, :, 1] = 5.0
    values[:7, :, 0] = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    values[7:, :, 0] = 1e6
    scale = series(values=values).scale()
    assert scale.mean.tolist() == [2.0, 5.0]
    assert scale.std.tolist() == [pytest.approx((2 / 3) ** 0.5), 1.0]  # a constant column stays
    torch.testing.assert_close(scale.undo(scale.apply(values)), values)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_the_scale_goes_with_the_unit(unit):
    whole, part = series().scale(), series(values=series().values * unit).scale()
    torch.testing.assert_close(part.mean / unit, whole.mean)
    torch.testing.assert_close(part.std / unit, whole.std)
    constant = torch.full((13, 3, 1), unit / 3, dtype=torch.float32)
    assert series(values=constant).scale().std.tolist() == [1.0]


def test_later_values_change_no_scaling():
    changed = series().values.clone()
    changed[7:] = -1.0
    assert torch.equal(series(values=changed).scale().mean, series().scale().mean)
    assert torch.equal(series(values=changed).scale().std, series().scale().std)


def test_absent_nodes_have_no_rows_no_edges_and_no_say_in_the_scale():
    mask = torch.ones(13, 3, dtype=torch.bool)
    mask[0, 1] = mask[4, 0] = False
    values = series().values.clone()
    values[0, 1] = torch.nan
    values[4, 0] = 1e9
    found = series(values=values, mask=mask)
    graph = found.snapshots(torch.tensor([4, 0]))
    assert graph.sizes.tolist() == [2, 2]
    assert graph.origin.tolist() == [1, 2, 0, 2]
    assert graph.x.flatten().tolist() == [41.0, 42.0, 0.0, 2.0]
    edges = zip(graph.src.tolist(), graph.dst.tolist())
    assert sorted(edges) == [(0, 1), (3, 2)]  # of the ring 0 -> 1 -> 2 -> 0
    known = torch.tensor([10.0 * t + i for t in range(7) for i in range(3) if mask[t, i]])
    assert found.scale().mean.item() == pytest.approx(known.mean().item())


def test_snapshots_are_the_graphs_one_after_the_other():
    graph = series().snapshots(torch.tensor([5, 2, 5]))
    assert graph.sizes.tolist() == [3, 3, 3]
    assert graph.x.flatten().tolist() == [50, 51, 52, 20, 21, 22, 50, 51, 52]
    for part in graph.unbatch():
        assert part.src.tolist() == ring().src.tolist() and part.dst.tolist() == ring().dst.tolist()
    again = series().snapshots(torch.tensor([0, 1, 2]))
    assert torch.equal(again.src, graph.src)


def test_each_step_may_have_a_graph_of_its_own():
    e = torch.arange(3.0).unsqueeze(1)
    graphs = PackedGraphs.pack(
        [ring().replace(e=e + t).drop_edges(e[:, 0] < t % 3) for t in range(13)]
    )
    found = series(graph=None, graphs=graphs).snapshots(torch.tensor([2, 12]))
    assert found.num_edges == 1 + 3
    assert found.e.flatten().tolist() == [4.0, 12.0, 13.0, 14.0]
    assert found.origin.tolist() == [0, 1, 2, 0, 1, 2]


def test_parts_by_default_are_shares_in_order_of_time():
    assert split_steps(61) == {"train": (0, 37), "valid": (37, 49), "test": (49, 61)}
    assert series(split={}).split == split_steps(13)


@given(
    steps=st.integers(1, 3000),
    shares=st.sampled_from([(0.5, 0.5, 0.0), (0.6, 0.2, 0.2), (0.7, 0.1, 0.2), (0.0, 0.3, 0.7)]),
)
def test_parts_never_end_behind_the_series(steps, shares):
    parts = split_steps(steps, shares)
    ends = [end for part in ("train", "valid", "test") for end in parts[part]]
    assert ends == sorted(ends) and (ends[0], ends[-1]) == (0, steps)
    for share, (start, end) in zip(shares, parts.values()):
        assert abs(end - start - share * steps) <= 1


def test_parts_of_the_published_sets_stay_as_they_were():
    assert split_steps(521) == {"train": (0, 313), "valid": (313, 417), "test": (417, 521)}
    assert split_steps(2016) == {"train": (0, 1210), "valid": (1210, 1613), "test": (1613, 2016)}


def test_any_kind_of_graph_will_do():
    networkx = pytest.importorskip("networkx")
    cycle = networkx.cycle_graph(3, create_using=networkx.DiGraph)
    found = series(graph=cycle)
    assert (found.graph.src.tolist(), found.graph.dst.tolist()) == ([0, 1, 2], [1, 2, 0])
    assert found.checksum() == series().checksum()
    each = series(graph=None, graphs=[cycle] * 13)
    packed = series(graph=None, graphs=PackedGraphs.pack([ring()] * 13))
    assert each.checksum() == packed.checksum()
    with pytest.raises(DataError, match="one a step"):
        series(graph=None, graphs=[cycle] * 12)


def test_a_dgl_graph_will_do():
    dgl = pytest.importorskip("dgl")
    nodes = torch.arange(3)
    found = series(graph=dgl.graph((nodes, (nodes + 1) % 3), num_nodes=3))
    assert found.checksum() == series().checksum()


def test_the_checksum_tells_values_graphs_and_parts_apart_but_not_what_is_absent():
    mask = torch.ones(13, 3, dtype=torch.bool)
    mask[2, 2] = False
    hidden = series().values.clone()
    hidden[2, 2] = torch.nan
    assert series(mask=mask).checksum() == series(mask=mask, values=hidden).checksum()
    others = [series(), series(mask=mask), series(graph=ring().reverse()), series(split={})]
    assert len({other.checksum() for other in others}) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": torch.zeros(13, 3)}, r"`values` are torch.float32 \(13, 3\).*missing axis"),
        ({"graph": None}, "either `graph`, for all steps, or `graphs`"),
        ({"graph": ring(4)}, r"graphs of \[4\] nodes for values of 3"),
        ({"mask": torch.ones(13, 2, dtype=torch.bool)}, r"`mask` is .*expected boolean \(13, 3\)"),
        ({"split": {"train": (0, 7)}}, "`split` names"),
        ({"split": {**SPLIT, "valid": (8, 10)}}, "three parts that follow one another"),
        ({"split": {**SPLIT, "test": (10, 12)}}, "from step 0 to 13"),
        ({"names": ("a",)}, "1 names for 3 nodes"),
        ({"graph": None, "graphs": PackedGraphs.pack([ring()])}, "1 graphs for 13 steps"),
        ({"period": 0}, "`period` is 0, expected 1 step or more, or None"),
        ({"period": 1.5}, "`period` is 1.5, expected 1 step or more, or None"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, words):
    with pytest.raises(DataError, match=words):
        series(**changes)


def test_a_gap_is_refused_with_its_place_and_a_remedy():
    values = series().values.clone()
    values[5, 1] = torch.nan
    with pytest.raises(DataError, match="node 1 has no value at step 5; fill the gap, or mark"):
        series(values=values)


def test_horizons_may_be_numbers_of_numpy():
    windows = series().windows(2, np.int64(2), "train")
    assert windows.horizons == (1, 2)
    assert all(type(h) is int for h in series().windows(2, np.array([3, 1]), "train").horizons)


def test_windows_of_a_far_horizon_begin_where_those_of_the_next_step_do():
    assert series().windows(2, [3], "valid").now.tolist() == [6]
    assert series().windows(2, 3, "valid").now.tolist() == [6]


def test_bad_windows_are_refused():
    with pytest.raises(DataError, match="no window of 14 past steps and 1 ahead fits the train"):
        series().windows(14, 1, "train")
    with pytest.raises(DataError, match="shorter history or horizon"):
        series().windows(1, 4, "test")
    for horizons in (0, [], [0, 1], [1.5], [2, 2], 1.5):
        with pytest.raises(ConfigError, match="`horizons` is"):
            series().windows(2, horizons, "train")
    with pytest.raises(ConfigError, match="`history` is 0"):
        series().windows(0, 1, "train")
    with pytest.raises(ConfigError, match=r"`stride` is 1\.5"):
        series().windows(1, 1, "train", stride=1.5)
    with pytest.raises(ConfigError, match="no part 'all'; it has: train, valid, test"):
        series().windows(1, 1, "all")
    with pytest.raises(ConfigError, match="sum to 1"):
        split_steps(10, (0.5, 0.2, 0.2))
    masked = series(mask=torch.zeros(13, 3, dtype=torch.bool))
    with pytest.raises(DataError, match="the training part has no values"):
        masked.scale()
