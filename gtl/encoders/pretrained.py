"""Published molecular checkpoints of pretrain-gnns as encoders (Hu et al. 2020).

Their layout is turned into gtl's, weight by weight: the result is an ordinary encoder that can be
trained, adapted and saved like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from gtl.encoders.gat import GAT
from gtl.encoders.gcn import GCN
from gtl.encoders.gin import GIN
from gtl.encoders.inputs import table_rows
from gtl.encoders.sage import SAGE
from gtl.errors import CheckpointError, ConfigError
from gtl.graph import Columns, Graph, Schema
from gtl.graph.pack import PackedGraphs
from gtl.roles import Encoder

G = TypeVar("G", Graph, PackedGraphs)

KINDS = ("gin", "gcn", "sage", "gat")
PRETRAIN_GNNS = Schema(Columns((119, 3)), Columns((4, 3)))
OGB = Schema(Columns((119, 5, 12, 12, 10, 6, 6, 2, 2)), Columns((5, 6, 2)))

# Rows of the published tables, category by category, the last for masked. The published masking
# sets chirality and direction to 0, so their masked row is a copy of row 0. An unusual chirality
# is read as none and an unusual bond as masked: they have no row of their own.
_NATIVE_ROWS = {"chirality": (0, 1, 2, 0), "bond": (0, 1, 2, 3, 5), "direction": (0, 1, 2, 0)}
_OGB_ROWS = {"chirality": (0, 1, 2, 0, 0, 0), "bond": (0, 1, 2, 3, 5, 5)}
_LOOP_ROW = 4


def load_pretrained(
    path: Path | str,
    kind: str | None = None,
    features: str = "pretrain_gnns",
    dropout: float = 0.0,
    dtype: torch.dtype | None = None,
) -> Encoder:
    """Read a published state dict of pretrain-gnns ``chem``.

    With ``features="ogb"`` the encoder reads OGB's nine atom and three bond columns: atomic number,
    chirality and bond type get the published rows, all other columns rows of zeros, which
    fine-tuning may fill. OGB does not store bond directions, so every bond is read as having none.

    Args:
        path: A ``.pth`` file.
        kind: ``"gin"``, ``"gcn"``, ``"sage"`` or ``"gat"``; inferred if not given.
        features: ``"pretrain_gnns"`` (atom type and chirality; bond type and direction) or
            ``"ogb"``.
        dropout: Probability of dropping a value after each layer.
        dtype: Floating dtype of the encoder; torch's default if not given.

    Returns:
        The encoder, in training mode.

    Raises:
        CheckpointError: If the file is missing, truncated or something else.
        ConfigError: If ``kind`` or ``features`` is unknown.
    """
    for name, value, known in (
        ("kind", kind, (None, *KINDS)),
        ("features", features, ("pretrain_gnns", "ogb")),
    ):
        if value not in known:
            raise ConfigError(f"`{name}` is {value!r}, expected one of {known}")
    state = _read(Path(path))
    try:
        encoder, weights = _translate(state, kind or _kind_of(state), features, dropout)
    except (KeyError, IndexError, _ForeignError) as error:
        raise CheckpointError(
            f"{path} is not a pretrain-gnns chem state dict of kind {kind or 'known to gtl'} "
            f"({error}); give a file of that repository's chem/model_* folders"
        ) from error
    encoder.to(dtype or torch.get_default_dtype()).load_state_dict(weights)
    return encoder


def ogb_to_pretrain_gnns(graphs: G) -> G:
    """Molecules with OGB's columns in the two atom and two bond columns of pretrain-gnns.

    The direction of double-bond neighbors is not among OGB's columns and is set to none.

    Args:
        graphs: A Graph, or PackedGraphs, of OGB's nine atom and three bond columns.

    Returns:
        The same molecules; PackedGraphs have the schema :data:`PRETRAIN_GNNS`.

    Raises:
        DataError: If the columns are not OGB's.
    """
    assert OGB.node is not None and OGB.edge is not None
    table_rows(graphs.x, OGB.node, "x")
    table_rows(graphs.e, OGB.edge, "e")
    assert graphs.x is not None and graphs.e is not None
    atoms, bonds = graphs.x.long(), graphs.e[:, 0].long()
    chirality = _look_up((0, 1, 2, 0, 0, 3), atoms[:, 1])
    x = torch.stack([atoms[:, 0], chirality], 1)
    e = torch.stack([bonds.clamp(max=4), (bonds == 5) * 3], 1)
    if isinstance(graphs, Graph):
        return graphs.replace(x=x, e=e)
    return replace(graphs, x=x, e=e, schema=PRETRAIN_GNNS)


class _ForeignError(Exception):
    """What is wrong with a state dict."""


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, floating ones in float64 so that folding weights loses nothing."""
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        raise CheckpointError(
            f"{path} is no .pth file of pretrain-gnns; give an encoder that comes with gtl by its "
            "name (`gtl list pretrained`), a run by its folder"
        )
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail anywhere in the reader
        raise CheckpointError(
            f"{path} is truncated or not a state dict ({type(error).__name__}); fetch it again"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} is not a state dict of tensors; give one of pretrain-gnns")
    return {k: v.double() if v.is_floating_point() else v for k, v in state.items()}


