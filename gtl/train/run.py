"""A pre-training run: the trained encoder and tasks, in memory or from a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtl.catalog import TASKS
from gtl.checkpoint import read_json
from gtl.errors import CheckpointError
from gtl.graph import Schema
from gtl.roles import Encoder, Task
from gtl.run_folder import RunFolder, best_weights
from gtl.run_kinds import kind_of
from gtl.train.model import TARGET, encoder_from_config, load_part


@dataclass
class Run:
    """What :func:`gtl.pretrain` returns.

    Attributes:
        encoder: The trained encoder.
        tasks: The trained tasks by name; fine-tuning takes over those it uses too.
        history: One dictionary per epoch, as in ``metrics.jsonl``.
        results: What ``results.json`` holds.
        folder: The run folder, or ``None``.
    """

    encoder: Encoder
    tasks: Mapping[str, Task]
    history: list[dict[str, Any]] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    folder: RunFolder | None = None

    @staticmethod
    def load(folder: Path | str) -> Run:
        """Encoder and tasks of a run folder, of ``pretrain`` or of ``finetune``.

        Tasks that use the target or the unlabeled items of their fine-tuning are left out: what
        they keep belongs to it.

        Raises:
            CheckpointError: If the folder is no such run or its checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if not kind.holds_encoder:
            raise CheckpointError(
                f"{folder} is {kind.what}, not a pre-training or fine-tuning run; start from one "
                "of those (in Python, gtl.load_run(folder).encoder is the encoder of a forecast)"
            )
        weights = best_weights(folder)
        encoder = encoder_from_config(config, folder)
        load_part(encoder, weights, "encoder.", folder)
        tasks: dict[str, Task] = {}
        for name, spec in config["tasks"].items():
            trained = any(key.startswith(f"tasks.{name}.") for key in weights)
            if name == TARGET or spec["name"] not in TASKS.names() or not trained:
                continue  # where the target-only run was selected, there is nothing to load
            task = TASKS.build(spec)
            if task.needs_target or task.uses_unlabeled:
                continue
            task.setup(Schema.from_json(config["schema"]), encoder.width)
            load_part(task, weights, f"tasks.{name}.", folder)
            tasks[name] = task
        return Run(encoder.eval(), tasks)
