"""Loops: the only place where encoders, tasks, weightings, adapters, heads and data meet."""
