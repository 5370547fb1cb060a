"""Compression of a trained run: steps in a row, and what each end of them costs and achieves.

Shrink, then improve, and quantize last (the recipes of Menghani 2023, Section 4).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from gtl.adapters.sites import in_eval_mode
from gtl.checkpoint import read_json
from gtl.data.dataset import Dataset
from gtl.data.loading import load
from gtl.efficiency.quantization import State, named_state, state_size, weight_error
from gtl.efficiency.steps import STEPS, Context, Step, as_steps
from gtl.errors import CheckpointError, ConfigError
from gtl.run_folder import RunFolder, read_metrics
from gtl.train.ensemble import Ensemble
from gtl.train.evaluate import as_model, value_on
from gtl.train.footprint import footprint
from gtl.train.inference_cost import inference_cost, prediction_of
from gtl.train.model import Model
from gtl.train.resolve import as_dataset
from gtl.train.seed import seeded

_UNNAMED = ("memory",)  # specs that cannot be loaded again
_TIMED = 30  # predictions of each end whose latency is measured
_TRAINING = "training"  # folder of the training inside a compression, with its number


def compress(
    run: Any,
    dataset: Any = None,
    *,
    method: Any = "int8",
    root: Path | str | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Model:
    """Make a trained model smaller or faster.

    Args:
        run: A fine-tuned model or its run folder; it stays as it is.
        dataset: Labeled data, or their spec; those of the run by default. Without any, only steps
            that do not train are possible, and quality is not measured.
        method: One of the steps ``int8``, ``prune``, ``low_rank``, ``distill`` and ``finetune``, a
            mapping with its options, or a list of those, one after the other, such as
            ``["prune", "finetune", "int8"]``; see :mod:`gtl.efficiency.steps`.
        root: Folder of named data sets, where they are loaded.
        seed: Reproduces the compression bit for bit on one machine.
        device: Where to train; by default where the model is.
        out: Run folder to write.
        resume: Continue in ``out``.

    Returns:
        The new model. ``results["compression"]`` has the ``steps`` and, ``before`` and ``after``
        them, the metric on validation and test data, parameters, bytes of the weights, operations
        and latency of a prediction.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    started = time.monotonic()
    steps = as_steps(method)
    specs = [STEPS.spec(step) for step in steps]
    source = _source(run)
    config = _config_of(source, run)
    data = _data(dataset, config, root)
    found = _finished(out, specs, resume)
    if found is not None:
        return found
    context = Context(source, config, data, seed, device, None, resume)
    model, state = _applied(steps, context, None if out is None else Path(out))
    model.trained_on = model.trained_on or source.trained_on
    ends = {"before": _measured(source, data), "after": _measured(model, data, state)}
    results = _results(model, data, ends, time.monotonic() - started)
    results["compression"] = {"steps": specs, **ends}
    if steps[-1].is_last and len(steps) == 1:
        results["compression"]["weight_error"] = weight_error(source, model)
    results["seed"] = seed
    if out is not None:
        origin = run if isinstance(run, (str, Path)) else None
        more = {"compression": specs, "compressed_from": None if origin is None else str(origin)}
        _write(Path(out), model, state, {**config, **more, "seed": seed}, results)
    model.results = results
    return model.eval()


def _applied(steps: list[Step], context: Context, out: Path | None) -> tuple[Model, State | None]:
    model, state, trainings = context.source, None, 0
    with seeded(context.seed):
        for step in steps:
            own = context
            if step.trains and out is not None:
                trainings += 1
                own = replace(context, out=out / f"{_TRAINING}-{trainings}")
            done = step.apply(model, own)
            model, state = done.model, done.state
    return model, state


def _source(run: Any) -> Model:
    source = as_model(run)
    if not isinstance(source, Model):
        raise ConfigError(
            f"a {type(source).__name__} is no single network that could be compressed; give a run "
            "of gtl finetune"
        )
    return source


