"""Structured pruning: hidden channels that matter least are left out of every layer.

What is left is a dense network of the same class with a smaller width, so it is faster, which
single weights set to zero would not be. How much a channel matters is the change of the loss when
it is set to zero, to first order: ``|h dL/dh|`` on training data (Molchanov et al. 2017, "Pruning
convolutional neural networks for resource efficient inference", Eq. 8), or the size of the weights
that make and read it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.efficiency.low_rank import require_single
from gtl.efficiency.slicing import (
    Channels,
    inner_width,
    only_sums,
    require_sliceable,
    sliced,
)
from gtl.encoders.block import Stack
from gtl.encoders.features import RawFeatures
from gtl.encoders.gat import GATConvolution
from gtl.encoders.gin import GINConvolution
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.roles import Batch
from gtl.train.device import module_device
from gtl.train.model import Model

CRITERIA = ("taylor", "magnitude")
_TIE = 1e-6  # of the size of the weights in a score by the loss
_BATCH, _MOST = 64, 2000  # items of a batch, and of all batches that are looked at


def pruned(
    model: Model,
    keep: float = 0.5,
    data: Dataset | None = None,
    criterion: str = "taylor",
    recalibrate: bool = True,
    seed: int = 0,
) -> Model:
    """A copy of a model with a share of its hidden channels.

    Every layer keeps as many, and the inner vectors of GIN the same share. Which ones, each layer
    chooses by itself; where layers are added up (``residual``, ``jk`` of ``"sum"`` or ``"max"``)
    all keep the same ones, and a layer without a matrix those of its input.

    Args:
        model: Its encoder is ``gcn``, ``sage``, ``gin``, ``gat`` or ``mlp`` with batch norm or
            without a norm, its head ``linear`` or ``mlp``; stays as it is.
        keep: Share of the channels that stay, in ``(0, 1]``.
        data: Labeled data, whose training split shows which channels matter.
        criterion: ``"taylor"``, which needs data, or ``"magnitude"``.
        recalibrate: Whether the running statistics of batch norms are computed anew on the data,
            since vectors of a smaller network have others.
        seed: Draws the items that are looked at.

    Raises:
        ConfigError: If an option is out of range, data are missing, or a part cannot be pruned.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"`keep` is {keep}, expected a share above 0 and up to 1")
    if criterion not in CRITERIA:
        raise ConfigError(f"`criterion` is {criterion!r}, expected one of {CRITERIA}")
    if criterion == "taylor" and data is None:
        raise ConfigError(
            "`criterion` is 'taylor', which reads labeled data, and there are none; give a data "
            "set, or criterion='magnitude'"
        )
    require_single(model, "prune")
    require_sliceable(model)
    work = copy.deepcopy(model)
    batches = [] if data is None else list(_batches(work, data, seed))
    between, inside = _magnitudes(work)
    if criterion == "taylor":
        found = _changes(work, batches)
        between, inside = _refined(found[0], between), _refined(found[1], inside)
    done = sliced(work, chosen(work, between, inside, keep))
    if recalibrate and batches:
        recalibrated(done, batches)
    return done


def chosen(
    model: Model,
    between: Sequence[Tensor | None],
    inside: Sequence[Tensor | None],
    keep: float,
) -> Channels:
    """The channels that matter most.

    Args:
        model: Where they are.
        between: How much each channel matters, ``(h,)`` of the embedding (``None`` if there is
            none) and of each layer's output.
        inside: The same of each layer's inner vectors; ``None`` where there are none.
        keep: Share of the channels that stay.
    """
    encoder = model.encoder
    assert isinstance(encoder, Stack)
    conv = encoder.blocks[0].conv
    heads = conv.heads if isinstance(conv, GATConvolution) and conv.merge == "concat" else 1
    scores = [s for s in between if s is not None]
    if any(block.residual for block in encoder.blocks) or encoder.jk in ("sum", "max"):
        scores = [torch.stack([_shares(s) for s in scores]).sum(0)] * len(scores)
    elif only_sums(encoder.blocks[-1]):
        scores[-2:] = [_shares(scores[-2]) + _shares(scores[-1])] * 2
    # The embedding is no output of attention, but layers have one width: a multiple of the heads.
    count = max(round(keep * len(scores[0]) / heads), 1)
    rows = iter([_most(score.view(heads, -1).sum(0), count, heads) for score in scores])
    inner = [None if s is None else _most(s, 2 * count * heads, 1) for s in inside]
    return Channels([None if s is None else next(rows) for s in between], inner)


