"""Heads turn vectors into predictions."""

from gtl.heads.cosine import Cosine
from gtl.heads.kgtn import KGTN
from gtl.heads.linear import Linear
from gtl.heads.mlp import MLP

__all__ = ["KGTN", "MLP", "Cosine", "Linear"]
