"""Heads turn vectors into predictions."""

from gtl.heads.cosine import Cosine
from gtl.heads.gaussian import Gaussian
from gtl.heads.kgtn import KGTN
from gtl.heads.linear import Linear
from gtl.heads.mlp import MLP
from gtl.heads.prototype import Prototype
from gtl.heads.shrinkage import Shrinkage

__all__ = ["KGTN", "MLP", "Cosine", "Gaussian", "Linear", "Prototype", "Shrinkage"]
