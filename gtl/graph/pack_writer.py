"""Writer of packed graphs piece by piece, for data sets larger than memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gtl.errors import ShapeError
from gtl.graph.pack import PackedGraphs, file_facts
from gtl.graph.schema import Schema
from gtl.graph.tensor_file import TensorWriter


class PackedWriter:
    """Writer of the file of :meth:`PackedGraphs.save`, to which graphs are appended in pieces.

    The file appears when the block ends, complete, and not at all if the block fails or the
    process is killed. Integers are stored in the smallest dtype that holds them.

    Args:
        path: The file to write; its folder must exist.
        schema: What the graphs look like; read off the pieces if not given, with the most
            categories that a piece has.

    Attributes:
        facts: Text to store with the graphs, to be filled before the block ends.

    Example:
        >>> import tempfile, torch
        >>> from gtl.graph import Graph
        >>> pair = Graph(torch.tensor([0]), torch.tensor([1]), 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with PackedWriter(folder + "/pairs") as file:
        ...         for _ in range(3):
        ...             file.add(PackedGraphs.pack([pair, pair]))
        ...     len(PackedGraphs.load(folder + "/pairs"))
        6
    """

    def __init__(self, path: str | Path, schema: Schema | None = None) -> None:
        self.facts: dict[str, str] = {}
        self._file = TensorWriter(path)
        self._given = schema
        self._schema: Schema | None = None
        self._fields: set[str] = set()
        self._ends = {"node_offsets": 0, "edge_offsets": 0}

    def add(self, graphs: PackedGraphs, extra: Mapping[str, Tensor] | None = None) -> None:
        """Append some graphs.

        Args:
            graphs: Any number of graphs, none included.
            extra: Rows of further tensors to store beside the graphs, by name.

        Raises:
            ShapeError: If the graphs have other fields than those before.
            DataError: If their features are not what the schema or the graphs before say.
            OSError: If they cannot be written.
        """
        values = graphs.compact().file_tensors()
        first = self._schema is None
        if first:
            self._fields = set(values)
        elif set(values) != self._fields:
            raise ShapeError(
                f"a piece has the fields {sorted(values)}, expected {sorted(self._fields)} as in "
                "the pieces before"
            )
        self._schema = self._with(graphs.schema)
        for name, end in self._ends.items():
            offsets = values.pop(name)
            self._file.append(name, end + (offsets if first else offsets[1:]))
            self._ends[name] = end + int(offsets[-1])
        for name, rows in (*values.items(), *(extra or {}).items()):
            self._file.append(name, rows)

    def _with(self, new: Schema) -> Schema:
        if self._given is not None:
            self._given.require(new, "the file")
            return self._given
        return new if self._schema is None else self._schema.union(new)

    def __enter__(self) -> PackedWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self._file.discard()
        elif self._schema is None:
            self._file.discard()
            raise ShapeError("no graphs were added; a packed file needs at least one piece")
        else:
            self._file.close({**self.facts, **file_facts(self._schema)})
