"""Corrections of a source for shifts of a target: class weights, and edges drawn anew.

Both need class shares or classes of the target, which a model of the source estimates.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gtl.data.dataset import Dataset
from gtl.errors import ConfigError, DataError
from gtl.graph import Graph
from gtl.suggest import nearest
from gtl.train.domain_validation import vectors_and_scores
from gtl.train.domains import Domains
from gtl.train.label_shift import METHODS, estimated_shares, importance, trusted_shares
from gtl.train.model import Model
from gtl.train.predicting import probabilities

log = logging.getLogger(__name__)
MOST_COPIES = 5.0  # of an edge


def shares_of(model: Model, domains: Domains) -> dict[str, Tensor]:
    """Class shares of source and target, estimated by a model of the source.

    Raises:
        DataError: If labels are numbers, which have no shares.
    """
    kind = str(model.target.kind)
    if kind == "regression":
        raise DataError(
            f"labels of {domains.source.spec} are numbers, which have no class shares; leave out "
            "`class_prior`"
        )
    source, target = domains.source, domains.unlabeled
    valid = source.split["valid"]
    assert source.labels is not None
    here = vectors_and_scores(model, source, valid)[1]
    there = vectors_and_scores(model, target, domains.items)[1]
    guesses = [probabilities(scores.double(), kind) for scores in (here, there)]
    return estimated_shares(kind, source.labels[valid], *guesses)


def prior_weights(model: Model, domains: Domains, method: str) -> list[Any]:
    """Class weights of the source that make its class shares those estimated for the target.

    Args:
        model: Of the source.
        domains: All data.
        method: ``"bbse"`` or ``"em"``.

    Returns:
        A number for each class; of binary columns two lists, of 0 and of 1, as ``class_weights`` of
        :func:`gtl.finetune`.

    Raises:
        ConfigError: If the method is unknown.
    """
    if method not in METHODS:
        raise ConfigError(f"`class_prior` is {method!r}; {nearest(method, METHODS)}, or None")
    shares = shares_of(model, domains)
    one, other = shares["source"], shares[method]
    if bool((other.isnan() & ~shares["em"].isnan()).any()):
        log.warning(
            "class_prior=%r cannot be computed: predictions of the model of %s do not tell its "
            "classes apart on validation data; EM is used: train longer, or leave it out",
            method,
            domains.source.spec,
        )
    other = trusted_shares(shares) if method == "bbse" else other
    if str(model.target.kind) == "multiclass":
        return [float(value) for value in importance(one, other)]
    columns = [
        importance(torch.stack([1 - a, a]), torch.stack([1 - b, b])) for a, b in zip(one, other)
    ]
    return torch.stack(columns, 1).tolist()


def drawn_like_target(model: Model, domains: Domains, seed: int) -> Dataset:
    """The source with edges drawn to join classes as often as the target's do (StruRW).

    Liu et al. 2023 weigh an edge between classes ``a`` and ``b`` by the share of such pairs that
    are joined in the target over the share in the source; classes of the target are predicted. Here
    it departs from them: graphs have no edge weights, so an edge is kept as many times as its
    weight, the fraction by a draw, which has the same mean; and weights are estimated once, by the
    model of the source, and not again in each epoch. Of the source, labels of the training split
    are read, and classes of other nodes are predicted.

    Args:
        model: Of the source.
        domains: All data, of nodes in one graph.
        seed: Of the draws.

    Raises:
        DataError: If items are graphs, or labels have no classes.
    """
    source, target = domains.source, domains.unlabeled
    if source.graph is None or target.graph is None or source.labels is None:
        raise DataError(
            f"`edges` is for nodes of one graph, and items of {source.spec} are graphs; leave it "
            "out"
        )
    kind = str(model.target.kind)
    if kind == "regression" or source.num_outputs < 2:
        raise DataError(
            f"`edges` needs several classes or label columns, and {source.spec} has not; leave it "
            "out"
        )
    there = vectors_and_scores(model, target, target.items("all"))[1].argmax(1)
    here = _classes(source, model)
    weights = edge_ratio(source.graph, here, target.graph, there, source.num_outputs)
    graph = redrawn(source.graph, weights[here[source.graph.src], here[source.graph.dst]], seed)
    return replace(source, graph=graph)


def edge_ratio(one: Graph, here: Tensor, other: Graph, there: Tensor, classes: int) -> Tensor:
    """How much more often pairs of classes are joined in another graph, ``(c, c)``.

    Args:
        one: A graph.
        here: Class of each of its nodes.
        other: The other graph.
        there: Class of each of its nodes.
        classes: Number of classes.

    Returns:
        Ratios, at most 5; 1 where one of the graphs has no such pair or no such edge.
    """
    rates = [_joined(graph, labels, classes) for graph, labels in ((one, here), (other, there))]
    ratio = rates[1] / rates[0]
    return torch.where(ratio.isfinite() & (ratio > 0), ratio, 1.0).clamp(max=MOST_COPIES)


def redrawn(graph: Graph, weights: Tensor, seed: int) -> Graph:
    """A graph with each edge as many times as its weight ``(m,)``, the fraction by a draw.

    Both directions of an edge are drawn alike where their weights are equal.
    """
    rng = torch.Generator().manual_seed(seed)
    low, high = torch.minimum(graph.src, graph.dst), torch.maximum(graph.src, graph.dst)
    _, pair = (low * graph.num_nodes + high).unique(return_inverse=True)
    draws = torch.rand(int(pair.max()) + 1 if len(pair) else 0, generator=rng)
    count = weights.floor() + (draws[pair] < weights - weights.floor())
    return graph.pick_edges(torch.arange(graph.num_edges).repeat_interleave(count.long()))


def _joined(graph: Graph, labels: Tensor, classes: int) -> Tensor:
    edges = torch.zeros(classes, classes, dtype=torch.float64)
    ones = torch.ones(graph.num_edges, dtype=torch.float64)
    edges.index_put_((labels[graph.src], labels[graph.dst]), ones, accumulate=True)
    counts = torch.bincount(labels, minlength=classes).double()
    return edges / (counts[:, None] * counts[None])


def _classes(source: Dataset, model: Model) -> Tensor:
    """Class of each node: known of training nodes, else predicted; of several the likeliest."""
    assert source.labels is not None
    guess = vectors_and_scores(model, source, source.items("all"))[1]
    is_read = torch.zeros(len(source), dtype=torch.bool)
    is_read[source.items("train")] = True
    if source.labels.dim() == 1:
        return torch.where(is_read & (source.labels >= 0), source.labels, guess.argmax(1))
    known = source.labels.nan_to_num(0).to(guess) * is_read.unsqueeze(1)
    return (known * 1e6 + guess).argmax(1)
