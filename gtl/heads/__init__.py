"""Heads turn vectors into predictions."""
