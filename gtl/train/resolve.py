"""Resolution of names, mappings and paths into data sets, encoders and tasks that fit together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gtl.adapters import AdaptedEncoder
from gtl.adapters.freezing import unfreeze
from gtl.catalog import ENCODERS, TASKS
from gtl.data.dataset import Dataset
from gtl.data.in_memory import as_dataset_in_memory
from gtl.data.links import warn_of_known_links
from gtl.data.properties import with_properties
from gtl.data.series import Series
from gtl.encoders.inputs import NodeTable
from gtl.errors import ConfigError, UnknownPartError
from gtl.graph import Graph, Schema
from gtl.roles import Encoder, Task
from gtl.suggest import nearest
from gtl.tasks.distillation import Distillation
from gtl.train.run import Run
from gtl.train.shipped import SHIPPED, load_shipped

SAMPLE = 10_000  # graphs that a task observes


def as_dataset(data: Any) -> Dataset:
    """A Dataset of what was given.

    Args:
        data: A Dataset, or what :func:`gtl.data.in_memory.as_dataset_in_memory` reads: a graph of
            any library with its labels and masks, many graphs, or SMILES.

    Raises:
        ConfigError: If it is the spec of a data set that was not loaded, or a series.
        DataError: If it is nothing that can be read as graphs.
    """
    if isinstance(data, Dataset):
        data.contents.validate()
        warn_of_known_links(data)
        return data
    if isinstance(data, (str, Path)):
        raise ConfigError(f"`data` is {str(data)!r}; load it first: gtl.load({str(data)!r})")
    if isinstance(data, Series):
        raise ConfigError(
            f"{data.spec} is a series; forecast it with gtl.forecast, or give its `snapshots`"
        )
    return as_dataset_in_memory(data)


def as_encoder(encoder: Any, schema: Schema) -> tuple[Encoder, Mapping[str, Task]]:
    """An encoder that fits the data, and the tasks that were trained with it, if any.

    Args:
        encoder: An instance (trained in place), a registered name or mapping, the name of an
            encoder that comes with gtl (a key of :data:`gtl.train.shipped.SHIPPED`), a
            :class:`Run`, the folder of one, or a checkpoint file that
            :func:`gtl.encoders.load_pretrained` reads.
        schema: What the data looks like.

    Raises:
        UnknownPartError: If a string is neither a name nor an existing path.
        DataError: If a trained encoder was made for other features.
    """
    tasks: Mapping[str, Task] = {}
    encoder = _shipped(encoder)
    if isinstance(encoder, (str, Path)) and str(encoder) not in ENCODERS.names():
        encoder = _from_path(Path(encoder))
    if isinstance(encoder, Run):
        tasks = copy.deepcopy(encoder.tasks)
        encoder = copy.deepcopy(encoder.encoder)
        unfreeze(encoder)  # what froze the run's own encoder holds no copy
    encoder = ENCODERS.build(encoder, schema)
    if not isinstance(encoder, Encoder):
        raise ConfigError(
            f"`encoder` is a {type(encoder).__name__}, expected a name, a run, a checkpoint file "
            "or a gtl.roles.Encoder"
        )
    encoder.schema.require(schema, "the encoder")
    return encoder, tasks


def origin_of(encoder: Any) -> str | None:
    """Name of the run or checkpoint that an encoder is from, if it is from one."""
    folder = getattr(getattr(encoder, "folder", None), "path", None)
    if folder is not None:
        return _named(folder)
    name = encoder.get("name") if isinstance(encoder, Mapping) else encoder
    if isinstance(name, str) and name in SHIPPED:
        return str(name)
    is_path = isinstance(encoder, (str, Path)) and Path(encoder).exists()
    return _named(Path(encoder)) if is_path else None


def _named(path: Path) -> str:
    """Name of a folder or file, which is not that of an encoder that comes with gtl."""
    path = path.absolute()
    return f"{path.parent.name}/{path.name}" if path.name in SHIPPED else path.name


def as_tasks(
    parts: Any,
    data: Dataset,
    encoder: Encoder,
    trained: Mapping[str, Task],
    unlabeled: Dataset | None = None,
) -> dict[str, Task]:
    """Tasks by name, set up for the data; trained ones are taken over where the options agree.

    Args:
        parts: A task, or several: names, mappings with options, or instances.
        data: What they are for.
        encoder: Likewise.
        trained: Tasks that were trained with the encoder.
        unlabeled: Data of the tasks that use unlabeled items and have none of their own.
    """
    tasks: dict[str, Task] = {}
    for part in several(parts):
        options = _with_options(part, data, encoder)
        task = _built(options)
        name = base = TASKS.name_of(task)
        count = 1
        while name in tasks or name == "supervised":
            count += 1
            name = f"{base}_{count}"
        known = trained.get(name)
        if (
            isinstance(options, Mapping)
            and known is not None
            and TASKS.spec(known) == TASKS.spec(task)
        ):
            task = _taught(known)
        usual = data if unlabeled is None or not task.uses_unlabeled else unlabeled
        source = usual if task.data is None else as_dataset(task.data)
        task.setup(source.schema, encoder.width, partial(sample_of, source))
        tasks[name] = task
    return tasks


def sample_of(data: Dataset) -> Graph:
    """Training items, or all where there is no split, evenly spaced, without labels."""
    items = data.split.get("train", ())
    index = data.items("train") if len(items) else data.items("all")
    step = max(1, len(index) // SAMPLE)
    return data.batch(index[::step]).unlabeled()


def with_needed_properties(data: Dataset, parts: Any) -> Dataset:
    """The data with the properties that some tasks read, computed where they are missing.

    Args:
        data: Data of the loop.
        parts: As for :func:`as_tasks`.
    """
    tasks = [_built(_with_options(part, data)) for part in several(parts)]
    names = [name for task in tasks if task.data is None for name in task.properties]
    return with_properties(data, names) if names else data


def check_fan_out(
    fan_out: Sequence[int | None] | None, data: Dataset, encoder: Encoder
) -> tuple[int | None, ...] | None:
    """Refuse numbers of neighbors that do not go with the data or the encoder.

    Raises:
        ConfigError: If items are no nodes, a number is below 1, or the encoder has more layers.
    """
    if fan_out is None:
        return None
    if not data.contents.can_sample:
        raise ConfigError(
            f"`fan_out` samples neighbors of nodes, the items of {data.spec} are not nodes but "
            f"{data.level}s; leave it out"
        )
    for number in fan_out:
        if number is not None and (not isinstance(number, int) or number < 1):
            raise ConfigError(
                f"`fan_out` is {list(fan_out)}, expected whole numbers from 1 on, or None for all "
                "neighbors"
            )
    depth = len(encoder.blocks)
    if len(fan_out) < depth:
        raise ConfigError(
            f"`fan_out` is {list(fan_out)}, expected a number for each of the encoder's {depth} "
            "layers"
        )
    return tuple(fan_out)


def several(parts: Any) -> Sequence[Any]:
    """A list of what may be one task, or none."""
    if parts is None:
        return []
    return [parts] if isinstance(parts, (str, Mapping, Task)) else parts


def _built(options: Any) -> Task:
    return _taught(TASKS.build(options))


def _taught(task: Task) -> Task:
    """The task, its teachers opened if they are named by their folders."""
    if isinstance(task, Distillation) and task.teacher and not task.has_teacher:
        from gtl.train.evaluate import as_model  # which needs this module

        task.taught_by(*map(as_model, task.teacher))
    return task


def _with_options(part: Any, data: Dataset, encoder: Encoder | None = None) -> Any:
    """A task's name as a mapping, completed from data and encoder where the task needs it."""
    options = {"name": part} if isinstance(part, str) else part
    if isinstance(options, Mapping) and options.get("name") == "supervised":
        return {"kind": data.kind, "outputs": data.num_outputs, **options}
    if isinstance(options, Mapping) and options.get("name") == "link_ranking" and encoder:
        usual = {"relations": "encoder" if makes_relations(encoder) else "own"}
        if has_inverses(data):
            usual["remove"] = "pairs"
        return {**usual, **options}
    return options


