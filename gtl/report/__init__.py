"""Run folders in, tables and plots out; reads files, never a model."""

from gtl.report.folder import Report, report

__all__ = ["Report", "report"]
