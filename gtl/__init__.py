"""Graph transfer learning: self-supervised tasks, weightings and adapters for a small target."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gtl.catalog import (
    register_adapter,
    register_encoder,
    register_few_shot_method,
    register_head,
    register_readout,
    register_task,
    register_triple_score,
    register_weighting,
)
from gtl.errors import GtlError
from gtl.graph import Columns, Graph, Schema
from gtl.roles import (
    Adapter,
    Batch,
    Encoder,
    FewShotMethod,
    Gate,
    Head,
    Readout,
    Task,
    TripleScore,
    View,
    Weighting,
)
from gtl.version import __version__

if TYPE_CHECKING:
    from gtl.adapters import attach, detach
    from gtl.data import CategoryGraph, Dataset, Series, load
    from gtl.fewshot.few_shot import few_shot
    from gtl.forecasting.forecast import forecast
    from gtl.graph.convert import as_graph
    from gtl.run_kinds import load_run
    from gtl.train.adapt_domain import adapt_domain
    from gtl.train.blend import blend
    from gtl.train.comparison import compare
    from gtl.train.completion import complete
    from gtl.train.episodes import finetune_by_episodes
    from gtl.train.evaluate import embed, evaluate, predict
    from gtl.train.finetune import finetune
    from gtl.train.model import Model
    from gtl.train.pretrain import pretrain
    from gtl.train.probe import probe
    from gtl.train.run import Run
    from gtl.train.step import Step, TaskModel

# Imported when first used, so that `import gtl` costs little beyond `import torch`.
_MODULES = {
    "gtl.adapters": ("attach", "detach"),
    "gtl.data": ("CategoryGraph", "Dataset", "Series", "load"),
    "gtl.fewshot.few_shot": ("few_shot",),
    "gtl.forecasting.forecast": ("forecast",),
    "gtl.graph.convert": ("as_graph",),
    "gtl.run_kinds": ("load_run",),
    "gtl.train.adapt_domain": ("adapt_domain",),
    "gtl.train.blend": ("blend",),
    "gtl.train.comparison": ("compare",),
    "gtl.train.completion": ("complete",),
    "gtl.train.episodes": ("finetune_by_episodes",),
    "gtl.train.evaluate": ("embed", "evaluate", "predict"),
    "gtl.train.finetune": ("finetune",),
    "gtl.train.model": ("Model",),
    "gtl.train.pretrain": ("pretrain",),
    "gtl.train.probe": ("probe",),
    "gtl.train.run": ("Run",),
    "gtl.train.step": ("Step", "TaskModel"),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}
_PACKAGES = (
    "adapters",
    "data",
    "encoders",
    "fewshot",
    "forecasting",
    "heads",
    "report",
    "sklearn",
    "tasks",
    "testing",
    "train",
    "weightings",
)

__all__ = [
    "Adapter",
    "Batch",
    "CategoryGraph",
    "Columns",
    "Dataset",
    "Encoder",
    "FewShotMethod",
    "Gate",
    "Graph",
    "GtlError",
    "Head",
    "Model",
    "Readout",
    "Run",
    "Schema",
    "Series",
    "Step",
    "Task",
    "TaskModel",
    "TripleScore",
    "View",
    "Weighting",
    "__version__",
    "adapt_domain",
    "as_graph",
    "attach",
    "blend",
    "compare",
    "complete",
    "detach",
    "embed",
    "evaluate",
    "few_shot",
    "finetune",
    "finetune_by_episodes",
    "forecast",
    "load",
    "load_run",
    "predict",
    "pretrain",
    "probe",
    "register_adapter",
    "register_encoder",
    "register_few_shot_method",
    "register_head",
    "register_readout",
    "register_task",
    "register_triple_score",
    "register_weighting",
]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"gtl.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'gtl' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_PACKAGES})
