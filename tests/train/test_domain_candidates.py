"""Candidates and settings of an adaptation: copies of what is given, and early refusals."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.errors import ConfigError, GtlError
from gtl.graph import Graph

GCN = {"name": "gcn", "width": 8, "depth": 2, "norm": None}
QUICK = {"method": "dann", "epochs": 1, "seed": 3}


@pytest.fixture(autouse=True)
def _no_plots(monkeypatch):
    monkeypatch.setattr("gtl.train.session.write_plots", lambda folder: None)
    monkeypatch.setattr("gtl.train.domain_findings.picture", lambda *given: None)


def nodes(seed: int, shift: float = 0.0) -> gtl.Dataset:
    """A graph of 45 nodes of three classes; ``shift`` moves the features of the domain."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(45, 4, generator=rng) + shift
    graph = Graph(*torch.randint(45, (2, 150), generator=rng), 45, x)
    order = torch.arange(45)
    split = {"train": order[:21], "valid": order[21:33], "test": order[33:]}
    return gtl.Dataset(f"test:{seed}", graph=graph, labels=order % 3, split=split, level="node")


@pytest.fixture(scope="module")
def domains() -> tuple[gtl.Dataset, gtl.Dataset]:
    return nodes(0), nodes(1, 1.0)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"candidates": {"strength": 0.1}}, "`candidates` is .*expected a list of mappings"),
        ({"candidates": [0.1]}, "`candidates` is .*expected a list of mappings"),
        ({"candidates": [{"options": 3}]}, "`options` of the candidate 'dann' is 3"),
        ({"candidates": [{"options": {"name": "coral"}}]}, "names 'name'.*`method`"),
        ({"settings": {"align": 3}}, r"`settings\['align'\]` is 3, expected a mapping"),
        ({"settings": [1]}, r"`settings` is \[1\], expected a mapping"),
    ],
)
def test_candidates_and_settings_of_another_form_are_refused(domains, change, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        gtl.adapt_domain(GCN, *domains, **{**QUICK, **change}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_data_and_options_that_no_stage_reads_are_refused(domains):
    with pytest.raises(ConfigError, match=r"`corpus` is for the stage 'pretrain'.*`stages`"):
        gtl.adapt_domain(GCN, *domains, **QUICK, corpus=domains[1])
    for given in ({"criterion": "snd"}, {"guard": False}):
        with pytest.raises(ConfigError, match="align domains, and `method` is 'joint'"):
            gtl.adapt_domain(GCN, *domains, method="joint", **given)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"candidates": [{"lr": -1}]}, "candidate 'dann .*`lr` is -1"),
        ({"candidates": [{"epochs": 0}]}, "candidate 'dann .*`epochs` is 0"),
        ({"candidates": [{"optimizer": "adm"}]}, "candidate 'dann .*optimizer 'adm'"),
        ({"candidates": [{"class_weights": [1, 2]}]}, "candidate 'dann .*`class_weights`"),
        ({"settings": {"source": {"batch_norm": "off"}}}, "stage 'source'.*`batch_norm`"),
        ({"settings": {"align": {"fan_out": [0, 0]}}}, "candidate 'dann .*`fan_out`"),
        ({"head": "linea"}, "head 'linea'"),
        (
            {"method": "joint", "task": "infomax", "settings": {"adapt": {"lr": -1}}},
            "stage 'adapt'.*`lr` is -1",
        ),
        (
            {"method": "joint", "task": "infomax", "settings": {"pretrain": {"lr": -1}}},
            "stage 'pretrain'.*`lr` is -1",
        ),
    ],
)
def test_settings_of_later_stages_are_checked_before_the_first(domains, change, message, tmp_path):
    with pytest.raises(GtlError, match=message):
        gtl.adapt_domain(GCN, *domains, **{**QUICK, **change}, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.filterwarnings("ignore:class shares")
def test_parts_that_are_given_start_every_stage_and_stay_as_they_were(domains):
    head = gtl.heads.Cosine(8, 3)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    adapter = gtl.adapters.Bottleneck(2)
    how = {"settings": {stage: {"adapter": adapter} for stage in ("source", "align")}}
    found = gtl.adapt_domain(GCN, *domains, **{**QUICK, "method": "coral"}, head=head, **how)
    one, other = (found.stages[name].encoder.parts()[0] for name in ("source", "align"))
    assert len({id(part) for part in (adapter, one, other)}) == 3
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())
    one, other = (found.stages[name].predictor.head for name in ("source", "align"))
    assert type(one) is type(other) is type(head)
    assert one is not other


@pytest.mark.filterwarnings("ignore:class shares")
def test_the_bound_is_of_the_target_where_another_graph_is_unlabeled(domains):
    source, target = domains
    other = nodes(2, shift=-9.0)
    how = {**QUICK, "stages": ["source"], "unlabeled": other}
    model = gtl.adapt_domain(GCN, source, target, **how).stages["source"]
    assert model.results["criteria"]["oracle"] == gtl.evaluate(model, target)["acc"]
    assert gtl.evaluate(model, target)["acc"] != gtl.evaluate(model, other)["acc"]
