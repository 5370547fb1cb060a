"""Slices of an encoder and of a predictor: the same parts with fewer channels.

A channel is a column of the node vectors between two layers. What makes it, a row of a matrix, its
bias and its normalization, and what reads it, a column of the next matrix, go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gtl.catalog import ENCODERS, HEADS, READOUTS
from gtl.encoders.block import Block, Stack
from gtl.encoders.features import RawFeatures
from gtl.encoders.gat import GATConvolution
from gtl.encoders.gcn import GCNConvolution, GCNSum
from gtl.encoders.gin import GINConvolution
from gtl.encoders.mlp import NodeMap
from gtl.encoders.readout import Concatenated
from gtl.encoders.sage import SAGEConvolution
from gtl.errors import ConfigError
from gtl.train.model import Model, Predictor, build_target

Rows = Tensor | None  # numbers of the rows, or columns, that stay; None means all


@dataclass(frozen=True)
class Channels:
    """Numbers of the channels that stay, int64, ascending.

    Attributes:
        between: Of the learned embedding (``None`` if the first layer reads the features) and of
            each layer's output.
        inside: Of each layer's inner vectors, where it has some.
    """

    between: Sequence[Rows]
    inside: Sequence[Rows]


def sliced(model: Model, channels: Channels) -> Model:
    """A model of the same parts with the given channels alone.

    Args:
        model: Its encoder is a :class:`gtl.encoders.block.Stack`; stays as it is.
        channels: As many in each layer, and twice as many inside.
    """
    encoder = model.encoder
    assert isinstance(encoder, Stack)
    kept = [c for c in channels.between if c is not None]
    slim = _built(encoder, len(kept[0]))
    final = _final(encoder, channels)
    head, features = model.predictor.head, _features(model.predictor, final, encoder.width)
    target = build_target(
        slim,
        {
            "kind": model.target.kind,
            "outputs": model.target.outputs,
            "level": model.predictor.items.level,
        },
        _head_spec(head),
        READOUTS.spec(model.predictor.readout),
        None if model.predictor.pair is None else asdict(model.target.links),
        model.target.class_weights,
        None if model.predictor.properties is None else model.predictor.properties.columns,
    )
    like = next(encoder.parameters())
    slim, target = slim.to(like), target.to(like)  # before: copies into other numbers are rounded
    _copy(encoder, slim, _encoder_rows(encoder, channels))
    _copy(model.target, target, _target_rows(model, final, features))
    assert isinstance(target.predictor, Predictor)
    _keep_unit_of_properties(model.predictor, target.predictor)
    done = Model(slim, target, model.labels, model.fan_out)
    done.trained_on, done.history, done.results = model.trained_on, model.history, model.results
    return done.train(model.training)


def require_sliceable(model: Model) -> None:
    """Refuse what has no channels that could be left out.

    Raises:
        ConfigError: If a part is not one of those that this module knows.
    """
    encoder, predictor = model.encoder, model.predictor
    name = ENCODERS.name_of(encoder)
    if not isinstance(encoder, Stack) or not all(
        isinstance(block, Block) and type(block.conv) in _CONVOLUTIONS for block in encoder.blocks
    ):
        raise ConfigError(
            f"prune knows the encoders gcn, sage, gin, gat and mlp without low-rank maps, not "
            f"{name}; use low_rank, int8 or distill, and prune before low_rank"
        )
    if any(isinstance(part, nn.LayerNorm) for part in encoder.modules()):
        raise ConfigError(
            "prune cannot take a channel out of a layer norm, which is over all channels; use "
            "low_rank, int8 or distill"
        )
    if type(predictor.head) not in _heads():
        raise ConfigError(
            f"prune knows the heads linear and mlp, not {HEADS.name_of(predictor.head)}; use int8 "
            "or distill"
        )


def inner_width(block: nn.Module) -> int:
    """Columns inside a layer, between two matrices; 0 if it has one matrix."""
    conv = block.conv
    return conv.inside if isinstance(conv, GINConvolution) else 0


def only_sums(block: nn.Module) -> bool:
    """Whether a layer has no matrix, so that its channels are those of its input."""
    return isinstance(block.conv, GCNSum)


def _built(encoder: Stack, width: int) -> Stack:
    spec = {**ENCODERS.spec(encoder), "width": width}
    built: Stack = ENCODERS.build(spec, encoder.schema)
    return built


def _final(encoder: Stack, channels: Channels) -> Tensor:
    """Which columns of the encoder's output stay."""
    between = [rows for rows in channels.between if rows is not None]
    if encoder.jk != "concat":
        return between[-1]
    width = encoder.width // len(between)
    return torch.cat([rows + i * width for i, rows in enumerate(between)])