def _kind_of(state: Mapping[str, Tensor]) -> str:
    if "gnns.0.mlp.0.weight" in state:
        return "gin"
    if "gnns.0.att" in state:
        return "gat"
    # GCN and GraphSAGE have the same entries. But rows of a GraphSAGE layer have length 1, so the
    # squares in each column, which its batch norm has seen, sum to 1.
    mean, variance = state["batch_norms.0.running_mean"], state["batch_norms.0.running_var"]
    return "sage" if abs(float((mean.square() + variance).sum()) - 1) < 0.1 else "gcn"


def _translate(
    state: Mapping[str, Tensor], kind: str, features: str, dropout: float
) -> tuple[Encoder, dict[str, Tensor]]:
    """An encoder of the right shape and the weights for it."""
    width, depth = state["x_embedding1.weight"].shape[1], _depth(state)
    heads = state["gnns.0.att"].shape[1] if kind == "gat" else 1
    _require_layout(state, _layout(kind, width, depth, heads))
    schema = OGB if features == "ogb" else PRETRAIN_GNNS
    options: dict[str, Any] = {"width": width, "depth": depth, "dropout": dropout}
    encoder: Encoder
    if kind == "gin":
        encoder = GIN(schema, **options)
    elif kind == "gcn":
        encoder = GCN(schema, **options)
    elif kind == "sage":
        encoder = SAGE(schema, **options, aggregator="gcn", normalize=True)
    else:
        encoder = GAT(schema, **options, heads=heads, merge="mean")
    weights = {"embed.table": _node_table(state, features)}
    for i in range(depth):
        layer = _entries(state, f"gnns.{i}.")
        for name, value in _convolution(layer, kind, features).items():
            weights[f"blocks.{i}.conv.{name}"] = value
        for name, value in _entries(state, f"batch_norms.{i}.").items():
            weights[f"blocks.{i}.norm.{name}"] = value
    return encoder, weights


def _convolution(layer: Mapping[str, Tensor], kind: str, features: str) -> dict[str, Tensor]:
    table = _edge_table(layer, features)
    if kind == "gin":
        return {"edges.table": table, **{k: v for k, v in layer.items() if k.startswith("mlp.")}}
    if kind == "gat":
        receive, send = layer["att"][0].chunk(2, dim=1)
        linear = {f"linear.{name}": layer[f"weight_linear.{name}"] for name in ("weight", "bias")}
        return {
            "edges.table": table,
            "receive": receive,
            "send": send,
            "bias": layer["bias"],
            **linear,
        }
    weight, bias = layer["linear.weight"], layer["linear.bias"]
    if kind == "sage":  # the mean of a constant over a set that is never empty
        return {"edges.table": table, "linear.weight": weight, "bias": bias}
    # The bias of the published GCN is inside the normalized sum, once for each edge and loop: as
    # each has exactly one bond type (or the loop's row), it belongs to those rows.
    bonds = len(_rows(features)["bond"])
    table[:bonds] += bias
    table[-1] += bias
    return {"edges.table": table, "linear.weight": weight, "bias": torch.zeros_like(bias)}


