"""Episodic training of KGTN: pseudo-novel classes, held-out classes, the closed form."""

from __future__ import annotations

import pytest
import torch

import gtl
from gtl.data import CategoryGraph
from gtl.errors import ConfigError, ShapeError
from gtl.fewshot.kgtn_episodes import Episodes, _accuracy, _logits, _train, train_by_episodes
from gtl.heads import KGTN, Shrinkage

PATHS = [f"/{i // 4}/{i}" for i in range(24)]
TREE = CategoryGraph.from_paths(PATHS)
FEW = torch.arange(24) % 3 == 0


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(seed: int = 0, d: int = 11, agree: float = 0.8, noise: float = 0.7):
    areas, own = torch.randn(6, d, generator=rng(seed)), torch.randn(24, d, generator=rng(seed + 1))
    means = agree**0.5 * areas[torch.arange(24) // 4] + (1 - agree) ** 0.5 * own
    labels = torch.arange(24).repeat_interleave(torch.where(FEW, 2, 17))
    x = means[labels] + noise * torch.randn(len(labels), d, generator=rng(seed + 2))
    asked = torch.arange(24).repeat(20)
    return x, labels, means[asked] + noise * torch.randn(480, d, generator=rng(seed + 3)), asked


def parts(graph: CategoryGraph = TREE) -> tuple[KGTN, Shrinkage]:
    head = KGTN(11, 24, graph.normalized().graph(), classifier="cosine", metric=True)
    return head, Shrinkage(11, 24, graph.graph())


def test_a_started_head_is_the_closed_form() -> None:
    x, y, asked, _ = samples()
    head, closed = parts()
    head.start(closed.fit(x, y), FEW)
    with torch.no_grad():
        assert torch.allclose(head(asked), closed(asked), atol=1e-5)
    assert torch.equal(head.receives, FEW.float())
    assert torch.equal(head.sends, 1 - FEW.float())


def test_a_class_with_many_samples_stays_as_it_is_and_few_samples_are_not_heard() -> None:
    x, y, _, _ = samples()
    head, closed = parts()
    head.start(closed.fit(x, y), FEW)
    for parameter in head.parts.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    (weights,) = head.class_weights()
    assert torch.equal(weights[~FEW], head.weight[~FEW])
    assert not torch.isclose(weights[FEW], head.weight[FEW]).all(1).any()
    (grad,) = torch.autograd.grad(weights[0].sum(), head.weight)
    assert grad[1].abs().sum() > 0  # a sibling with many samples
    far = torch.ones(24, dtype=torch.bool)
    far[:4] = False
    assert grad[far].abs().sum() == 0 and FEW[0]


def test_pseudo_novel_classes_keep_as_few_samples_as_novel_ones_and_queries_are_others() -> None:
    x, y, _, _ = samples()
    source = Episodes(parts()[1], x, y, FEW, 5, rng())
    assert source.shots.tolist() == [2] * 8
    assert not FEW[source.rich].any()
    for validate in (False, True):
        drawn = set(source.rich[:5].tolist())
        support, queries = source._samples(drawn)
        assert not set(support.tolist()) & set(queries.tolist())
        counts = torch.bincount(y[support], minlength=24)
        for number in range(24):
            expected = 2 if FEW[number] or number in drawn else 12
            assert counts[number] == expected
        episode = source.draw(validate)
        assert not FEW[episode.labels].any()
        assert (episode.scored & FEW).sum() == 0
        assert episode.few[episode.scored].all() and episode.few[FEW].all()


def test_held_out_classes_are_pseudo_novel_in_no_training_episode() -> None:
    x, y, _, _ = samples()
    source = Episodes(parts()[1], x, y, FEW, 5, rng())
    held_out = torch.zeros(24, dtype=torch.bool)
    held_out[source.held_out] = True
    for _ in range(10):
        assert not source.draw(validate=False).scored[held_out].any()
        assert torch.equal(source.draw(validate=True).scored, held_out)


def test_training_lowers_the_loss_of_episodes() -> None:
    x, y, _, _ = samples()
    head, closed = parts()
    head.start(closed.fit(x, y), FEW)
    source = Episodes(closed, x, y, FEW, 5, rng())
    fixed = [source.draw(validate=False) for _ in range(5)]

    def loss() -> float:
        with torch.no_grad():
            found = [
                torch.nn.functional.cross_entropy(_logits(head, e, 1.0), e.labels) for e in fixed
            ]
        return float(torch.stack(found).mean())

    before = loss()
    optimizer = torch.optim.Adam(head.parts.parameters(), lr=1e-3)
    for step in range(30):
        optimizer.zero_grad()
        episode = fixed[step % 5]
        torch.nn.functional.cross_entropy(_logits(head, episode, 1.0), episode.labels).backward()
        optimizer.step()
    assert loss() < before


def test_a_correction_that_does_not_help_held_out_classes_is_switched_off() -> None:
    x, y, asked, _ = samples()
    head, closed = parts()
    train_by_episodes(
        head, closed, x, y, FEW, rng(), episodes=6, validation_episodes=5, lr=3.0
    )  # far too fast
    assert float(head.receives.max()) == 0
    assert torch.allclose(head(asked), closed(asked), atol=1e-5)


def test_a_correction_that_helps_held_out_classes_is_kept(monkeypatch) -> None:
    x, y, _, _ = samples()
    head, closed = parts()
    head.start(closed.fit(x, y), FEW)
    source = Episodes(closed, x, y, FEW, 5, rng())
    monkeypatch.setattr(
        "gtl.fewshot.kgtn_episodes._certain_gain", lambda head, episodes, share: share
    )
    assert _train(head, source, 4, 2, 1e-2, 0.0) == 1.0
    assert sum(float(p.detach().abs().sum()) for p in head.parts.parameters()) > 0


def test_a_graph_without_information_trains_nothing_and_one_with_information_helps() -> None:
    gains = []
    for seed in range(4):
        x, y, asked, truth = samples(10 * seed, noise=1.5)
        accuracy = []
        for graph in (CategoryGraph.identity(24), TREE):
            head, closed = parts(graph)
            train_by_episodes(head, closed, x, y, FEW, rng(), episodes=4, validation_episodes=4)
            hit = (head(asked)[:, FEW].argmax(1) == (truth // 3)).float()
            accuracy.append(float(hit[FEW[truth]].mean()))
            if graph is not TREE:
                assert float(closed.share) == 0 and float(head.receives.max()) == 0
        gains.append(accuracy[1] - accuracy[0])
    assert sum(gains) / 4 > 0.02


def test_the_same_generator_gives_the_same_head() -> None:
    x, y, asked, _ = samples()
    heads = []
    for _ in range(2):
        torch.manual_seed(0)
        head, closed = parts()
        heads.append(
            train_by_episodes(head, closed, x, y, FEW, rng(), episodes=4, validation_episodes=4)
        )
    assert torch.equal(heads[0](asked), heads[1](asked))


def test_without_base_classes_the_closed_form_is_left() -> None:
    x, y, asked, _ = samples()
    head, closed = parts()
    train_by_episodes(head, closed, x, y, torch.ones(24, dtype=torch.bool), rng())
    assert torch.allclose(head(asked), closed(asked), atol=1e-5)


def test_accuracy_counts_the_scored_classes_alone() -> None:
    x, y, _, _ = samples()
    head, closed = parts()
    head.start(closed.fit(x, y), FEW)
    episode = Episodes(closed, x, y, FEW, 5, rng()).draw(validate=True)
    logits = _logits(head, episode, 0.0)
    assert logits[:, FEW].eq(-torch.inf).all()
    mine = episode.scored[episode.labels]
    among_all = (logits.argmax(1) == episode.labels)[mine].double().mean()
    pseudo_novel = episode.few & ~FEW
    among_few = logits.masked_fill(~pseudo_novel, -torch.inf).argmax(1) == episode.labels
    expected = (among_all + among_few[mine].double().mean()) / 2
    assert torch.isclose(_accuracy(head, episode, 0.0), expected)


def test_what_cannot_be_trained_is_named() -> None:
    x, y, _, _ = samples()
    head, closed = parts()
    with pytest.raises(ShapeError, match=r"`few` is torch.int64 of shape \(24,\)"):
        train_by_episodes(head, closed, x, y, FEW.long(), rng())
    with pytest.raises(ConfigError, match="`episodes` is 0"):
        train_by_episodes(head, closed, x, y, FEW, rng(), episodes=0)
    with pytest.raises(ConfigError, match="only a head with metric=True"):
        KGTN(11, 24, TREE.graph()).start(closed.fit(x, y), FEW)


@pytest.mark.parametrize("options", [{}, {"training": "joint", "steps": 5}])
def test_it_is_a_few_shot_method(options) -> None:
    x, y, more, asked = samples()
    data = torch.cat([x, more]), torch.cat([y, asked])
    method = {"name": "kgtn", "episodes": 3, **options}
    found = gtl.few_shot(
        data, [method, "shrinkage"], protocol="base_novel", graph=TREE, shots=[1], splits=2
    )
    for title in found.values:
        assert min(found.values[title][1]["novel_in_novel_top1"]) > 0.1


def test_a_head_with_a_penalty_is_trained_with_it(communities) -> None:
    graphs = [[[0, 1, 1.0]]]
    sizes = []
    for decay in (0.0, 1.0):
        head = {"name": "kgtn", "graphs": graphs, "steps": 0, "decay": decay}
        model = gtl.finetune(
            {"name": "gcn", "width": 8, "depth": 1}, communities, head=head, epochs=20, lr=0.05
        )
        sizes.append(float(model.predictor.head.weight.square().sum()))
    assert sizes[1] < 0.7 * sizes[0]