def reads_edges(encoder: Encoder) -> bool:
    """Whether vectors depend on edges: a table of vectors without messages does not."""
    return bool(len(encoder.blocks)) or not has_table(encoder)


def has_table(encoder: Encoder) -> bool:
    """Whether an encoder learned a vector for each node."""
    return any(isinstance(module, NodeTable) for module in encoder.modules())


def has_inverses(data: Dataset) -> bool:
    """Whether training triples are there in both directions, each an edge that gives another away.

    What ranks them must take both out of the graph.
    """
    return data.vocabulary is not None and data.vocabulary.has_inverses


def makes_relations(encoder: Encoder) -> bool:
    """Whether an encoder makes vectors of relations, which triples are scored with."""
    base = encoder.base if isinstance(encoder, AdaptedEncoder) else encoder
    return type(base).relations is not Encoder.relations


def _shipped(encoder: Any) -> Any:
    """The run of an encoder that comes with gtl, where one was named; else what was given."""
    given = {"name": encoder} if isinstance(encoder, str) else encoder
    if not isinstance(given, Mapping) or given.get("name") not in SHIPPED:
        return encoder
    options = {key: value for key, value in given.items() if key != "name"}
    return load_shipped(str(given["name"]), **options)


def _from_path(path: Path) -> Any:
    if path.is_dir():
        return Run.load(path)
    if path.is_file():
        from gtl.encoders import load_pretrained

        return load_pretrained(path)
    try:
        return ENCODERS.get(str(path))
    except UnknownPartError:
        known = [*ENCODERS.names(), *SHIPPED]
        raise UnknownPartError(
            f"unknown encoder {str(path)!r}; {nearest(str(path), known)}; nor is it a run folder "
            "or a checkpoint file"
        ) from None