@torch.no_grad()
def recalibrated(model: Model, batches: Sequence[Graph]) -> Model:
    """Compute running statistics of batch norms anew, as means over batches; returns the model."""
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm1d)]
    kept = [(norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    for graph in batches if norms else ():
        model.encoder(graph)
    for norm, (momentum, mode) in zip(norms, kept):
        norm.momentum, norm.training = momentum, mode
    return model


def _most(score: Tensor, count: int, heads: int) -> Tensor:
    """Numbers of the largest scores, ascending; the same columns of each head."""
    order = score.argsort(descending=True, stable=True)[:count].sort().values
    starts = torch.arange(heads).unsqueeze(1) * len(score)
    return (starts + order.cpu()).flatten()


def _batches(model: Model, data: Dataset, seed: int) -> Iterator[Graph]:
    """Training items; at node level, and of pairs, with the whole graph."""
    data = with_properties(data, model.properties)
    items = data.items("train")
    rng = torch.Generator().manual_seed(seed)
    items = items[torch.randperm(len(items), generator=rng)[:_MOST]]
    size = len(items) if data.contents.one_graph else _BATCH
    for part in items.split(max(size, 1)):
        yield data.batch(part, module_device(model))


def _changes(
    model: Model, batches: Sequence[Graph]
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """``|h dL/dh|`` of each channel, summed over nodes and batches."""
    encoder = model.encoder
    places = [encoder.embed, *encoder.blocks]
    inner = [b.conv.mlp[1] if isinstance(b.conv, GINConvolution) else None for b in encoder.blocks]
    sums: dict[nn.Module, Tensor] = {}
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    for graph in batches:
        with _outputs([*places, *(part for part in inner if part is not None)]) as outputs:
            nodes = encoder(graph)
            rng = torch.Generator().manual_seed(0)
            view = model.target.view(Batch(graph), rng)
            model.target.losses(nodes, view).sum().backward()
        for part, h in outputs.items():
            if h.grad is not None:
                found = (h.detach() * h.grad).abs().sum(0)
                sums[part] = sums[part] + found if part in sums else found
        model.zero_grad()
    raw = isinstance(encoder.embed, RawFeatures)
    between = [sums[place] for place in places[1:]]
    return (
        [None if raw else sums[places[0]], *between],
        [None if part is None else sums[part] for part in inner],
    )


def _refined(scores: Sequence[Tensor | None], ties: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Scores, and among equal ones, such as those of channels that no item activates, others."""
    parts = [
        None if s is None or t is None else (_shares(s), _shares(t)) for s, t in zip(scores, ties)
    ]
    return [None if part is None else part[0] + _TIE * part[1] for part in parts]


def _shares(scores: Tensor) -> Tensor:
    return scores / scores.sum().clamp(min=torch.finfo(scores.dtype).tiny)


@contextmanager
def _outputs(parts: Sequence[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Outputs of modules by module, which keep their gradients."""
    found: dict[nn.Module, Tensor] = {}

    def note(part: nn.Module, inputs: object, out: Tensor) -> None:
        if out.requires_grad:
            out.retain_grad()
            found[part] = out

    hooks = [part.register_forward_hook(note) for part in parts]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def _magnitudes(model: Model) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Length of the weights that make a channel times that of those that read it."""
    encoder = model.encoder
    between: list[Tensor | None] = []
    inside: list[Tensor | None] = []
    raw = isinstance(encoder.embed, RawFeatures)
    made: list[Tensor | None] = [None if raw else _made_by_embedding(encoder.embed)]
    read = []
    for block in encoder.blocks:
        conv: Any = block.conv
        if only_sums(block):
            assert made[-1] is not None
            read.append(torch.ones_like(made[-1]))
            made.append(made[-1])
            inside.append(None)
            continue
        first = conv.mlp[0].weight if inner_width(block) else conv.linear.weight
        own = getattr(conv, "own", None)
        read.append(first.norm(dim=0) + (own.weight.norm(dim=0) if own is not None else 0))
        made.append(_made_by(block))
        if inner_width(block):
            inside.append(conv.mlp[0].weight.norm(dim=1) * conv.mlp[2].weight.norm(dim=0))
        else:
            inside.append(None)
    assert made[-1] is not None
    read.append(torch.ones_like(made[-1]))
    for size, weight in zip(made, read):
        between.append(None if size is None else size * weight)
    return between, inside


def _made_by_embedding(embed: nn.Module) -> Tensor:
    """Length of what each channel of an embedding is made of."""
    squares = [
        value.square().sum(1 if name.endswith("map.weight") else 0)
        for name, value in embed.named_parameters()
        if value.dim() == 2
    ]
    return torch.stack(squares).sum(0).sqrt()


def _made_by(block: Any) -> Tensor:
    """Length of the row that makes each channel; a batch norm sets it to its own weight."""
    if isinstance(block.norm, nn.BatchNorm1d):
        return block.norm.weight.abs() + block.norm.bias.abs()
    conv = block.conv
    if inner_width(block):
        return conv.mlp[2].weight.norm(dim=1) + conv.mlp[2].bias.abs()
    rows = conv.linear.weight.norm(dim=1)
    if not isinstance(conv, GATConvolution):
        return rows
    return rows.view(conv.heads, -1).mean(0) if conv.merge == "mean" else rows
