"""What of a model travels between clients and server, and how it is written.

Trained parameters travel, as one vector: a message spends about 430 bytes on the name, form and
hash of each array, which is more than most arrays of an adapter have. Of batch norms that are not
frozen the running statistics travel too and are averaged; integer buffers, which count batches,
stay where they are, since an average of counts is no count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtl.adapters import Adapted, LoRA
from gtl.errors import ConfigError
from gtl.heads.closed_form import ClosedForm
from gtl.train.encoder_mode import batch_norms
from gtl.train.federated.plan import Plan
from gtl.train.model import TARGET
from gtl.train.step import TaskModel

HEAD = f"tasks.{TARGET}.predictor."
CENTERS = "classes.centers"  # trained where a head is not fitted; statistics take their place
VECTOR, SCALES = "trained", "scales"
MEAN, VARIANCE = "running_mean", "running_var"  # buffers of a batch norm
_LEVELS = 127  # of int8, on each side of 0


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the tensors of a vector, in order.

    Attributes:
        shapes: Shape of each tensor, by name.
        dtype: Of the vector.
    """

    shapes: Mapping[str, tuple[int, ...]]
    dtype: torch.dtype = torch.float32

    @staticmethod
    def of(state: Mapping[str, Tensor]) -> Layout:
        """The layout of a state."""
        dtype = next((value.dtype for value in state.values()), torch.float32)
        return Layout({name: tuple(value.shape) for name, value in state.items()}, dtype)

    @property
    def sizes(self) -> list[int]:
        """Numbers of each tensor."""
        return [int(np.prod(shape)) for shape in self.shapes.values()]

    def places(self, *buffers: str) -> np.ndarray:
        """Which numbers of a vector are of buffers of these names in any module, bool ``(p,)``."""
        own = [name.rpartition(".")[2] in buffers for name in self.shapes]
        found: np.ndarray = np.array(own, dtype=bool).repeat(self.sizes)
        return found

    def pack(self, state: Mapping[str, Tensor]) -> np.ndarray:
        """The tensors one after the other, ``(p,)``."""
        parts = [state[name].detach().to("cpu", self.dtype).flatten() for name in self.shapes]
        vector: np.ndarray = torch.cat(parts or [torch.empty(0, dtype=self.dtype)]).numpy()
        return vector

    def unpack(self, vector: np.ndarray) -> dict[str, Tensor]:
        """The tensors of a vector ``(p,)``, by name; copies."""
        pieces = torch.tensor(vector, dtype=self.dtype).split(self.sizes)
        return {name: x.view(s) for (name, s), x in zip(self.shapes.items(), pieces)}


