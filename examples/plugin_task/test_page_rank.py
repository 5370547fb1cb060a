"""PageRank: worked out by hand, against networkx, and under gtl's laws of a task."""

import pytest
import torch
from gtl_page_rank import PageRank, page_rank

from gtl import testing
from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, to_networkx
from gtl.roles import Batch


def star(leaves):
    """Every leaf points at node 0, which points at none."""
    src = torch.arange(1, leaves + 1)
    return Graph(src, torch.zeros_like(src), leaves + 1)


def test_the_task_obeys_the_laws():
    testing.check_task(PageRank())


def test_the_center_of_a_star_is_worth_two_and_a_half_leaves():
    center, *leaves = (page_rank(star(3), damping=0.5) * 11 / 8).tolist()
    assert center == pytest.approx(2.5)
    assert leaves == pytest.approx([1, 1, 1])


def test_ranks_are_those_of_networkx():
    networkx = pytest.importorskip("networkx")
    src, dst = torch.randint(13, (2, 40), generator=torch.Generator().manual_seed(0))
    src[src == 5] = 6  # so that node 5 has no edge that leaves it
    graph = Graph(*torch.stack([src, dst]).unique(dim=1), 13)
    expected = networkx.pagerank(networkx.DiGraph(to_networkx(graph)), tol=1e-9)
    ranks = page_rank(graph, rounds=100) / 13
    assert ranks.tolist() == pytest.approx([expected[node] for node in range(13)], abs=1e-6)


def test_each_graph_of_a_batch_has_ranks_of_its_own():
    graphs = [star(3), Graph(*torch.empty(2, 0, dtype=torch.int64), 0), star(5)]
    together = page_rank(Graph.batch(graphs))
    assert torch.equal(together, torch.cat([page_rank(graph) for graph in graphs]))
    assert together[:4].mean().item() == pytest.approx(1)


def test_the_loss_is_the_squared_error_of_the_logarithm():
    task = PageRank()
    task.setup(Schema(Columns(width=2)), 2)
    with torch.no_grad():
        task.map.weight.zero_()
        task.map.bias.fill_(1.0)
    view = task.view(Batch(star(3)), torch.Generator())
    losses = task.losses(torch.zeros(4, 2), view)
    assert torch.allclose(losses, (page_rank(star(3)).log() - 1).square())


@pytest.mark.parametrize("options", [{"damping": 1.0}, {"damping": -0.1}, {"rounds": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"`{next(iter(options))}` is"):
        PageRank(**options)
