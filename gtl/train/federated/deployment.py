"""Federated training on several machines: an app for Flower's own runtime.

The apps are those that :func:`gtl.federate` calls in one process. Each process of the runtime makes
the federation anew from one file: data are loaded and divided, and the model starts, as the seed
says.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json, write_text
from gtl.data.loading import load
from gtl.errors import CheckpointError, ConfigError
from gtl.suggest import nearest
from gtl.train.federated.client_app import client_app
from gtl.train.federated.division import Parts, parts_of
from gtl.train.federated.federate import Prepared, federate, prepared
from gtl.train.federated.federation import Client
from gtl.train.federated.flower import TESTED
from gtl.train.federated.server_app import Record, server_app
from gtl.train.session import Session

log = logging.getLogger(__name__)
FILE = "federation.json"
_SET_HERE = ("encoder", "dataset", "out", "resume", "bounds", "drop_out")
_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "gtl-federated"
version = "1.0.0"
description = "Federated training by gtl"
license = "MIT"
dependencies = [{requires}]

[tool.flwr.app]
publisher = "gtl"

[tool.flwr.app.components]
serverapp = "server_app:app"
clientapp = "client_app:app"

[tool.flwr.app.config]
federation = {file}
out = {out}
"""
_APP = '''\
"""{what} of a federated training by gtl."""

from gtl.train.federated.deployment import {function}

app = {function}()
'''


def write_app(
    folder: Path | str,
    encoder: Any,
    data: Any,
    *,
    root: Path | str | None = None,
    out: Path | str,
    **options: Any,
) -> Path:
    """Write a folder that ``flwr run`` takes.

    Args:
        folder: A new folder.
        encoder: As for :func:`gtl.federate`; a name, a mapping or the path of a run, no instance.
        data: Spec of a data set, or a mapping of spec and options of its reader. Each client loads
            it and takes the part of the number that its SuperNode was given as ``partition-id``;
            a SuperNode with ``data``, a spec, in its node config has data of its own instead.
        root: Folder of named data sets.
        out: Run folder that the server writes the model to.
        **options: Of :func:`gtl.federate`; JSON values. ``bounds`` and ``drop_out`` are for one
            process.

    Returns:
        The folder.

    Raises:
        ConfigError: If an option is unknown or no JSON value.
        CheckpointError: If the folder is there already.
    """
    folder = Path(folder)
    if folder.exists():
        raise CheckpointError(f"{folder} exists; choose another folder for the app")
    known = [name for name in signature(federate).parameters if name not in _SET_HERE]
    for name in options:
        if name not in known:
            raise ConfigError(f"unknown option {name!r}; {nearest(name, known)}")
    given = {"encoder": _path(encoder), "data": data, "root": _path(root), **options}
    try:
        text = json.dumps(given, indent=1)
    except TypeError as error:
        raise ConfigError(
            f"an option cannot be written ({error}); give names, numbers and mappings"
        ) from error
    folder.mkdir(parents=True)
    file = (folder / FILE).resolve()
    write_text(file, text + "\n")
    words = {"file": str(file), "out": str(Path(out).resolve()), "requires": TESTED}
    quoted = {name: json.dumps(word) for name, word in words.items()}
    write_text(folder / "pyproject.toml", _PYPROJECT.format(**quoted))
    for name in ("client_app", "server_app"):
        what = "ClientApp" if name == "client_app" else "ServerApp"
        text = _APP.format(what=what, function=f"deployed_{name}")
        write_text(folder / f"{name}.py", text)
    return folder


def deployed_client_app() -> Any:
    """The ClientApp for a folder of :func:`write_app`."""
    return client_app(_client)


def deployed_server_app() -> Any:
    """The ServerApp for a folder of :func:`write_app`, which saves the model in the end."""
    where: list[tuple[Prepared, Path]] = []

    def federation(context: Any) -> Any:
        made = _prepared(str(context.run_config["federation"]))
        where.append((made, Path(str(context.run_config["out"]))))
        return made.federation

    def done(record: Record) -> None:
        made, out = where[-1]
        model = made.model
        with made.federation.at(record.best, None, record.statistics):
            model.history = record.lines
            model.results = {
                "metric": made.data.metric,
                "valid": record.valid,
                "test": None,
                "epoch": record.epoch,
            }
            model.save(out)
        log.info("the model of round %d is in %s", record.epoch + 1, out)

    return server_app(federation, done)


def _client(context: Any) -> Client:
    made = _prepared(str(context.run_config["federation"]))
    number = int(context.node_config.get("partition-id", 0))
    own = context.node_config.get("data")
    if own is None:
        return Client.of(made.federation, number)
    return Client(made.federation, number, _own_parts(str(own)).datasets[0])


@cache
def _prepared(file: str) -> Prepared:
    given = read_json(Path(file))
    dataset = _loaded(given.pop("data"), given.pop("root"), given.get("seed", 0))
    defaults = {name: p.default for name, p in signature(federate).parameters.items()}
    arguments = {**defaults, **given, "dataset": dataset}
    options = {"seed": arguments["seed"], "device": arguments["device"]}
    with Session("federate", dataset, **options) as session:
        return prepared(session, arguments)


@cache
def _own_parts(spec: str) -> Parts:
    import torch

    data = _loaded(spec, None, 0)
    return parts_of(data, torch.zeros(len(data), dtype=torch.int64), 1)


def _loaded(data: Any, root: str | None, seed: int) -> Any:
    options = dict(data) if isinstance(data, Mapping) else {"spec": data}
    return load(str(options.pop("spec")), root=root, **{"seed": seed, **options})


def _path(value: Any) -> Any:
    """A path as text: another process has another working folder."""
    if value is not None and isinstance(value, (str, Path)) and Path(value).exists():
        return str(Path(value).resolve())
    return value
