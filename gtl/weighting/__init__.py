"""Weightings turn many losses into one gradient."""
