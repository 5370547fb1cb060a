"""Graph transfer learning: get the most out of a pre-trained graph encoder for a small target."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from gtl.errors import GtlError
from gtl.graph import Columns, Graph, Schema
from gtl.registry import (
    register_adapter,
    register_encoder,
    register_head,
    register_task,
    register_weighting,
)
from gtl.version import __version__

if TYPE_CHECKING:
    from gtl.data import Dataset, load
    from gtl.graph.convert import as_graph
    from gtl.train.evaluate import embed, evaluate, predict
    from gtl.train.few_shot import few_shot
    from gtl.train.finetune import finetune
    from gtl.train.forecast import forecast
    from gtl.train.model import Model
    from gtl.train.parts import Run
    from gtl.train.pretrain import pretrain
    from gtl.train.step import Step, TaskModel

# Imported when first used, so that `import gtl` costs little beyond `import torch`.
_LAZY = {
    **dict.fromkeys(("Dataset", "load"), "gtl.data"),
    "as_graph": "gtl.graph.convert",
    **dict.fromkeys(
        (
            "Model",
            "Run",
            "Step",
            "TaskModel",
            "embed",
            "evaluate",
            "few_shot",
            "finetune",
            "forecast",
            "predict",
            "pretrain",
        ),
        "gtl.train",
    ),
    **{
        name: f"gtl.{name}"
        for name in (
            "adapters",
            "data",
            "encoders",
            "heads",
            "report",
            "tasks",
            "testing",
            "train",
            "weighting",
        )
    },
}

__all__ = [
    "Columns",
    "Dataset",
    "Graph",
    "GtlError",
    "Model",
    "Run",
    "Schema",
    "Step",
    "TaskModel",
    "__version__",
    "as_graph",
    "embed",
    "evaluate",
    "few_shot",
    "finetune",
    "forecast",
    "load",
    "predict",
    "pretrain",
    "register_adapter",
    "register_encoder",
    "register_head",
    "register_task",
    "register_weighting",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gtl' has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    return module if _LAZY[name] == f"gtl.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
