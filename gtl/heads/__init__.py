"""Heads: modules that turn vectors into predictions."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from gtl.heads.cosine import Cosine
from gtl.heads.gaussian import Gaussian
from gtl.heads.kgtn import KGTN
from gtl.heads.linear import Linear
from gtl.heads.mlp import MLP
from gtl.heads.prototype import Prototype
from gtl.heads.shrinkage import Shrinkage

if TYPE_CHECKING:
    from gtl.heads import sklearn

__all__ = ["KGTN", "MLP", "Cosine", "Gaussian", "Linear", "Prototype", "Shrinkage", "sklearn"]


def __getattr__(name: str) -> ModuleType:
    if name == "sklearn":  # imports scikit-learn, which takes longer than the rest of gtl
        return importlib.import_module("gtl.heads.sklearn")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