def _config_of(source: Model, run: Any) -> dict[str, Any]:
    """Settings of the run; those of a model in memory are what it knows of itself."""
    folder = run if isinstance(run, (str, Path)) else getattr(source.folder, "path", None)
    if folder is not None:
        return read_json(Path(folder) / "config.json")
    first = source.models[0] if isinstance(source, Ensemble) else source
    return first.config()


def _data(dataset: Any, config: Mapping[str, Any], root: Path | str | None) -> Dataset | None:
    """Data that were given, else those of the run, else none."""
    if isinstance(dataset, (str, Path, Mapping)) or (dataset is None and "data" in config):
        given: dict[str, Any]
        given = dict(dataset) if isinstance(dataset, Mapping) else {"spec": dataset}
        before = {"spec": config.get("data"), **config.get("data_options", {})}
        if given.get("spec") in (None, before["spec"]):
            given = {**before, **{k: v for k, v in given.items() if v is not None}}
        spec = str(given.pop("spec"))
        if spec in _UNNAMED:
            return None
        home = root or config.get("data_root")
        return as_dataset(load(spec, root=None if home is None else Path(home), **given))
    return None if dataset is None else as_dataset(dataset)


def _finished(out: Path | str | None, specs: list[dict[str, Any]], resume: bool) -> Model | None:
    """The model in ``out``, if the same compression ended there.

    Raises:
        CheckpointError: If the folder holds a run that is not to be resumed, or another one.
    """
    if out is None or not (Path(out) / "config.json").is_file():
        if out is not None and Path(out).is_file():
            raise CheckpointError(f"{out} is a file; choose another folder for the run")
        return None
    known = read_json(Path(out) / "config.json").get("compression")
    if not resume:
        raise CheckpointError(
            f"{out} already holds a run; pass resume=True (--resume) to continue it, or choose "
            "another folder"
        )
    if known != specs:
        raise CheckpointError(
            f"{out} was started with compression={known!r}, now it is {specs!r}; use the same "
            "settings or choose another folder"
        )
    return Model.load(out) if (Path(out) / "results.json").is_file() else None


def _measured(
    model: Model, data: Dataset | None, state: State | None = None
) -> dict[str, float | int | None]:
    """Quality and cost of one end."""
    parts = model.models if isinstance(model, Ensemble) else [model]
    tensors = state or {f"{i}.{k}": v for i, m in enumerate(parts) for k, v in named_state(m)}
    found: dict[str, Any] = {
        "valid": None if data is None else value_on(model, data, "valid"),
        "test": None if data is None else value_on(model, data, "test"),
        "parameters": sum(p.numel() for p in model.parameters()),
        "bytes": state_size(tensors),
    }
    if data is None:
        return found
    predict, items = prediction_of(model, data)
    with in_eval_mode(model):
        cost = inference_cost(predict, _TIMED, seconds=1.0)
    return {**found, **cost, "batch_items": items}


def _results(
    model: Model, data: Dataset | None, ends: Mapping[str, Any], seconds: float
) -> dict[str, Any]:
    after = ends["after"]
    cost = footprint(model, seconds)
    cost |= {key: after[key] for key in ("flops", "latency_p50_ms", "latency_p95_ms") if data}
    return {
        "metric": None if data is None else data.metric,
        "valid": after["valid"],
        "test": after["test"],
        "epoch": None,
        "footprint": {**cost, "checkpoint_bytes": None, "batch_items": after.get("batch_items")},
    }


def _write(
    out: Path,
    model: Model,
    state: State | None,
    config: Mapping[str, Any],
    results: dict[str, Any],
) -> None:
    """The run folder; metrics are those of the last training, if there was one."""
    trained = sorted(out.glob(f"{_TRAINING}-*"))
    described = {**config, **model.config(), "tasks": {}, "members": 1, "command": "compress"}
    folder = RunFolder(out, described, resume=True)
    for line in read_metrics(trained[-1]) if trained else ():
        folder.log(line)
    stored = state or dict(named_state(model))
    folder.save({"best": {"epoch": None, "valid": None, "model": stored}})
    size = (out / "checkpoint.safetensors").stat().st_size  # without that of a training inside
    results["footprint"]["checkpoint_bytes"] = size
    folder.write_results(results)
    model.folder = folder