@dataclass(frozen=True)
class Codec:
    """How vectors are written: as they are, in half precision, or in bytes.

    ``int8`` multiplies each tensor by 127 over its largest absolute value and rounds: the error of
    an entry is at most 1/254 of that value. Clients send what they changed, not what they have,
    and the server adds it to its own exact vector, so that errors are relative to the change.

    Attributes:
        kind: ``None``, ``"float16"`` or ``"int8"``.
        layout: Of the vectors.
    """

    kind: str | None
    layout: Layout

    def encode(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays to send for a vector ``(p,)``.

        Finite values beyond the range of half precision become the largest that it has.
        """
        if self.kind is None:
            return {VECTOR: vector}
        if self.kind == "float16":
            most = float(np.finfo(np.float16).max)
            near = np.where(np.isinf(vector), vector, np.clip(vector, -most, most))
            return {VECTOR: near.astype(np.float16)}
        pieces = np.split(vector, np.cumsum(self.layout.sizes)[:-1])
        tops = [float(np.abs(piece).max()) if piece.size else 0.0 for piece in pieces]
        scales = np.array([top / _LEVELS for top in tops], dtype=np.float32)
        safe = np.where(scales > 0, scales, 1).repeat(self.layout.sizes)
        with np.errstate(invalid="ignore"):
            codes = np.rint(vector / safe).clip(-_LEVELS, _LEVELS).astype(np.int8)
        return {VECTOR: codes, SCALES: scales}

    def decode(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector ``(p,)`` of arrays that were sent."""
        like = np.zeros(0, dtype=_numpy(self.layout.dtype)).dtype
        vector = arrays[VECTOR].astype(like)
        if self.kind == "int8":
            vector *= arrays[SCALES].astype(like).repeat(self.layout.sizes)
        return vector

    def error(self, vector: np.ndarray) -> float:
        """Relative error ``|decode(encode(v)) - v| / |v|``; 0 for a vector of zeros."""
        norm = float(np.linalg.norm(vector))
        lost = float(np.linalg.norm(self.decode(self.encode(vector)) - vector))
        return lost / norm if norm else 0.0


def prepare(model: TaskModel, plan: Plan) -> None:
    """Freeze what a plan leaves as it started: a factor of each pair, centers of a fitted head.

    Where nothing of the encoder is trained, a fitted head is not trained either: fitted to the very
    items that it would be trained on, it would only learn to shrink too little.

    Raises:
        ConfigError: If the head has no statistics, and they are to be shared.
    """
    head = head_of(model)
    if plan.share_head == "statistics":
        if not isinstance(head, ClosedForm):
            raise ConfigError(
                f"share_head='statistics' adds up statistics of classes, which a head "
                f"{type(head).__name__} does not have; take head='prototype' or 'gaussian'"
            )
        head.classes.centers.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in model.encoder.parameters()):
            head.requires_grad_(False)
    if plan.low_rank == "freeze":
        for part in low_rank_parts(model):
            part.down.requires_grad_(False)


def travelling(model: TaskModel, plan: Plan) -> tuple[list[str], list[str]]:
    """Names in the model's state of what travels, and of what each client keeps and trains."""
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    moving = set(trained) | (_statistics(model) if plan.batch_norm != "frozen" else set())
    kept = _norms(model) if plan.batch_norm == "local" else set()
    if plan.share_head == "local":
        kept |= {name for name in moving if name.startswith(HEAD)}
    order = [name for name in model.state_dict() if name in moving]
    return [n for n in order if n not in kept], [n for n in order if n in kept]


def low_rank_parts(model: TaskModel) -> list[LoRA]:
    """The adapters with factors of low rank that are trained."""
    encoder = model.encoder
    parts = encoder.parts() if isinstance(encoder, Adapted) else []
    return [part for part in parts if isinstance(part, LoRA)]


def factor_pairs(model: TaskModel) -> list[tuple[str, str]]:
    """Names of ``up`` and ``down`` of each pair of factors."""
    modules = {id(part): name for name, part in model.named_modules()}
    pairs = []
    for part in low_rank_parts(model):
        start = modules[id(part)]
        ups = [name for name, _ in part.named_parameters() if name.startswith("up.")]
        pairs += [(f"{start}.{up}", f"{start}.down.{up.removeprefix('up.')}") for up in ups]
    return pairs


def head_of(model: TaskModel) -> Any:
    """The head of the labeled target."""
    return model.target.predictor.head  # type: ignore[union-attr]


def _statistics(model: TaskModel) -> set[str]:
    """Running means and variances of the batch norms that follow the batches."""
    following = {id(norm) for norm in batch_norms(model) if _follows(norm)}
    return {
        f"{path}.{name}"
        for path, part in model.named_modules()
        if id(part) in following
        for name in (MEAN, VARIANCE)
    }


def _norms(model: TaskModel) -> set[str]:
    """Parameters and running statistics of batch norms that are trained."""
    inside = {id(norm) for norm in batch_norms(model) if _follows(norm)}
    own = {
        f"{path}.{name}"
        for path, part in model.named_modules()
        if id(part) in inside
        for name, p in part.named_parameters()
        if p.requires_grad
    }
    return own | _statistics(model)


def _follows(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    """Whether training changes the running statistics: not in a frozen encoder."""
    return norm.track_running_stats and any(p.requires_grad for p in norm.parameters())


def _numpy(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
