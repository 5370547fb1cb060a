from __future__ import annotations

import pytest
import torch

from gtl.errors import ShapeError
from gtl.weightings import gradient_consistency, shift_consistency


@pytest.fixture
def w() -> torch.Tensor:
    return torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)


def test_cosines_by_hand(w):
    v = torch.tensor([4.0], dtype=torch.float64, requires_grad=True)
    target = 3 * w[0] + 4 * v[0]  # gradient (3, 0, 0 | 4)
    auxiliary = [w[0] * 1.0, -target, v[0] * 2, w[1] * 1.0]
    cosines = gradient_consistency(target, auxiliary, [w, v])
    torch.testing.assert_close(cosines, torch.tensor([0.6, -1.0, 0.8, 0.0], dtype=torch.float64))
    assert not cosines.requires_grad


def test_a_task_that_leaves_the_shared_parameters_alone_has_cosine_zero(w):
    own = torch.ones(1, requires_grad=True)
    assert gradient_consistency(w.sum(), [own.sum(), torch.ones(())], [w]).tolist() == [0.0, 0.0]
    assert gradient_consistency(own.sum(), [w.sum()], [w]).tolist() == [0.0]
    assert gradient_consistency(w.sum(), [(0 * w).sum()], [w]).tolist() == [0.0]


def test_the_size_of_the_losses_does_not_matter(w):
    loss = (w**2).sum()
    for scale in (1e-30, 1e30):
        cosines = gradient_consistency(loss * scale, [w[2] * scale], [w])
        torch.testing.assert_close(cosines, gradient_consistency(loss, [w[2]], [w]))


def test_no_shared_parameters_are_refused_with_the_remedy(w):
    with pytest.raises(ValueError, match="unfreeze the encoder or attach an adapter"):
        gradient_consistency(w.sum(), [w.sum()], [])


def test_without_auxiliary_tasks_there_are_no_cosines(w):
    assert gradient_consistency(w.sum(), [], [w]).shape == (0,)


def test_the_graph_is_kept_and_no_gradient_is_left(w):
    loss = (w**2).sum()
    gradient_consistency(loss, [w.sum()], [w])
    assert w.grad is None
    loss.backward()


def test_a_shift_of_all_node_vectors_compares_views_of_different_size():
    one = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    two = torch.randn(11, 3, dtype=torch.float64, requires_grad=True)
    a, b, c = (torch.randn(3, dtype=torch.float64) for _ in range(3))
    target, auxiliary = (one @ a).tanh().mean(), [(two @ b).exp().mean(), (one @ c).mean()]
    cosines = shift_consistency(target, auxiliary, [one, two, one])
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    shifted = [
        ((one.detach() + shift) @ a).tanh().mean(),
        ((two.detach() + shift) @ b).exp().mean(),
        ((one.detach() + shift) @ c).mean(),
    ]
    expected = gradient_consistency(shifted[0], shifted[1:], [shift])
    torch.testing.assert_close(cosines, expected)


def test_a_task_that_ignores_its_nodes_has_cosine_zero():
    nodes = torch.ones(5, 3, requires_grad=True)
    own = torch.ones(1, requires_grad=True)
    frozen = torch.ones(5, 3)
    losses = [own.sum(), own.sum() * frozen.sum()]
    assert shift_consistency(nodes.sum(), losses, [nodes, nodes, frozen]).tolist() == [0.0, 0.0]


def test_nodes_must_come_for_every_loss():
    nodes = torch.ones(5, 3, requires_grad=True)
    with pytest.raises(ShapeError, match="expected 2"):
        shift_consistency(nodes.sum(), [nodes.sum()], [nodes])
