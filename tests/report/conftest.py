"""Run folders as the loops write them, without the training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunWriter = Callable[..., Path]


@pytest.fixture
def write_run(tmp_path: Path) -> RunWriter:
    """A function that writes a run folder below ``runs`` and returns its path."""

    def write(
        name: str,
        seed: int = 0,
        test: float | None = 0.5,
        *,
        valid: float | None = 0.6,
        data: str = "demo:shapes",
        options: dict[str, Any] | None = None,
        metric: str | None = "rocauc",
        tasks: tuple[str, ...] = (),
        weighting: str | dict[str, Any] = "equal",
        ended: bool = True,
        epochs: int = 3,
        logged: int = 3,
        **config: Any,
    ) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        how = weighting if isinstance(weighting, dict) else {"name": weighting}
        written = {
            "command": "finetune",
            "data": data,
            "data_options": {"seed": seed, **(options or {})},
            "data_checksum": f"{data} {seed}",
            "encoder": {"name": "gin", "width": 8},
            "pretrained": None,
            "tasks": {task: {"name": task} for task in tasks},
            "weighting": how,
            "epochs": epochs,
            "lr": 0.01,
            "seed": seed,
            "versions": {"gtl": "0"},
            **config,
        }
        (folder / "config.json").write_text(json.dumps(written))
        every = ("supervised", *tasks)
        lines = [
            {
                "epoch": epoch,
                "losses": dict.fromkeys(every, 1 / (epoch + 1)),
                "weights": dict.fromkeys(every, 1.0),
                "consistency": dict.fromkeys(tasks, 0.1),
                "valid": valid,
                "seconds": 0.1,
            }
            for epoch in range(logged)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
        if ended:
            results = {
                "metric": metric,
                "valid": valid,
                "test": test,
                "epoch": 1,
                "seed": seed,
                "footprint": {
                    "parameters_total": 2000,
                    "parameters_trained": 1500,
                    "stored_bytes": 6000,
                    "seconds": 2.5,
                    "peak_memory_bytes": 3 * 2**30,
                },
            }
            (folder / "results.json").write_text(json.dumps(results))
        return folder

    return write
