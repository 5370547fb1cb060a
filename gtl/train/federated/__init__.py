"""Federated training: data stay with their clients, and adapters and heads travel (Flower)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtl.train.federated.deployment import write_app
    from gtl.train.federated.personal import client_model

_LAZY = {
    "client_model": "gtl.train.federated.personal",
    "write_app": "gtl.train.federated.deployment",
}
__all__ = ["client_model", "write_app"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'gtl.train.federated' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
