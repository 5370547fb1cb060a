"""Drawings: panels that are saved as one PNG file, or put into a page as one SVG image each.

A page is read on a phone as well as on a wide screen, in light and in dark colors. So there each
panel is an image of its own, its black is the text color of the page, and one legend below all
panels is text of the page.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
_SIZE = (4.4, 3.0)  # of a panel in a page, in inches
_DOTS = 120  # of a picture, per inch
_SVG, _LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_NARROW = 100  # below which a logarithmic axis has numbers between the powers of ten
_INK = {"#000000", "#333333"}  # what a page replaces by its text color
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")  # no XML may contain these
_DASHES = {"-": "", "--": "5 3", ":": "1 3", "-.": "6 2 1 2"}


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        label: What it stands for.
        color: As in CSS.
        dashes: As SVG's ``stroke-dasharray``; empty for a whole line.
        is_line: Whether it is a line; else a dot.
    """

    label: str
    color: str
    dashes: str
    is_line: bool


@dataclass(frozen=True)
class Inline:
    """A drawing for a page.

    Attributes:
        panels: SVG elements.
        legend: What lines and dots stand for.
    """

    panels: tuple[str, ...]
    legend: tuple[Key, ...]


@dataclass(frozen=True)
class Drawing:
    """Panels that are drawn when they are wanted, as often as they are.

    Attributes:
        name: What is drawn, as the name of a file without its end.
        draw: What fills the panels, which are its positional arguments; it keeps no state.
        count: Number of panels.
        height: Of a panel in a file, in inches.
        options: For matplotlib's ``Figure.subplots``.
    """

    name: str
    draw: Callable[..., None]
    count: int = 1
    height: float = 3.4
    options: Mapping[str, Any] = field(default_factory=dict)

    def save(self, file: Path) -> Path:
        """Write all panels to a PNG file, three in a row at most; returns it."""
        columns = min(self.count, COLUMNS)
        rows = -(-self.count // columns)
        width = 5.6 if self.count < COLUMNS else 4.4
        with _settings():
            figure = _figure(width * columns, self.height * rows)
            axes = figure.subplots(rows, columns, squeeze=False, **self.options).flatten()
            for ax in axes[self.count :]:
                ax.remove()
            shown = axes[: self.count]
            _without_frame(shown)
            self.draw(*shown)
            _write_plain_numbers(shown)
            _lay_out(figure)
            figure.savefig(file)
        return file

    def inline(self, prefix: str = "") -> Inline:
        """The panels as SVG elements, whose text is text and whose background is that of a page.

        Args:
            prefix: Of the ids in them, so that no two drawings of a page have the same.
        """
        width, height = _SIZE
        with _settings():
            figures = [_figure(width, max(height, self.height)) for _ in range(self.count)]
            axes = [figure.subplots() for figure in figures]
            _without_frame(axes)
            self.draw(*axes)
            _write_plain_numbers(axes)
            if self.options.get("sharey"):
                _share(axes)
            legend = _legend(axes)
            panels = (_svg(f, f"{prefix}{self.name}-{i}") for i, f in enumerate(figures))
            return Inline(tuple(panels), legend)


def panels(
    draw: Callable[..., None], count: int, file: Path, height: float = 3.4, **options: Any
) -> Path:
    """Save a figure of ``count`` panels, three in a row at most; see :class:`Drawing`.

    Args:
        draw: What fills the panels, one positional argument each.
        count: Number of panels.
        file: PNG file to write.
        height: Of a panel, in inches.
        **options: For matplotlib's ``Figure.subplots``.

    Returns:
        ``file``.
    """
    return Drawing(file.stem, draw, count, height, options).save(file)


def wrapped(text: str, width: int) -> str:
    """Text broken into lines of at most ``width`` letters, within words if need be."""
    return "\n".join(textwrap.wrap(text, width))


@contextmanager
def _settings() -> Iterator[None]:
    """Names may contain dollar signs, as SMILES do; SVG text stays text, its ids are the same."""
    from matplotlib import rc_context

    same: Any = {"svg.hashsalt": "gtl", "svg.fonttype": "none", "text.parse_math": False}
    with rc_context(same):
        yield


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=_DOTS, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _lay_out(figure: Any) -> None:
    """Find the places of all parts; saving would draw the figure once more for that."""
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine(None)  # the places stay


def _without_frame(axes: Any) -> None:
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)


def _write_plain_numbers(axes: Any) -> None:
    """Numbers of logarithmic axes as 20k and 1M: powers of ten would be mathematical text."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    for ax in axes:
        for axis in (ax.xaxis, ax.yaxis):
            if axis.get_scale() == "log":
                low, high = sorted(axis.get_view_interval())
                few = high < _NARROW * low
                axis.set_major_formatter(EngFormatter(sep=""))
                axis.set_minor_formatter(EngFormatter(sep="") if few else NullFormatter())
                minor = axis.get_minor_locator()
                if isinstance(minor, LogLocator):  # none where a figure has no minor ticks
                    minor.set_params(subs=(2.0, 5.0))
                axis.set_tick_params(which="minor", labelsize="small")


def _share(axes: list[Axes]) -> None:
    limits = [ax.get_ylim() for ax in axes]
    for ax in axes:
        ax.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _legend(axes: list[Axes]) -> tuple[Key, ...]:
    """What the legends of the axes would show; they are taken away."""
    found: dict[str, Any] = {}
    for ax in axes:
        handles, labels = ax.get_legend_handles_labels()
        for label, handle in zip(labels, handles):
            found.setdefault(" ".join(label.split()), handle)
        for legend in (ax.get_legend(), *ax.figure.legends):
            if legend is not None:
                legend.remove()
    return tuple(_key(label, handle) for label, handle in found.items())


def _key(label: str, handle: Any) -> Key:
    from matplotlib.colors import to_hex

    mark = handle[0] if isinstance(handle, tuple) else handle  # of an error bar, its line
    if hasattr(mark, "get_linestyle") and hasattr(mark, "get_xdata"):
        dashes = _DASHES.get(str(mark.get_linestyle()), "")
        is_line = str(mark.get_linestyle()) in _DASHES
        color = to_hex(mark.get_color())
    else:
        dashes, is_line, color = "", False, to_hex(mark.get_facecolor()[0])
    return Key(label, "currentColor" if color in _INK else color, dashes, is_line)


def _svg(figure: Any, prefix: str) -> str:
    _lay_out(figure)
    text = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(CONTROL.sub("", text.getvalue()))
    for child in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(child)
    for side in ("width", "height"):
        root.attrib.pop(side, None)
    root.set("role", "img")
    _make_ids_unique(root, prefix)
    for element in root.iter():
        _use_ink(element)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _LINK)
    return ElementTree.tostring(root, encoding="unicode")


def _make_ids_unique(root: ElementTree.Element, prefix: str) -> None:
    """Drop the ids that nothing refers to, and give the others a prefix."""
    references = [v for e in root.iter() for v in e.attrib.values() if "#" in v]
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own is not None and any(f"#{own}" in value for value in references):
            element.set("id", f"{prefix}-{own}")
        for key, value in element.attrib.items():
            if value.startswith("#") and key == f"{{{_LINK}}}href":
                element.set(key, f"#{prefix}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}-"))


def _use_ink(element: ElementTree.Element) -> None:
    style = element.get("style")
    if style:
        for color in _INK:
            style = style.replace(color, "currentColor")
        element.set("style", style)
