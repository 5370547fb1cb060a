"""Encoders that come with gtl: their files, checksums and cards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.catalog import ENCODERS, TASKS
from gtl.errors import CheckpointError, ConfigError
from gtl.graph import Schema
from gtl.roles import Task
from gtl.train.model import load_part
from gtl.train.run import Run

# SHA-256 of each file: weights that are not those of the card are refused.
SHIPPED = {
    "molecules": "5ec0e00e9de1ddab9770cf93fadb0e9b05706429f4b5505b5e4693d98e694e6e",
}


def load_shipped(name: str, **options: Any) -> Run:
    """An encoder that comes with gtl, and the tasks that it was pre-trained with.

    Args:
        name: A key of :data:`SHIPPED`.
        **options: Options of the encoder that replace those of its file, such as ``dropout``;
            such as change its size do not fit the weights.

    Raises:
        CheckpointError: If the file is missing, truncated or another.
        ConfigError: If an option does not fit the weights.
    """
    return read_run(_place(name, ".safetensors"), SHIPPED[name], options)


def card(name: str) -> str:
    """What the encoder was trained on, how, and what it is for, as Markdown.

    Raises:
        CheckpointError: If the card is missing.
    """
    try:
        return _place(name, ".md").read_text(encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"the card of {name!r} is missing ({error})") from error


def write_run(run: Run, path: Path) -> str:
    """Write encoder and tasks of a pre-training in half precision; returns the file's SHA-256.

    Buffers, such as running statistics, keep their precision.

    Args:
        run: The pre-training.
        path: The file to write.
    """
    from safetensors.torch import save_file

    parts: dict[str, Any] = {
        "encoder": run.encoder,
        **{f"tasks.{name}": task for name, task in run.tasks.items()},
    }
    tensors = {f"{part}.{name}": v for part, m in parts.items() for name, v in _halves(m).items()}
    config = {
        "schema": run.encoder.schema.to_json(),
        "encoder": ENCODERS.spec(run.encoder),
        "tasks": {name: TASKS.spec(task) for name, task in run.tasks.items()},
    }
    save_file(tensors, path, {"gtl": json.dumps(config)})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_run(path: Path, checksum: str, options: Mapping[str, Any] | None = None) -> Run:
    """Read a file of :func:`write_run`.

    Args:
        path: The file.
        checksum: SHA-256 that it must have.
        options: Options of the encoder that replace those of the file.

    Raises:
        CheckpointError: If it is missing, or its checksum is another.
        ConfigError: If an option does not fit the weights.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise CheckpointError(f"there is no file {path}; install gtl again")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != checksum:
        raise CheckpointError(
            f"{path} is truncated or another file (SHA-256 {found[:12]}..., expected "
            f"{checksum[:12]}...); install gtl again"
        )
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["gtl"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    schema = Schema.from_json(config["schema"])
    encoder = ENCODERS.build({**config["encoder"], **(options or {})}, schema)
    try:
        load_part(encoder, _singles(tensors, "encoder."), "", path)
    except CheckpointError as error:
        raise ConfigError(
            f"the options {dict(options or {})} do not fit {path.stem}: {error}"
        ) from error
    tasks: dict[str, Task] = {}
    for name, spec in config["tasks"].items():
        tasks[name] = TASKS.build(spec)
        tasks[name].setup(schema, encoder.width)
        load_part(tasks[name], _singles(tensors, f"tasks.{name}."), "", path)
    return Run(encoder.eval(), tasks)


def _place(name: str, ending: str) -> Path:
    return Path(str(files("gtl.pretrained").joinpath(name + ending)))


def _halves(module: nn.Module) -> dict[str, Tensor]:
    """State of a module by name, parameters in half precision."""
    parameters = {name for name, _ in module.named_parameters()}
    state = module.state_dict()
    return {k: (v.half() if k in parameters else v).contiguous() for k, v in state.items()}


def _singles(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries of a part, in the default dtype where they are floating."""
    dtype = torch.get_default_dtype()
    mine = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in mine.items()}
