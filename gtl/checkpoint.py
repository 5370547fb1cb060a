"""Checkpoints: nested state as safetensors plus JSON, written atomically, never a pickle.

The safetensors file alone is complete (its header carries the structure), so a process killed
between two writes leaves either the old checkpoint or the new one. The JSON file next to it is the
same structure for people to read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gtl.errors import CheckpointError
from gtl.int8 import Int8

_TENSOR, _INT_KEYS, _INT8 = "__tensor__", "__int_keys__", "__int8__"
_STRUCTURE = "__structure__"


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write nested state to ``path`` (``.safetensors``), and its structure to ``.json`` next to it.

    Args:
        path: Where to; parent folders must exist.
        state: Dictionaries (keys all strings or all integers) and lists of tensors, matrices in
            :class:`gtl.int8.Int8`, which :func:`load` gives as tensors, numbers, strings, booleans
            and ``None``.

    Raises:
        CheckpointError: If the state has anything else.
    """
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_flatten(state, "", tensors), indent=1)
    temporary, beside = path.with_suffix(".partial"), path.with_suffix(".json")
    text = _partial(beside)
    text.write_text(structure + "\n", encoding="utf-8")
    save_file(tensors, temporary, {"gtl": structure})
    shutil.copymode(text, temporary)  # safetensors gives its files 0600, whatever the umask
    os.replace(temporary, path)
    os.replace(text, beside)


def load(path: Path) -> dict[str, Any]:
    """Read state written by :func:`save`.

    Raises:
        CheckpointError: If the file is missing, truncated or not one of gtl's.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; was the run started with out=?")
    try:
        with safe_open(path, "pt") as file:
            structure = json.loads((file.metadata() or {})["gtl"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a checkpoint of gtl ({error}); "
            "use another run or train again"
        ) from error
    return _unflatten(structure, tensors)


def to_tensor(state: Mapping[str, Any]) -> Tensor:
    """What :func:`save` would write, as bytes ``(n,)``, for another process."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_flatten(state, "", tensors)).encode()
    tensors[_STRUCTURE] = torch.frombuffer(bytearray(structure), dtype=torch.uint8)
    return torch.frombuffer(bytearray(save(tensors)), dtype=torch.uint8)


def from_tensor(packed: Tensor) -> dict[str, Any]:
    """Undo :func:`to_tensor`."""
    from safetensors.torch import load

    tensors = load(packed.numpy().tobytes())
    structure = json.loads(tensors.pop(_STRUCTURE).numpy().tobytes())
    return _unflatten(structure, tensors)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run folder.

    Raises:
        CheckpointError: If it is missing or unreadable.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); is this a run folder?") from error


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    temporary = _partial(path)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def random_state() -> dict[str, Tensor]:
    """State of torch's global generators, with which a run continues exactly where it stopped."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state.update({f"cuda:{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())})
    return state


def set_random_state(state: Mapping[str, Tensor]) -> None:
    """Undo :func:`random_state`."""
    for device, value in state.items():
        if device == "cpu":
            torch.set_rng_state(value)
        elif torch.cuda.is_available():
            torch.cuda.set_rng_state(value, device)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _flatten(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().clone().contiguous()
        return {_TENSOR: place}
    if isinstance(value, Int8):
        parts = {"values": value.values, "scale": value.scale}
        return {_INT8: {k: _flatten(v, f"{place}.{k}", tensors) for k, v in parts.items()}}
    if isinstance(value, Mapping):
        inner = {str(k): _flatten(v, f"{place}.{k}".lstrip("."), tensors) for k, v in value.items()}
        if value and all(isinstance(key, int) for key in value):
            return {_INT_KEYS: inner}
        return inner
    if isinstance(value, (list, tuple)):
        return [_flatten(item, f"{place}.{i}", tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Number) and hasattr(value, "item"):  # one of NumPy
        return value.item()
    raise CheckpointError(f"`{place}` is a {type(value).__name__}, which a checkpoint cannot store")


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unflatten(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if _TENSOR in value:
        return tensors[value[_TENSOR]]
    if _INT8 in value:
        parts = _unflatten(value[_INT8], tensors)
        return Int8(parts["values"], parts["scale"]).restored()
    if _INT_KEYS in value:
        return {int(key): _unflatten(item, tensors) for key, item in value[_INT_KEYS].items()}
    return {key: _unflatten(item, tensors) for key, item in value.items()}
