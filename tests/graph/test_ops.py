"""Message passing: values by hand on both kernels, derivatives twice, shapes refused."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from gtl.errors import ConfigError, ShapeError
from gtl.graph import Graph, ops


def _kernels() -> list:
    try:
        with ops.use_kernels("dgl"):
            return ["dgl", "torch"]
    except ConfigError:
        return [pytest.param("dgl", marks=pytest.mark.skip("DGL cannot be imported")), "torch"]


@pytest.fixture(params=_kernels())
def kernels(request):
    """Each test below runs on both kernels."""
    with ops.use_kernels(request.param):
        yield request.param


def fork() -> Graph:
    """0 -> 2, 1 -> 2 twice, 2 -> 0; node 1 and 3 receive nothing, 4 receives from itself."""
    return Graph(torch.tensor([0, 1, 1, 2, 4]), torch.tensor([2, 2, 2, 0, 4]), 5)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


H = column(1, 2, 3, 5, 7)
SCORES = torch.tensor([0.0, 1, 2, 5, -3], dtype=torch.float64)
SIZES = torch.tensor([2, 0, 3])


# -- values by hand ------------------------------------------------------------------------------


def test_sum_adds_the_senders_once_an_edge(kernels):
    assert ops.sum_neighbors(fork(), H).flatten().tolist() == [3, 0, 5, 0, 7]


def test_mean_divides_by_the_number_of_edges_and_is_zero_without(kernels):
    means = ops.mean_neighbors(fork(), H).flatten()
    torch.testing.assert_close(means, column(3, 0, 5 / 3, 0, 7).flatten())


def test_max_is_zero_without_edges_only(kernels):
    assert ops.max_neighbors(fork(), -H).flatten().tolist() == [-3, 0, -1, 0, -7]


def test_weights_multiply_what_their_edge_carries(kernels):
    weight = torch.tensor([1.0, 10, 100, 1000, 0], dtype=torch.float64)
    sums = ops.weighted_sum_neighbors(fork(), H, weight)
    assert sums.flatten().tolist() == [3000, 0, 221, 0, 0]


def test_floats_of_two_kinds_go_together_on_both_kernels(kernels):
    graph, weight = Graph(torch.tensor([0]), torch.tensor([1]), 2), torch.tensor([3.0]).double()
    h = torch.tensor([[2.0], [5.0]])
    assert ops.weighted_sum_neighbors(graph, h, weight).tolist() == [[0.0], [6.0]]
    assert ops.dot_on_edges(graph, h, h.double()).tolist() == [10.0]


def test_each_head_has_its_own_weights(kernels):
    h = torch.stack([H, 10 * H], 1)  # (5, 2, 1)
    weight = torch.tensor([[1.0, 0], [0, 1], [0, 1], [1, 1], [2, 3]], dtype=torch.float64)
    sums = ops.weighted_sum_neighbors(fork(), h, weight).squeeze(2)
    assert sums.tolist() == [[3, 30], [0, 0], [1, 40], [0, 0], [14, 210]]


def test_values_of_edges_add_up_at_the_receiver(kernels):
    assert ops.sum_edges(fork(), SCORES).tolist() == [5, 0, 3, 0, -3]
    wide = torch.stack([SCORES, -SCORES], 1).unsqueeze(1)  # (5, 1, 2)
    assert ops.sum_edges(fork(), wide)[:, 0].tolist() == [[5, -5], [0, 0], [3, -3], [0, 0], [-3, 3]]


def test_dot_pairs_the_sender_with_the_receiver(kernels):
    a = torch.cat([H, H + 1], 1)
    b = torch.cat([torch.ones_like(H), 10 * H], 1)
    expected = [1 + 2 * 30, 2 + 3 * 30, 2 + 3 * 30, 3 + 4 * 10, 7 + 8 * 70]
    assert ops.dot_on_edges(fork(), a, b).tolist() == expected


def test_softmax_on_edges_is_softmax_among_the_edges_into_a_node(kernels):
    expected = torch.cat([SCORES[:3].softmax(0), torch.ones(2, dtype=torch.float64)])
    torch.testing.assert_close(ops.softmax_on_edges(fork(), SCORES), expected)
    shifted = ops.softmax_on_edges(fork(), SCORES + 1e4)
    torch.testing.assert_close(shifted, expected, rtol=1e-9, atol=1e-9)


def test_groups_of_rows(kernels):
    assert ops.segment_sum(H, SIZES).flatten().tolist() == [3, 0, 15]
    assert ops.segment_mean(H, SIZES).flatten().tolist() == [1.5, 0, 5]
    assert ops.segment_max(-H, SIZES).flatten().tolist() == [-1, 0, -3]
    expected = torch.cat([SCORES[:2].softmax(0), SCORES[2:].softmax(0)])
    torch.testing.assert_close(ops.segment_softmax(SCORES, SIZES), expected)
    assert ops.spread(column(1, 2, 3), SIZES, 5).flatten().tolist() == [1, 1, 3, 3, 3]


def test_a_mean_of_one_row_is_the_row_and_of_none_is_zero(kernels):
    values = column(4, 1, 3).requires_grad_()
    mean = ops.segment_mean(values, torch.tensor([1, 0, 2, 0]))
    assert mean.flatten().tolist() == [4, 0, 2, 0]
    assert torch.autograd.grad(mean.sum(), values)[0].flatten().tolist() == [1, 0.5, 0.5]


def test_more_axes_are_carried_along(kernels):
    values = torch.randn(5, 3, 2, dtype=torch.float64)
    for op in (ops.sum_neighbors, ops.mean_neighbors, ops.max_neighbors):
        flat = op(fork(), values.flatten(1)).reshape(5, 3, 2)
        torch.testing.assert_close(op(fork(), values), flat)
    assert ops.segment_max(values, SIZES).shape == (3, 3, 2)
    assert ops.softmax_on_edges(fork(), values).shape == (5, 3, 2)


def test_one_axis_is_enough(kernels):
    flat = H.flatten()
    assert ops.sum_neighbors(fork(), flat).tolist() == [3, 0, 5, 0, 7]
    assert ops.max_neighbors(fork(), flat).tolist() == [3, 0, 2, 0, 7]
    assert ops.segment_sum(flat, SIZES).tolist() == [3, 0, 15]


def test_integers_stay_integers(kernels):
    whole = H.long()
    assert ops.sum_neighbors(fork(), whole).flatten().tolist() == [3, 0, 5, 0, 7]
    assert ops.sum_edges(fork(), whole).dtype == torch.int64
    assert ops.segment_sum(whole, SIZES).dtype == torch.int64
    assert ops.segment_max(whole, SIZES).flatten().tolist() == [2, 0, 7]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_works(kernels, dtype):
    assert ops.sum_neighbors(fork(), H.to(dtype)).flatten().tolist() == [3, 0, 5, 0, 7]


def test_a_value_that_is_no_number_is_not_hidden(kernels):
    h = H.clone()
    h[1] = torch.nan
    for values in (h, h.requires_grad_()):
        assert ops.max_neighbors(fork(), values).isnan().flatten().tolist() == [0, 0, 1, 0, 0]
        assert ops.segment_max(values, SIZES).isnan().flatten().tolist() == [1, 0, 0]


def test_the_largest_value_may_be_minus_infinity(kernels):
    h = torch.full((5, 1), -torch.inf)
    for values in (h, h.clone().requires_grad_()):
        assert ops.segment_max(values, SIZES).flatten().tolist() == [-torch.inf, 0, -torch.inf]


def test_ties_send_their_gradient_to_one_winner(kernels):
    values = torch.tensor([[1.0], [1.0], [0.0]], requires_grad=True)
    ops.segment_max(values, torch.tensor([3])).sum().backward()
    assert values.grad.sum() == 1
    assert values.grad[2] == 0


# -- nothing at all ------------------------------------------------------------------------------

_NO_EDGES = torch.zeros(0, dtype=torch.int64)


@pytest.mark.parametrize("nodes", [0, 3])
def test_a_graph_without_edges_gives_zeros(kernels, nodes):
    graph = Graph(_NO_EDGES, _NO_EDGES, nodes)
    h = torch.ones(nodes, 2, requires_grad=True)
    weight, nothing = torch.ones(0), torch.ones(0, 2)
    for result in (
        ops.sum_neighbors(graph, h),
        ops.mean_neighbors(graph, h),
        ops.max_neighbors(graph, h),
        ops.weighted_sum_neighbors(graph, h, weight),
        ops.sum_edges(graph, nothing),
    ):
        assert result.tolist() == [[0, 0]] * nodes
    for op in (ops.sum_neighbors, ops.max_neighbors):
        (grad,) = torch.autograd.grad(op(graph, h).sum(), h)
        assert grad.tolist() == [[0, 0]] * nodes
    assert ops.dot_on_edges(graph, h, h).shape == (0,)
    assert ops.softmax_on_edges(graph, nothing).shape == (0, 2)


def test_no_groups_and_groups_without_rows(kernels):
    nothing = torch.ones(0, 2, requires_grad=True)
    for op in (ops.segment_sum, ops.segment_mean, ops.segment_max):
        assert op(nothing, _NO_EDGES).shape == (0, 2)
        result = op(nothing, torch.tensor([0, 0]))
        assert result.tolist() == [[0, 0], [0, 0]]
        assert torch.autograd.grad(result.sum(), nothing)[0].shape == (0, 2)
    assert ops.segment_softmax(nothing, torch.tensor([0])).shape == (0, 2)


def test_no_columns(kernels):
    assert ops.sum_neighbors(fork(), torch.ones(5, 0)).shape == (5, 0)
    assert ops.segment_max(torch.ones(5, 0), SIZES).shape == (3, 0)


# -- derivatives ---------------------------------------------------------------------------------


def _random(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(*shape, dtype=torch.float64, generator=rng).requires_grad_()


_DIFFERENTIABLE = {
    "sum_neighbors": (lambda h: ops.sum_neighbors(fork(), h), [(5, 3)]),
    "mean_neighbors": (lambda h: ops.mean_neighbors(fork(), h), [(5, 3)]),
    "scaled": (lambda h: ops.scaled(h, torch.arange(5.0).double().unsqueeze(1)), [(5, 3)]),
    "max_neighbors": (lambda h: ops.max_neighbors(fork(), h), [(5, 3)]),
    "weighted_sum": (lambda h, w: ops.weighted_sum_neighbors(fork(), h, w), [(5, 3), (5,)]),
    "weighted_heads": (lambda h, w: ops.weighted_sum_neighbors(fork(), h, w), [(5, 2, 3), (5, 2)]),
    "sum_edges": (lambda v: ops.sum_edges(fork(), v), [(5, 3)]),
    "dot_on_edges": (lambda a, b: ops.dot_on_edges(fork(), a, b), [(5, 2, 3), (5, 2, 3)]),
    "softmax_on_edges": (lambda s: ops.softmax_on_edges(fork(), s), [(5, 2)]),
    "segment_sum": (lambda v: ops.segment_sum(v, SIZES), [(5, 3)]),
    "segment_mean": (lambda v: ops.segment_mean(v, SIZES), [(5, 3)]),
    "segment_max": (lambda v: ops.segment_max(v, SIZES), [(5, 3)]),
    "segment_softmax": (lambda v: ops.segment_softmax(v, SIZES), [(5, 3)]),
    "spread": (lambda v: ops.spread(v, SIZES, 5), [(3, 2)]),
}


@pytest.mark.parametrize("name", _DIFFERENTIABLE)
def test_first_and_second_derivatives_agree_with_differences(kernels, name):
    op, shapes = _DIFFERENTIABLE[name]
    inputs = [_random(*shape) for shape in shapes]

    def curved(*values: Tensor) -> Tensor:  # linear operations alone would hide wrong second ones
        return op(*(value + value**2 / 2 for value in values)).square()

    assert gradcheck(curved, inputs)
    assert gradgradcheck(curved, inputs)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: ops.sum_neighbors(g, H[:4]), r"`h` has shape \(4, 1\), expected 5 rows"),
        (lambda g: ops.max_neighbors(g, H[:4]), "`h`"),
        (lambda g: ops.sum_edges(g, H[:3]), r"`values` has shape \(3, 1\), expected 5 rows"),
        (lambda g: ops.softmax_on_edges(g, H[:3]), "`scores`"),
        (lambda g: ops.weighted_sum_neighbors(g, H, H), r"`weight` has shape \(5, 1\)"),
        (lambda g: ops.weighted_sum_neighbors(g, H[:, 0], H[:, 0]), r"`h` \(5,\)"),
        (lambda g: ops.weighted_sum_neighbors(g, H, H[:4, 0]), "`weight` .* expected 5 rows"),
        (lambda g: ops.dot_on_edges(g, H, H.repeat(1, 2)), r"`b` \(5, 2\)"),
        (lambda g: ops.dot_on_edges(g, H[:, 0], H[:, 0]), "expected both to be"),
        (lambda g: ops.segment_sum(H, torch.tensor([2, 2])), "`sizes` sums to 4, expected 5"),
        (lambda g: ops.segment_max(H, torch.tensor([6])), "`sizes` sums to 6"),
        (lambda g: ops.segment_softmax(H, torch.tensor([2])), "`sizes`"),
        (lambda g: ops.spread(H, SIZES, 5), r"`values` has shape \(5, 1\), expected 3 rows"),
    ],
)
def test_shapes_that_do_not_go_together_are_refused(kernels, call, message):
    with pytest.raises(ShapeError, match=message):
        call(fork())


# -- which kernels -------------------------------------------------------------------------------


def test_kernels_are_restored_after_the_block_even_if_it_fails():
    before = ops.kernels()
    with pytest.raises(RuntimeError), ops.use_kernels("torch"):
        assert ops.kernels() == "torch"
        raise RuntimeError
    assert ops.kernels() == before


def test_unknown_kernels_are_refused():
    with pytest.raises(ConfigError, match="'dgl' or 'torch'"), ops.use_kernels("cuda"):
        pass


_WITHOUT_DGL = """
import sys
sys.modules["dgl"] = None  # an import would fail
import torch, gtl
from gtl.graph import Graph, ops
path = Graph(torch.tensor([0, 1]), torch.tensor([1, 2]), 3)
sums = ops.sum_neighbors(path, torch.tensor([1.0, 2.0, 3.0]))
print(ops.kernels(), sums.tolist())
"""


def test_plain_torch_takes_over_where_dgl_cannot_be_imported():
    done = _run(_WITHOUT_DGL, "")
    assert done.stdout.strip() == "torch [0.0, 1.0, 2.0]", done.stderr
    assert "Warning" not in done.stderr


def test_asking_for_missing_kernels_says_what_to_do():
    done = _run(_WITHOUT_DGL, "dgl")
    assert done.returncode != 0
    assert "GTL_KERNELS is 'dgl' but DGL cannot be imported" in done.stderr


def test_torch_kernels_leave_dgl_alone():
    code = _WITHOUT_DGL.replace('sys.modules["dgl"] = None', "")
    done = _run(code + "assert 'dgl' not in sys.modules", "torch")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "torch [0.0, 1.0, 2.0]"


def _run(code: str, setting: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "GTL_KERNELS": setting}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
