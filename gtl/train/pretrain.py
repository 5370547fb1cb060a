"""Pre-training: an encoder learns from graphs without labels, by any set of tasks together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtl.catalog import TASKS, WEIGHTINGS
from gtl.report.plots import write_plots
from gtl.run_folder import RunFolder
from gtl.train import loop
from gtl.train.model import encoder_config
from gtl.train.resolve import Run, as_dataset, as_encoder, as_tasks, check_fan_out, check_positive
from gtl.train.seed import reseed, seeded
from gtl.train.step import TaskModel


def pretrain(
    encoder: Any,
    data: Any,
    tasks: Sequence[Any] = ("attribute_masking", "context_prediction"),
    *,
    weighting: Any = "equal",
    epochs: int = 20,
    batch_size: int = 256,
    fan_out: Sequence[int | None] | None = None,
    lr: float = 1e-3,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Run:
    """Train an encoder on unlabeled graphs by self-supervised tasks, all of them in each step.

    Args:
        encoder: Name, mapping with options, instance (trained in place), run or checkpoint.
        data: Dataset, Graph, packed graphs or a list of graphs. All items are used: splits and
            labels play no part.
        tasks: Names, mappings with options, or instances.
        weighting: How much each task counts; those that need a target task cannot be used here.
        epochs: Passes over the data.
        batch_size: Items per step; 0 means all at once (at node level always so without
            ``fan_out``).
        fan_out: For node-level data that is too large to be seen whole: how many incoming edges a
            node draws at each hop from the nodes of a batch, a number for each layer of the
            encoder, such as ``[10, 10]``; ``None`` among them draws all.
        lr: Learning rate.
        weight_decay: Weight decay.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Go on with the run in ``out``.

    Returns:
        The trained encoder and tasks.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    check_positive(epochs=epochs, lr=lr)
    data = as_dataset(data)
    with seeded(seed) as rng:
        model_encoder, trained = as_encoder(encoder, data.schema)
        fan_out = check_fan_out(fan_out, data, model_encoder)
        reseed(rng)
        built = as_tasks(tasks, data, model_encoder, trained)
        model = TaskModel(model_encoder, built).to(device or loop.module_device(model_encoder))
        how = WEIGHTINGS.build(weighting).to(loop.module_device(model))
        how.setup(list(built), None)
        config = {
            "command": "pretrain",
            "data": data.spec,
            "data_options": dict(data.options),
            "data_checksum": data.checksum(),
            **encoder_config(model_encoder),
            "tasks": {name: TASKS.spec(task) for name, task in built.items()},
            "weighting": WEIGHTINGS.spec(how),
            "epochs": epochs,
            "batch_size": batch_size,
            "fan_out": fan_out,
            "lr": lr,
            "weight_decay": weight_decay,
            "optimizer": optimizer,
            "seed": seed,
        }
        job = loop.Job(
            model,
            how,
            loop.build_optimizer(model, optimizer, lr, weight_decay),
            data,
            data.items("all"),
            epochs,
            batch_size if data.level == "graph" or fan_out else 0,
            rng,
            seed=seed,
            fan_out=fan_out,
            folder=None if out is None else RunFolder(out, config, resume),
            title="pretrain",
        )
        history = loop.run(job)
    results = {
        "metric": None,
        "valid": None,
        "test": None,
        "seed": seed,
        "footprint": loop.footprint(model, history.seconds),
    }
    if job.folder is not None:
        job.folder.write_results(results)
        write_plots(job.folder.path)
    return Run(model_encoder, built, history.epochs, results, job.folder)