def _encoder_rows(encoder: Stack, channels: Channels) -> dict[str, tuple[Rows, ...]]:
    """Which rows and columns of each tensor of the encoder stay."""
    first = channels.between[0]
    raw = isinstance(encoder.embed, RawFeatures)
    found: dict[str, tuple[Rows, ...]] = {}
    for name, _ in encoder.embed.state_dict().items() if not raw else ():
        found[f"embed.{name}"] = (first,) if name.endswith("bias") else (None, first)
        if name.endswith("map.weight"):
            found[f"embed.{name}"] = (first, None)
    for i, block in enumerate(encoder.blocks):
        inputs, outputs = channels.between[i], channels.between[i + 1]
        assert outputs is not None
        rows = _CONVOLUTIONS[type(block.conv)](block.conv, inputs, outputs, channels.inside[i])
        found.update({f"blocks.{i}.conv.{name}": how for name, how in rows.items()})
        for name in ("weight", "bias", "running_mean", "running_var"):
            found[f"blocks.{i}.norm.{name}"] = (outputs,)
    return found


def _of_map(conv: nn.Module, inputs: Rows, outputs: Tensor, inside: Rows) -> dict[str, Any]:
    return {"linear.weight": (outputs, inputs), "linear.bias": (outputs,)}


def _of_convolution(conv: nn.Module, inputs: Rows, outputs: Tensor, inside: Rows) -> dict[str, Any]:
    matrix = (outputs, inputs)
    vectors = {"bias": (outputs,), "edges.table": (None, outputs)}
    return {"linear.weight": matrix, "own.weight": matrix, **vectors}


def _of_sum(conv: nn.Module, inputs: Rows, outputs: Tensor, inside: Rows) -> dict[str, Any]:
    return {"edges.table": (None, outputs)}


def _of_gin(conv: nn.Module, inputs: Rows, outputs: Tensor, inside: Rows) -> dict[str, Any]:
    return {
        "edges.table": (None, inputs),
        "mlp.0.weight": (inside, inputs),
        "mlp.0.bias": (inside,),
        "mlp.2.weight": (outputs, inside),
        "mlp.2.bias": (outputs,),
    }


def _of_gat(conv: Any, inputs: Rows, outputs: Tensor, inside: Rows) -> dict[str, Any]:
    # Outputs of a concatenation are the same columns of each head, one head after the other.
    own = outputs if conv.merge == "mean" else outputs[: len(outputs) // conv.heads]
    starts = torch.arange(conv.heads).unsqueeze(1) * conv.columns
    rows = (starts + own).flatten()
    return {
        "edges.table": (None, rows),
        "linear.weight": (rows, inputs),
        "linear.bias": (rows,),
        "receive": (None, own),
        "send": (None, own),
        "bias": (outputs,),
    }


_CONVOLUTIONS: Mapping[type, Any] = {
    NodeMap: _of_map,
    GCNConvolution: _of_convolution,
    GCNSum: _of_sum,
    SAGEConvolution: _of_convolution,
    GINConvolution: _of_gin,
    GATConvolution: _of_gat,
}


def _heads() -> dict[type, str]:
    """Matrix that reads the item vectors, by class of head."""
    return {HEADS.get("linear"): "map.weight", HEADS.get("mlp"): "maps.0.weight"}


def _head_spec(head: Any) -> dict[str, Any]:
    spec = HEADS.spec(head)
    if spec["name"] == "mlp" and spec.get("depth", 2) > 1:
        spec["hidden"] = head.maps[0].out_features
    return spec


def _features(predictor: Predictor, final: Tensor, width: int) -> Tensor:
    """Which columns of the item vectors stay, the properties among them."""
    parts = 1
    if isinstance(predictor.readout, Concatenated):
        parts = len(predictor.readout.parts)
    columns = [final + i * width for i in range(parts)]
    if predictor.properties is not None:
        columns.append(parts * width + torch.arange(predictor.properties.width))
    return torch.cat(columns)


def _target_rows(model: Model, final: Tensor, features: Tensor) -> dict[str, tuple[Rows, ...]]:
    reads = _heads()[type(model.predictor.head)]
    found: dict[str, tuple[Rows, ...]] = {f"predictor.head.{reads}": (None, features)}
    for name, _ in model.target.named_parameters():
        if "readout." in name and name.endswith("score.weight"):
            found[name] = (None, final)
    return found


@torch.no_grad()
def _copy(old: nn.Module, new: nn.Module, rows: Mapping[str, tuple[Rows, ...]]) -> None:
    state = {}
    for name, value in old.state_dict().items():
        for axis, kept in enumerate(rows.get(name, ())):
            value = value if kept is None else value.index_select(axis, kept.to(value.device))
        state[name] = value.clone()
    new.load_state_dict(state)


@torch.no_grad()
def _keep_unit_of_properties(old: Predictor, new: Predictor) -> None:
    """Undo that properties are scaled by the width of the vectors beside which they stand."""
    if old.properties is None or new.properties is None:
        return
    weight = dict(new.head.named_parameters())[_heads()[type(new.head)]]
    start = weight.shape[1] - new.properties.width
    for name, count in new.properties.columns.items():
        ratio = old.properties.shrink[name] / new.properties.shrink[name]
        weight[:, start : start + count] *= ratio
        start += count
