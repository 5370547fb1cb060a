"""Tables and plots of run folders; reads files, never a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gtl.report.folder import Report, report

if TYPE_CHECKING:
    from gtl.report.category_plot import plot_categories

__all__ = ["Report", "plot_categories", "report"]


def __getattr__(name: str) -> Any:
    if name != "plot_categories":
        raise AttributeError(f"module 'gtl.report' has no attribute {name!r}")
    from gtl.report.category_plot import plot_categories

    return plot_categories
