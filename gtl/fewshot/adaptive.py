"""Few-shot methods that train the encoder: FiT and full fine-tuning.

FiT (Shysheya et al. 2023) trains an adapter on episodes; full fine-tuning trains everything. Both
encode the training samples and the queries anew in each split.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError
from gtl.fewshot.problem import Problem, Source
from gtl.roles import FewShotMethod, Scorer
from gtl.train.episodes import finetune_by_episodes
from gtl.train.evaluate import predict
from gtl.train.finetune import finetune
from gtl.train.model import Model


class FiT(FewShotMethod):
    """FiLM in a frozen encoder, trained on episodes with a head that is fitted in each.

    Args:
        head: ``"prototype"``, ``"gaussian"`` (LDA), or ``{"name": "gaussian", "kind": "qda"}``.
        adapter: What may move in the encoder.
        episodes: Steps; with one sample a class none is taken.
        lr: Learning rate.
    """

    def __init__(
        self, head: Any = "gaussian", adapter: Any = "film", episodes: int = 100, lr: float = 3.5e-3
    ):
        self.head, self.adapter, self.episodes, self.lr = head, adapter, episodes, lr

    def fit(self, problem: Problem) -> Scorer:
        """Train on episodes, then fit the head to all training samples."""
        source = _source(problem, "fit")
        model = finetune_by_episodes(
            copy.deepcopy(source.model.encoder),
            _with(source),
            head=self.head,
            adapter=self.adapter,
            readout=_readout(source),
            episodes=self.episodes,
            lr=self.lr,
            seed=_seed(problem),
        )
        return _scorer(model, source)


class FineTune(FewShotMethod):
    """Encoder and a linear head, or another one, trained on the training samples.

    Args:
        head: Name or mapping.
        epochs: Passes over the training samples.
        lr: Learning rate.
        batch_size: Items a step, at graph level.
    """

    def __init__(
        self, head: Any = "linear", epochs: int = 50, lr: float = 1e-3, batch_size: int = 32
    ):
        self.head, self.epochs, self.lr, self.batch_size = head, epochs, lr, batch_size

    def fit(self, problem: Problem) -> Scorer:
        """Fine-tune a copy of the encoder; there is no validation data, so the last epoch stays."""
        source = _source(problem, "finetune")
        model = finetune(
            copy.deepcopy(source.model.encoder),
            _with(source),
            head=self.head,
            readout=_readout(source) or "mean",
            epochs=self.epochs,
            lr=self.lr,
            weight_decay=0.0,
            batch_size=self.batch_size,
            seed=_seed(problem),
        )
        return _scorer(model, source)


def _source(problem: Problem, name: str) -> Source:
    if problem.source is None:
        raise ConfigError(
            f"the method {name!r} changes the encoder and needs one; give few_shot a data set of "
            "graphs or nodes and an `encoder` (--encoder)"
        )
    if problem.source.data.kind != "multiclass":
        raise ConfigError(
            f"the method {name!r} needs one class an item; {problem.source.data.spec} has columns "
            "of labels"
        )
    return problem.source


def _with(source: Source) -> Dataset:
    """The data with the training samples as its only split; nothing else is used."""
    return replace(source.data, split={"train": source.items})


def _readout(source: Source) -> Any:
    readout = source.model.predictor.readout
    return None if readout is None else copy.deepcopy(readout)


def _seed(problem: Problem) -> int:
    return problem.rng.initial_seed()


def _scorer(model: Model, source: Source) -> Scorer:
    """Logits of the queries, encoded by the changed encoder; the frozen features are not used."""

    def score(features: Tensor) -> Tensor:
        queries = replace(source.data, split={"test": source.queries})
        return predict(model, queries, "test", raw=True).to(features)

    return score
