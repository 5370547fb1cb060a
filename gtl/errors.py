"""Errors that say what came, what was expected and what to do; all are :class:`GtlError`."""

from __future__ import annotations


class GtlError(Exception):
    """Base of every error that gtl raises on purpose; the command line prints it as one line."""


class ShapeError(GtlError, ValueError):
    """A tensor has the wrong shape or dtype."""


class DataError(GtlError, ValueError):
    """A file or a data set cannot be used as it is."""


class ConfigError(GtlError, ValueError):
    """Arguments contradict each other or lie outside their range."""


class UnknownPartError(GtlError, LookupError):
    """A name that is not registered; the message offers the nearest one and the list."""


class CheckpointError(GtlError, ValueError):
    """A checkpoint or run folder is missing, truncated or belongs to something else."""


class MissingDependencyError(GtlError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class GtlWarning(UserWarning):
    """Something was skipped or replaced and the result may differ from what was asked for."""


class LawError(GtlError, AssertionError):
    """A part breaks a law of its role (see :mod:`gtl.testing`)."""