def _node_table(state: Mapping[str, Tensor], features: str) -> Tensor:
    atoms, chirality = state["x_embedding1.weight"], state["x_embedding2.weight"]
    rows = [atoms, chirality[list(_rows(features)["chirality"])]]
    return _filled(rows, OGB.node if features == "ogb" else PRETRAIN_GNNS.node)


def _edge_table(layer: Mapping[str, Tensor], features: str) -> Tensor:
    types, directions = layer["edge_embedding1.weight"], layer["edge_embedding2.weight"]
    loop = (types[_LOOP_ROW] + directions[0]).unsqueeze(0)
    bonds = types[list(_rows(features)["bond"])]
    if features == "ogb":  # no bond has a direction
        return torch.cat([_filled([bonds + directions[0]], OGB.edge), loop])
    return torch.cat([bonds, directions[list(_NATIVE_ROWS["direction"])], loop])


def _filled(tables: Sequence[Tensor], columns: Columns | None) -> Tensor:
    """Tables one below the other, and zeros up to the number of rows that the columns need."""
    assert columns is not None and columns.categories is not None
    missing = sum(c + 1 for c in columns.categories) - sum(map(len, tables))
    return torch.cat([*tables, tables[0].new_zeros(missing, tables[0].shape[1])])


def _rows(features: str) -> Mapping[str, tuple[int, ...]]:
    return _OGB_ROWS if features == "ogb" else _NATIVE_ROWS


def _depth(state: Mapping[str, Tensor]) -> int:
    return len({key.split(".")[1] for key in state if key.startswith("gnns.")})


def _layout(kind: str, width: int, depth: int, heads: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every entry of a state dict."""
    inside = heads * width
    layer: dict[str, tuple[int, ...]] = {
        "edge_embedding1.weight": (6, inside),
        "edge_embedding2.weight": (3, inside),
    }
    if kind == "gin":
        layer.update({"mlp.0.weight": (2 * width, width), "mlp.0.bias": (2 * width,)})
        layer.update({"mlp.2.weight": (width, 2 * width), "mlp.2.bias": (width,)})
    elif kind == "gat":
        layer.update({"weight_linear.weight": (inside, width), "weight_linear.bias": (inside,)})
        layer.update({"att": (1, heads, 2 * width), "bias": (width,)})
    else:
        layer.update({"linear.weight": (width, width), "linear.bias": (width,)})
    layout: dict[str, tuple[int, ...]] = {
        "x_embedding1.weight": (120, width),
        "x_embedding2.weight": (3, width),
    }
    for i in range(depth):
        layout.update({f"gnns.{i}.{name}": shape for name, shape in layer.items()})
        for name in ("weight", "bias", "running_mean", "running_var"):
            layout[f"batch_norms.{i}.{name}"] = (width,)
        layout[f"batch_norms.{i}.num_batches_tracked"] = ()
    return layout


def _require_layout(state: Mapping[str, Tensor], layout: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in layout.items():
        if name not in state:
            raise _ForeignError(f"no entry {name!r}")
        if tuple(state[name].shape) != shape:
            raise _ForeignError(f"{name!r} has shape {tuple(state[name].shape)}, expected {shape}")
    for name in state:
        if name not in layout:
            raise _ForeignError(f"unknown entry {name!r}")


def _entries(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _look_up(row: tuple[int, ...], index: Tensor) -> Tensor:
    return torch.tensor(row, device=index.device)[index]
