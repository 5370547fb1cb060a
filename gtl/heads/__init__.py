"""Heads turn vectors into predictions."""

from gtl.heads.linear import Linear

__all__ = ["Linear"]
