"""Schema of a data set: columns and types of its graphs, to which encoders and tasks are built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from gtl.errors import DataError
from gtl.graph.graph import Graph


@dataclass(frozen=True)
class Columns:
    """Features of nodes or of edges: categorical columns or ``width`` floating ones.

    Attributes:
        categories: Number of categories of each integer column; ``None`` for floating features.
            A value equal to its column's number of categories means *masked*: encoders keep one
            more embedding row for it.
        width: Number of columns.
        identity: Whether the one column is the number of the node itself, so that an encoder
            learns a vector for each node of this one graph, and no other graph will do.
    """

    categories: tuple[int, ...] | None = None
    width: int = 0
    identity: bool = False

    def __post_init__(self) -> None:
        if self.categories is not None:
            object.__setattr__(self, "categories", tuple(self.categories))
            object.__setattr__(self, "width", len(self.categories))

    @staticmethod
    def of(values: Tensor | None) -> Columns | None:
        """Columns of a feature tensor ``(rows, d)``; category counts are read off the values."""
        if values is None:
            return None
        if values.is_floating_point():
            return Columns(width=values.shape[1])
        top = values.amax(0).tolist() if len(values) else [-1] * values.shape[1]
        return Columns(tuple(int(value) + 1 for value in top))


@dataclass(frozen=True)
class Schema:
    """Node and edge features and the number of types.

    Attributes:
        node: Node features, ``None`` if nodes have none.
        edge: Edge features, ``None`` if edges have none.
        node_types: Number of node types, 0 if untyped.
        edge_types: Number of edge types, 0 if untyped.
        nodes: Number of nodes, where all items lie in one graph whose nodes are known one by one
            (entities of a knowledge graph); 0 elsewhere. Graphs with other nodes fit, too:
            encoders that learn a vector for each node refuse them when they read them.
    """

    node: Columns | None = None
    edge: Columns | None = None
    node_types: int = 0
    edge_types: int = 0
    nodes: int = 0

    @staticmethod
    def of(graph: Graph) -> Schema:
        """The schema read off one graph (or batch)."""
        return Schema(
            Columns.of(graph.x),
            Columns.of(graph.e),
            _types(graph.node_type),
            _types(graph.edge_type),
        )

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary for JSON."""
        fields = asdict(self)
        return fields if self.nodes else {k: value for k, value in fields.items() if k != "nodes"}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Schema:
        """Undo :meth:`to_json`."""
        parts = dict(values)
        for name in ("node", "edge"):
            columns = parts.get(name)
            parts[name] = None if columns is None else Columns(**columns)
        return Schema(**parts)

    def union(self, other: Schema) -> Schema:
        """The smallest schema that graphs of both fit.

        Raises:
            DataError: If feature columns differ in kind or number.

        Example:
            >>> Schema(Columns((2, 5))).union(Schema(Columns((3, 4)))).node.categories
            (3, 5)
        """
        return Schema(
            _union("node", self.node, other.node),
            _union("edge", self.edge, other.edge),
            max(self.node_types, other.node_types),
            max(self.edge_types, other.edge_types),
            max(self.nodes, other.nodes),
        )

    def require(self, other: Schema, what: str) -> None:
        """Check that graphs of schema ``other`` fit where this schema was built in.

        Args:
            other: Schema of the data at hand.
            what: Name of the part that this schema belongs to, for the message.

        Raises:
            DataError: If feature columns differ in kind, number or categories, or there are types
                that this schema does not know.
        """
        for name, mine, theirs in (
            ("node", self.node, other.node),
            ("edge", self.edge, other.edge),
        ):
            if not _fits(mine, theirs):
                raise DataError(
                    f"{what} was built for {name} features {_words(mine)}, the data has "
                    f"{_words(theirs)}; {_remedy(mine, theirs)}"
                )
        for name, known, given in (
            ("node", self.node_types, other.node_types),
            ("edge", self.edge_types, other.edge_types),
        ):
            if known and not 0 < given <= known:
                raise DataError(
                    f"{what} was built for {known} {name} types, the data has {given or 'none'}; "
                    "use data prepared in the same way"
                )


def _fits(built: Columns | None, given: Columns | None) -> bool:
    if built is None or given is None:
        return built is given
    if (built.categories is None) != (given.categories is None) or built.width != given.width:
        return False
    if built.identity or given.identity:
        return built == given
    pairs: Sequence[tuple[int, int]] = list(zip(built.categories or (), given.categories or ()))
    return all(theirs <= mine for mine, theirs in pairs)


def _union(name: str, one: Columns | None, other: Columns | None) -> Columns | None:
    if one is None or other is None or one.categories is None or other.categories is None:
        if one != other:
            raise DataError(
                f"graphs with {name} features {_words(one)} and {_words(other)} cannot be one "
                "data set; give all the same columns"
            )
        return one
    if one.width != other.width:
        raise DataError(
            f"graphs with {one.width} and {other.width} categorical columns of {name} features "
            "cannot be one data set; give all the same columns"
        )
    return Columns(tuple(map(max, one.categories, other.categories)))


def _types(values: Tensor | None) -> int:
    return 0 if values is None or not len(values) else int(values.max()) + 1


def _words(columns: Columns | None) -> str:
    if columns is None:
        return "of no columns"
    if columns.categories is None:
        return f"of {columns.width} floating columns"
    if columns.identity:
        return f"that are the numbers of {columns.categories[0]} nodes"
    return f"of categories {columns.categories}"


def _remedy(*sides: Columns | None) -> str:
    if not any(columns is not None and columns.identity for columns in sides):
        return "use data prepared in the same way"
    return (
        "vectors learned for single nodes fit no other graph: use that graph, or train on features "
        "that both graphs have"
    )
