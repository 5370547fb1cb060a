"""Low rank: exact at full energy, the nearest matrix of its rank below, and smaller."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import gtl
from gtl.adapters import attach
from gtl.efficiency import factored
from gtl.efficiency.low_rank import rank_for
from gtl.errors import ConfigError
from gtl.train.low_rank_map import LowRankMap, ranks_of

GIN = {"name": "gin", "width": 24, "depth": 2}


def _of_rank(model, rank):
    """Matrices of the encoder replaced by ones of a rank."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for part in model.encoder.modules():
            if isinstance(part, nn.Linear):
                left, right = (torch.randn(n, rank).to(part.weight) for n in part.weight.shape)
                part.weight.copy_(left @ right.T / part.in_features)
    return model


def test_with_all_energy_a_model_of_full_rank_is_the_same_bit_for_bit(shapes):
    model = gtl.finetune(GIN, shapes, epochs=2)
    same = factored(model, 1.0)
    assert not ranks_of(same)
    assert torch.equal(gtl.predict(same, shapes, raw=True), gtl.predict(model, shapes, raw=True))


def test_with_all_energy_matrices_of_low_rank_are_products_and_compute_the_same(shapes):
    model = _of_rank(gtl.finetune(GIN, shapes, epochs=1).double(), 3)
    small = factored(model, 1.0)
    ranks = ranks_of(small)
    assert len(ranks) == 4 and set(ranks.values()) == {3}
    one, two = gtl.predict(small, shapes, raw=True), gtl.predict(model, shapes, raw=True)
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())


def test_the_product_is_the_nearest_matrix_of_its_rank(shapes):
    model = gtl.finetune(GIN, shapes, epochs=1)
    small = factored(model, 0.5)
    for path, rank in ranks_of(small).items():
        old, new = (m.get_submodule(path).weight.detach().double() for m in (model, small))
        values = torch.linalg.svdvals(old)
        lost = (old - new).square().sum()
        torch.testing.assert_close(lost, values[rank:].square().sum(), rtol=1e-3, atol=1e-6)
        assert float(values[:rank].square().sum() / values.square().sum()) >= 0.5


@pytest.mark.parametrize(
    ("values", "energy", "rank"),
    [([3.0, 1.0, 0.0], 0.9, 1), ([3.0, 1.0, 0.0], 0.91, 2), ([2.0, 2.0], 1.0, 2), ([0, 0], 1.0, 1)],
)
def test_the_rank_is_the_smallest_that_keeps_the_energy(values, energy, rank):
    assert rank_for(torch.diag(torch.tensor(values, dtype=torch.float64)), energy) == rank


def test_an_energy_of_nearly_one_keeps_all():
    """The sum in the order of the cumulative one may be smaller than the total by rounding."""
    torch.manual_seed(0)
    for _ in range(100):
        assert rank_for(torch.randn(20, 17), 1 - 2**-53) == 17


def test_a_weight_that_is_not_finite_is_named(communities):
    model = gtl.finetune({"name": "gcn", "width": 8}, communities, epochs=1)
    with torch.no_grad():
        model.encoder.blocks[0].conv.linear.weight[0, 0] = float("nan")
    with pytest.raises(ConfigError, match=r"blocks\.0\.conv\.linear\.weight is not finite"):
        factored(model)


def test_a_product_stands_where_a_linear_map_stands():
    torch.manual_seed(0)
    product = LowRankMap(5, 7, 2)
    for parameter in product.parameters():
        nn.init.normal_(parameter)
    plain = nn.Linear(5, 7)
    with torch.no_grad():
        plain.weight.copy_(product.weight)
        plain.bias.copy_(product.bias)
    h = torch.randn(3, 5)
    torch.testing.assert_close(product(h), plain(h))
    assert isinstance(product, nn.Linear) and product.weight.shape == (7, 5)
    assert [name for name, _ in product.named_parameters()] == ["up", "down", "bias"]


@pytest.mark.parametrize("energy", [0.0, -1, 1.5, float("nan")])
def test_an_energy_that_is_no_share_is_refused(communities, energy):
    with pytest.raises(ConfigError, match="energy"):
        factored(gtl.finetune("gcn", communities, epochs=1), energy)


def test_adapters_and_ensembles_are_refused_with_the_remedy(shapes):
    model = gtl.finetune(GIN, shapes, adapter="bottleneck", epochs=1)
    with pytest.raises(ConfigError, match="method=distill"):
        factored(model)
    both = gtl.finetune(GIN, shapes, members=2, epochs=1)
    with pytest.raises(ConfigError, match="ensemble of 2"):
        factored(both)


def test_an_adapter_that_changes_matrices_says_that_there_are_none(communities):
    gcn = {"name": "gcn", "width": 32, "depth": 2, "embedding": None}
    model = _of_rank(gtl.finetune(gcn, communities, epochs=1), 2)
    with pytest.raises(ConfigError, match="have none"):
        attach(factored(model, 1.0).encoder, "lora")
