"""Episodic training of KGTN with pseudo-novel base classes.

Chen et al. 2020 train weights and propagation jointly on all classes, so the shots can be memorized
and nothing requires the graph to help a class with few samples. Departure from the paper: in each
episode some base classes are pseudo-novel: they keep as few samples as novel classes have, and
their other samples are the queries (Vinyals et al. 2016). The class vectors start at the closed
form of :class:`gtl.heads.Shrinkage` and the propagation learns a correction. Held-out base classes,
which are pseudo-novel in no training episode, select how much of the correction is used, none
included.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from gtl.errors import ConfigError, ShapeError
from gtl.heads import KGTN, Shrinkage
from gtl.heads.kgtn import started

STRENGTHS = (0.5, 1.0)
_CERTAIN = 2.0  # standard errors by which a gain on held-out classes must exceed 0
_LEAST = 4  # base classes, two for training episodes and two held out


@dataclass(frozen=True)
class Episode:
    """One draw of pseudo-novel base classes, with its queries.

    Attributes:
        few: Classes with few samples in this episode, novel and pseudo-novel, boolean ``(c,)``.
        state: Initial state of the head by name: the closed form of the support samples.
        queries: Features ``(q, d)``.
        labels: Their base classes, int64 ``(q,)``.
        scored: Pseudo-novel classes whose queries are scored, boolean ``(c,)``.
    """

    few: Tensor
    state: Mapping[str, Tensor]
    queries: Tensor
    labels: Tensor
    scored: Tensor


class Episodes:
    """Draws episodes from labeled features.

    Args:
        closed: Head whose closed form gives the initial class vectors; a copy is fitted.
        features: Of all samples, ``(b, d)``.
        labels: Their classes, int64 ``(b,)``.
        few: Which classes have few samples, boolean ``(c,)``.
        queries: Query samples of each base class.
        rng: Draws classes and samples.
    """

    def __init__(
        self,
        closed: Shrinkage,
        features: Tensor,
        labels: Tensor,
        few: Tensor,
        queries: int,
        rng: torch.Generator,
    ):
        self.closed = copy.deepcopy(closed)
        self.features, self.labels, self.few = features, labels, few
        self.queries, self.rng = queries, rng
        counts = torch.bincount(labels, minlength=len(few)).cpu()
        self.shots = counts[few.cpu()].clamp(min=1)
        rich = ~few.cpu() & (counts >= 2 * int(self.shots.max() if len(self.shots) else 1) + 2)
        order = rich.nonzero().flatten()
        self.rich = order[torch.randperm(len(order), generator=rng)]
        self.held_out = self.rich[: max(2, len(self.rich) // 4)]

    def draw(self, validate: bool) -> Episode:
        """An episode for training, or one for validation, whose queries are of held-out classes."""
        learners = self.rich[len(self.held_out) :]
        count = min(max(2, len(self.few[self.few])), max(2, 2 * len(self.rich) // 5), len(learners))
        drawn = learners[torch.randperm(len(learners), generator=self.rng)[:count]]
        if validate:
            drawn = torch.cat([self.held_out, drawn[len(self.held_out) :]])
        few, scored = self.few.cpu().clone(), torch.zeros(len(self.few), dtype=torch.bool)
        few[drawn] = True
        scored[self.held_out if validate else drawn] = True
        support, queries = self._samples(set(drawn.tolist()))
        with torch.no_grad():
            self.closed.fit(self.features[support], self.labels[support])
            state = started(self.closed, few.to(self.features.device))
        return Episode(
            few.to(self.features.device),
            state,
            self.features[queries],
            self.labels[queries],
            scored.to(self.features.device),
        )

    def _samples(self, drawn: set[int]) -> tuple[Tensor, Tensor]:
        """Numbers of the samples of the support and of the queries, which share none."""
        support, queries = [], []
        for number in range(len(self.few)):
            own = (self.labels == number).nonzero().flatten().cpu()
            if bool(self.few[number]) or len(own) < 2:
                support.append(own)
                continue
            own = own[torch.randperm(len(own), generator=self.rng)]
            count = min(self.queries, len(own) // 2)
            queries.append(own[:count])
            rest = own[count:]
            if number in drawn:
                pick = int(torch.randint(len(self.shots), (), generator=self.rng))
                rest = rest[: int(self.shots[pick])]
            support.append(rest)
        return torch.cat(support), torch.cat(queries)


def train_by_episodes(
    head: KGTN,
    closed: Shrinkage,
    features: Tensor,
    labels: Tensor,
    few: Tensor,
    rng: torch.Generator,
    *,
    episodes: int = 20,
    validation_episodes: int = 12,
    queries: int = 8,
    lr: float = 3e-4,
    weight_decay: float = 1e-2,
) -> KGTN:
    """Start a head at the closed form and train its propagation to correct it.

    The correction is used at full or half strength, or not at all: it must improve the accuracy on
    held-out classes by more than two standard errors. Nothing is trained where the closed form
    finds no share of the spread of classes along the graph (:attr:`gtl.heads.Shrinkage.share`),
    or where fewer than four base classes have enough samples, or no class has few.

    Args:
        head: With ``metric=True`` and cosines; trained in place.
        closed: Its closed form; fitted in place to all samples.
        features: Of the samples of all classes, ``(b, d)``.
        labels: Their classes, int64 ``(b,)``.
        few: Which classes have few samples, boolean ``(c,)``.
        rng: Draws the episodes.
        episodes: Steps of training.
        validation_episodes: Episodes of held-out classes, evaluated half way and after training.
        queries: Query samples of each base class in an episode.
        lr: Learning rate (AdamW).
        weight_decay: Weight decay.

    Returns:
        The head, without derivatives; ``head.receives`` is 0 where nothing is added.

    Raises:
        ShapeError: If ``few`` is no boolean of all classes.
        ConfigError: If a number is out of range, or the head cannot start from a closed form.
    """
    if few.dtype != torch.bool or few.shape != head.receives.shape:
        raise ShapeError(
            f"`few` is {few.dtype} of shape {tuple(few.shape)}, expected bool "
            f"{tuple(head.receives.shape)}, one per class"
        )
    counts = {
        "episodes": episodes,
        "validation_episodes": validation_episodes,
        "queries": queries,
    }
    for name, value in counts.items():
        if value < 1:
            raise ConfigError(f"`{name}` is {value}, expected at least 1")
    with torch.no_grad():
        head.start(closed.fit(features, labels), few)
    strength = 0.0
    if bool(few.any()) and bool(closed.share > 0) and len(head.parts):
        source = Episodes(closed, features, labels, few, queries, rng)
        source.closed.strength = float(closed.share)  # the likeliest of all is kept
        if len(source.rich) >= _LEAST:
            with torch.enable_grad():
                strength = _train(head, source, episodes, validation_episodes, lr, weight_decay)
    with torch.no_grad():
        head.receives.mul_(strength)
    return head.eval().requires_grad_(False)


def _train(
    head: KGTN, source: Episodes, episodes: int, validation: int, lr: float, weight_decay: float
) -> float:
    """Train the propagation, keep its best state; returns the strength that gains most."""
    held_out = [source.draw(validate=True) for _ in range(validation)]
    trained = [*head.parts.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay)
    best, strength, kept = 0.0, 0.0, copy.deepcopy(head.parts.state_dict())
    stops = {(episodes + 1) // 2, episodes}
    for step in range(1, episodes + 1):
        optimizer.zero_grad()
        _loss(head, source.draw(validate=False)).backward()
        optimizer.step()
        if step in stops:
            for share in STRENGTHS:
                gain = _certain_gain(head, held_out, share)
                if gain > best:
                    best, strength = gain, share
                    kept = copy.deepcopy(head.parts.state_dict())
    head.parts.load_state_dict(kept)
    return strength


def _loss(head: KGTN, episode: Episode) -> Tensor:
    """Cross-entropy of all queries, plus that of pseudo-novel ones among pseudo-novel classes."""
    logits = _logits(head, episode, 1.0)
    mine = episode.scored[episode.labels]
    among = logits[mine].masked_fill(~episode.scored, -torch.inf)
    loss = cross_entropy(logits, episode.labels)
    return loss + cross_entropy(among, episode.labels[mine])


def _logits(head: KGTN, episode: Episode, strength: float) -> Tensor:
    """Logits ``(q, c)``; classes that are novel have no queries and are left out."""
    state = {**episode.state, "receives": strength * episode.state["receives"]}
    logits = functional_call(head, state, (episode.queries,))
    base = torch.zeros_like(episode.few)
    base[episode.labels.unique()] = True
    return logits.masked_fill(~base, -torch.inf)


def _certain_gain(head: KGTN, episodes: list[Episode], strength: float) -> float:
    """Gain in accuracy of a strength over none, less two standard errors."""
    with torch.no_grad():
        gains = torch.stack(
            [_accuracy(head, e, strength) - _accuracy(head, e, 0.0) for e in episodes]
        )
    error = gains.std() / len(gains) ** 0.5 if len(gains) > 1 else gains.new_tensor(torch.inf)
    return float(gains.mean() - _CERTAIN * error)


def _accuracy(head: KGTN, episode: Episode, strength: float) -> Tensor:
    """Accuracy on the scored queries: mean of that among all classes and among the few."""
    mine = episode.scored[episode.labels]
    logits, labels = _logits(head, episode, strength)[mine], episode.labels[mine]
    among = logits.masked_fill(~episode.few, -torch.inf)
    hits = [(scores.argmax(1) == labels).double().mean() for scores in (logits, among)]
    return torch.stack(hits).mean()
