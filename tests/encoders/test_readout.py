"""Readouts on groups of nodes."""

from __future__ import annotations

import pytest
import torch

from gtl.catalog import READOUTS
from gtl.encoders.readout import Attention, Max, Mean, Readout, Sum, as_readout
from gtl.errors import ConfigError, ShapeError, UnknownPartError
from gtl.graph import Graph

NONE = torch.zeros(0, dtype=torch.int64)
BATCH = Graph(NONE, NONE, 5, sizes=torch.tensor([2, 0, 3]))
NODES = torch.tensor([[1.0, 2.0], [3.0, -6.0], [-1.0, 0.0], [-5.0, 1.0], [-3.0, 5.0]]).double()
every_readout = pytest.mark.parametrize("cls", [Mean, Sum, Max, Attention])


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Mean, [[2.0, -2.0], [0.0, 0.0], [-3.0, 2.0]]),
        (Sum, [[4.0, -4.0], [0.0, 0.0], [-9.0, 6.0]]),
        (Max, [[3.0, 2.0], [0.0, 0.0], [-1.0, 5.0]]),
    ],
)
def test_values_by_hand_and_zero_for_an_empty_graph(
    cls: type[Readout], expected: list[list[float]]
) -> None:
    assert cls(2)(BATCH, NODES).tolist() == expected


def test_attention_weighs_nodes_by_a_softmax_within_their_graph() -> None:
    readout = Attention(2).double()
    expected = []
    for rows in (NODES[:2], NODES[2:]):
        weight = readout.score(rows).flatten().softmax(0)
        expected.append(weight @ rows)
    out = readout(BATCH, NODES)
    torch.testing.assert_close(out[0], expected[0])
    torch.testing.assert_close(out[2], expected[1])
    assert out[1].tolist() == [0.0, 0.0]


@every_readout
def test_the_order_of_nodes_does_not_matter(cls: type[Readout]) -> None:
    readout = cls(2).double()
    order = torch.tensor([1, 0, 4, 2, 3])
    torch.testing.assert_close(readout(BATCH, NODES[order]), readout(BATCH, NODES))


@every_readout
def test_gradients_of_gradients_agree_with_finite_differences(cls: type[Readout]) -> None:
    readout, nodes = cls(2).double(), NODES.clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda h: readout(BATCH, h).tanh(), (nodes,))


@every_readout
def test_a_single_graph_gets_one_row(cls: type[Readout]) -> None:
    assert cls(2).double()(Graph(NONE, NONE, 5), NODES).shape == (1, 2)


def test_one_vector_per_node_is_required() -> None:
    with pytest.raises(ShapeError, match=r"`nodes` has shape \(4, 2\), expected \(5, 2\)"):
        Mean(2)(BATCH, NODES[:4])
    with pytest.raises(ShapeError, match=r"expected \(5, 3\)"):
        Mean(3)(BATCH, NODES)


def test_the_registry_knows_them() -> None:
    for name in ("mean", "sum", "max", "attention"):
        readout = READOUTS.build(name, 7)
        assert readout.width == 7
        assert READOUTS.name_of(readout) == name


# -- several side by side ------------------------------------------------------------------------


def test_a_list_of_readouts_is_concatenated_in_order():
    readout = as_readout(["max", {"name": "sum"}, "mean"], 2)
    out = readout(BATCH, NODES)
    assert readout.width == out.shape[1] == 6
    assert out[0].tolist() == [3.0, 2.0, 4.0, -4.0, 2.0, -2.0]
    assert out[1].tolist() == [0.0] * 6


def test_a_sum_in_a_list_is_divided_by_the_root_of_the_size():
    three = as_readout(["sum", "mean"], 2)(BATCH, NODES)[2, :2]
    torch.testing.assert_close(three, torch.tensor([-9.0, 6.0]).double() / 3**0.5)


def test_a_sum_in_a_list_keeps_the_scale_of_nodes_and_still_tells_sizes_apart():
    sizes = torch.tensor([10, 1000])
    sums = as_readout(["sum"], 64).pool(torch.randn(1010, 64), sizes)
    assert all(0.7 < float(row.std()) < 1.4 for row in sums)
    alike = as_readout(["sum"], 1).pool(torch.ones(1010, 1), sizes)
    assert float(alike[1] / alike[0]) == pytest.approx(10.0)


def test_the_power_leads_from_the_sum_to_the_mean():
    for power, cls in ((0.0, Sum), (1.0, Mean)):
        assert torch.equal(Sum(2, power)(BATCH, NODES), cls(2)(BATCH, NODES))
    with pytest.raises(ConfigError, match=r"`power` is 1\.5, expected a number from 0 to 1"):
        Sum(2, 1.5)


def test_a_list_has_a_specification_from_which_it_is_built_again():
    inside = as_readout([Attention(3), "sum", ["mean", "max"][1]], 3).double()
    again = READOUTS.build(READOUTS.spec(inside), 3).double()
    again.load_state_dict(inside.state_dict())
    nodes = torch.randn(5, 3).double()
    assert torch.equal(again(BATCH, nodes), inside(BATCH, nodes))


def test_a_wrong_name_in_a_list_gets_the_nearest_one():
    with pytest.raises(UnknownPartError, match="unknown readout 'maen'; did you mean 'mean'"):
        as_readout(["sum", "maen"], 3)
    with pytest.raises(ConfigError, match="list of readouts is empty"):
        as_readout([], 3)
