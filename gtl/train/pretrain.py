"""Pre-training: an encoder learns from graphs without labels, by any set of tasks together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtl.catalog import ENCODERS, TASKS, WEIGHTINGS
from gtl.data.triples import TripleItems
from gtl.errors import ConfigError
from gtl.tasks.link_ranking import LinkRanking
from gtl.train.defaults import batch_size_of, training_settings, with_defaults
from gtl.train.device import module_device
from gtl.train.footprint import footprint
from gtl.train.inference_cost import prediction_of
from gtl.train.job import Job
from gtl.train.loop import train
from gtl.train.model import encoder_config
from gtl.train.resolve import (
    as_dataset,
    as_tasks,
    check_fan_out,
    several,
    with_needed_properties,
)
from gtl.train.run import Run
from gtl.train.session import Session
from gtl.train.settings import Settings
from gtl.train.step import TaskModel, check_precision
from gtl.train.target_kinds import require_edges

_BATCH = 256


def pretrain(
    encoder: Any,
    data: Any,
    tasks: Any = ("attribute_masking", "context_prediction"),
    *,
    weighting: Any = "equal",
    epochs: int = 20,
    batch_size: int | None = None,
    fan_out: Sequence[int | None] | None = None,
    lr: float | None = None,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    precision: str = "float32",
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Run:
    """Train an encoder on unlabeled graphs by self-supervised tasks, all of them in each step.

    Several processes (``torchrun``, ``torch.distributed``) share the steps; ``batch_size`` is that
    of all. :mod:`gtl.train.distributed` says what is then equal to one process.

    Args:
        encoder: Name or mapping with options (other options are as in
            :func:`gtl.train.defaults.encoder_defaults`), instance (trained in place), run or
            checkpoint.
        data: Dataset, Graph, packed graphs or a list of graphs. All items are used: splits and
            labels play no part. Of a knowledge graph only the training triples are used.
        tasks: Names, mappings with options, or instances.
        weighting: How much each task counts; those that need a target task cannot be used here.
        epochs: Passes over the data.
        batch_size: Items per step; 256 by default, of triples 1024 or a tenth of them. 0 means all
            at once (at node level always so without ``fan_out``).
        fan_out: Incoming edges that each node draws at each hop, such as ``[10, 10]``. For
            node-level data that is too large to be seen whole: a number for each layer of the
            encoder; ``None`` among them draws all.
        lr: Learning rate; 1e-3 by default, 1e-2 at node level.
        weight_decay: Weight decay.
        optimizer: ``adam``, ``adamw`` or ``sgd`` (momentum 0.9).
        precision: ``float32``, or ``bfloat16`` for the encoder's matrix products alone, which is
            faster on processors and graphics cards that have instructions for it.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Continue the run in ``out``.

    Returns:
        The trained encoder and tasks.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    if not several(tasks):
        raise ConfigError("`tasks` is empty; name at least one, such as attribute_masking")
    data = with_needed_properties(as_dataset(data), tasks)
    with Session("pretrain", data, seed=seed, device=device, out=out, resume=resume) as session:
        features = data.contents.node_features()
        base, trained = session.encoder(with_defaults(encoder, data.level, features, head=False))
        rate = training_settings(data.level, ENCODERS.name_of(base), {"lr": lr})["lr"]
        fan_out = check_fan_out(fan_out, data, base)
        built = as_tasks(tasks, data, base, trained)
        model = session.placed(TaskModel(base, built, check_precision(precision)))
        how = WEIGHTINGS.build(weighting).to(module_device(model))
        how.restart(list(built), None)
        items = data.items(data.contents.pretraining_part)
        batch_size = batch_size_of(data.level, batch_size, _BATCH, len(items))
        if isinstance(data.contents, TripleItems):
            keep = "{'name': 'link_ranking', 'remove': 'none'}"
            for task in built.values():
                if isinstance(task, LinkRanking) and task.data is None:
                    require_edges(base, task.remove, batch_size, len(items), keep)
        settings = Settings(epochs, batch_size, fan_out, rate, weight_decay, optimizer)
        settings.check(model)
        sharing = session.sharing(fan_out, built, [how])
        folder = session.open(
            {
                **encoder_config(base),
                "pretrained": session.origin,
                "tasks": {name: TASKS.spec(task) for name, task in built.items()},
                "weighting": WEIGHTINGS.spec(how),
                **settings.to_json(),
                "precision": precision,
            }
        )
        job = Job(
            model,
            how,
            settings.optimizer_of(model),
            data,
            items,
            epochs,
            data.contents.pretraining_step(batch_size, fan_out),
            session.rng,
            seed=session.seed,
            fan_out=fan_out,
            folder=folder,
            title="pretrain",
            sharing=sharing,
        )
        history = train(job)
        cost = footprint(
            model,
            history.seconds,
            optimizer=job.optimizer,
            predict=prediction_of(base, data),
        )
        results = session.close({"footprint": cost})
    return Run(base.eval(), built, history.epochs, results, folder)
