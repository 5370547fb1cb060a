"""Graphs as constants: features without autograd, in one floating and one integer precision."""

from __future__ import annotations

import torch

from gtl.errors import DataError
from gtl.graph.graph import Graph


def constant(graph: Graph) -> Graph:
    """The graph as a data set stores it.

    Floating features of any precision become ``torch.get_default_dtype()``, integers int64; times
    in double precision stay (seconds since 1970 need it). Integer features are numbers of
    categories: quantities are given as floats.

    Raises:
        DataError: As :func:`refuse_autograd`.
    """
    refuse_autograd(graph)
    changes = {}
    for name in ("x", "e", "time", "y"):
        value = getattr(graph, name)
        if value is None:
            continue
        dtype = torch.get_default_dtype() if value.is_floating_point() else torch.int64
        exact = name == "time" and value.dtype == torch.float64
        if value.dtype != dtype and not exact:
            changes[name] = value.to(dtype)
    return graph.replace(**changes) if changes else graph


def refuse_autograd(graph: Graph) -> None:
    """Refuse features through which gradients would flow: what a data set stores is not trained.

    Raises:
        DataError: Naming the field.
    """
    for name in ("x", "e", "time", "y"):
        value = getattr(graph, name)
        if value is not None and value.requires_grad:
            raise DataError(
                f"`{name}` carries autograd, and a data set holds constants; give "
                f"{name}.detach(), or make what computes it part of the encoder"
            )
