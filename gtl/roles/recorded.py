"""Record of the arguments that a part was constructed with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from gtl.renamed import present_options
from gtl.roles.search_space import Space


class Recorded:
    """Remembers the constructor's arguments, so that a run folder can build the part again.

    Attributes:
        arguments: What the part was built with, by name; defaults that were not given are absent.
        search_space: Options that :func:`gtl.search` tries, with the values that they may have.
    """

    arguments: dict[str, Any]
    search_space: ClassVar[Mapping[str, Space]] = {}

    def __new__(cls, *args: Any, **kwargs: Any) -> Recorded:
        """Record, then construct as usual."""
        part = super().__new__(cls)
        try:
            options = present_options(cls.__init__, kwargs)
            bound = inspect.signature(cls.__init__).bind_partial(part, *args, **options)
            given = dict(list(bound.arguments.items())[1:])
        except TypeError:  # wrong arguments: the constructor itself says so better
            given = {}
        object.__setattr__(part, "arguments", given)
        return part
