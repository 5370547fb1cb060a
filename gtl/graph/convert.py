"""Conversion from and to graphs of DGL, PyG, networkx and SciPy.

Nothing here imports another graph library to read its graphs: the module of their class identifies
them. A heterogeneous graph becomes one homogeneous graph with types, which is what
R-GCN (Schlichtkrull et al. 2018) and HGT (Hu et al. 2020) read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gtl.errors import DataError, MissingDependencyError, ShapeError
from gtl.graph import readers
from gtl.graph.graph import Graph
from gtl.graph.heterogeneous import starts_of


def as_graph(
    value: Any,
    x: str | None = None,
    e: str | None = None,
    node_type: str | None = None,
    edge_type: str | None = None,
    time: str | None = None,
) -> Graph:
    """The validated Graph of a graph of any library.

    - **Graph**: checked and returned as it is.
    - **DGLGraph**: a batched one keeps its sizes.
    - **PyG** ``Data``, ``HeteroData`` and their batches.
    - **networkx**: nodes are numbered in the order of ``graph.nodes``; each edge of an undirected
      graph goes both ways, a self-loop once.
    - **scipy** sparse adjacency of any format: an entry ``[i, j]`` is the edge from ``i`` to ``j``,
      in the order of rows and columns. Entries that are stored twice are added up, stored zeros
      are no edges, and entries that are not all 1 become the one, floating column of ``e``.

    A heterogeneous graph is numbered type by type (within each graph of a batch), in the order of
    its ``ntypes`` (``node_types``), and ``edge_type`` follows its ``canonical_etypes``
    (``edge_types``). Features of equal form are stacked. Floating features of different width stand
    side by side: each type fills columns of its own, with zeros in those of the others; a type
    without features has zeros. Labels are not read; see :meth:`gtl.data.Dataset.from_graph`.

    Args:
        value: The graph.
        x: Name of the node features; by default ``"x"`` or ``"feat"``.
        e: Name of the edge features; by default ``"e"``, ``"edge_attr"`` or ``"feat"``.
        node_type: Name of the node types of a homogeneous graph; by default ``"node_type"`` or
            DGL's ``"_TYPE"``.
        edge_type: Name of the edge types, likewise.
        time: Name of the times of edges; by default ``"time"``.

    Returns:
        The graph, on the device it came from. Booleans become floats, other integers int64,
        numbers that are not tensors the default dtype; a feature without columns gets one.

    Raises:
        DataError: If ``value`` is no graph, has no feature of a name given, or its values are
            wrong (see :meth:`Graph.validate`).
        ShapeError: If a feature has the wrong shape.

    Example:
        >>> import scipy.sparse
        >>> as_graph(scipy.sparse.coo_array(([1.0], ([0], [2])), (3, 3)))
        Graph(num_nodes=3, num_edges=1)
    """
    names = {"x": x, "e": e, "node_type": node_type, "edge_type": edge_type, "time": time}
    return (value if isinstance(value, Graph) else _read(value, names)).validate()


def _read(value: Any, names: readers.Names) -> Graph:
    home = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if "dgl" in home and hasattr(value, "canonical_etypes"):
        return readers.from_dgl(value, names)
    if "torch_geometric" in home and hasattr(value, "node_types"):
        return readers.from_pyg_hetero(value, names)
    if "torch_geometric" in home and hasattr(value, "edge_attrs"):
        return readers.from_pyg(value, names)
    if "networkx" in home and hasattr(value, "is_multigraph"):
        return readers.from_networkx(value, names)
    if "scipy" in home and hasattr(value, "tocoo"):
        return readers.from_scipy(value)
    several = isinstance(value, (list, tuple))
    raise DataError(
        f"cannot make a Graph of {type(value).__module__}.{type(value).__qualname__}; expected a "
        "Graph, DGLGraph, PyG Data or HeteroData, networkx graph or scipy sparse matrix"
        + ("; convert them one by one and use Graph.batch" if several else "")
    )


# -- out -----------------------------------------------------------------------------------------


def to_dgl(graph: Graph, x: str = "x", e: str = "e") -> Any:
    """A homogeneous DGLGraph; types go to ``dgl.NTYPE`` and ``dgl.ETYPE``, times to ``"time"``.

    A batch stays one; for that its edges are ordered by graph if they are not. Labels stay behind.

    Args:
        graph: The graph.
        x: Name for the node features.
        e: Name for the edge features.

    Raises:
        MissingDependencyError: If DGL cannot be imported.
    """
    os.environ.setdefault("DGLBACKEND", "pytorch")
    try:
        import dgl
    except ImportError as error:
        raise MissingDependencyError(
            f"to_dgl needs DGL ({error}); install dgl==1.1.3, which exists for Python up to 3.11"
        ) from error

    if graph.sizes is not None:
        graph = graph.pick_edges(torch.argsort(graph.graph_ids()[graph.src], stable=True))
    result = dgl.graph((graph.src, graph.dst), num_nodes=graph.num_nodes)
    for frame, values in (
        (result.ndata, {x: graph.x, dgl.NTYPE: graph.node_type}),
        (result.edata, {e: graph.e, dgl.ETYPE: graph.edge_type, "time": graph.time}),
    ):
        frame.update({name: value for name, value in values.items() if value is not None})
    if graph.sizes is not None:
        result.set_batch_num_nodes(graph.sizes)
        owners = graph.graph_ids()[graph.src]
        result.set_batch_num_edges(torch.bincount(owners, minlength=graph.num_graphs))
    return result


def to_pyg(graph: Graph) -> Any:
    """A PyG ``Data`` with ``batch`` and ``ptr`` if it is a batch; labels stay behind.

    Raises:
        MissingDependencyError: If torch_geometric cannot be imported.
    """
    try:
        from torch_geometric.data import Data
    except ImportError as error:
        raise MissingDependencyError(
            f"to_pyg needs PyG ({error}); install it with: pip install torch_geometric"
        ) from error

    values = {
        "x": graph.x,
        "edge_attr": graph.e,
        "node_type": graph.node_type,
        "edge_type": graph.edge_type,
        "time": graph.time,
    }
    if graph.sizes is not None:
        values.update(batch=graph.graph_ids(), ptr=starts_of(graph.sizes))
    present = {name: value for name, value in values.items() if value is not None}
    ends = torch.stack([graph.src, graph.dst])
    return Data(edge_index=ends, num_nodes=graph.num_nodes, **present)


def to_networkx(graph: Graph) -> Any:
    """A ``networkx.MultiDiGraph`` with the attributes ``x node_type`` and ``e edge_type time``.

    Nodes of a batch also have ``graph``, the number of theirs. Features become lists of numbers;
    labels stay behind.

    Raises:
        MissingDependencyError: If networkx cannot be imported.
    """
    try:
        import networkx
    except ImportError as error:
        raise MissingDependencyError(
            f"to_networkx needs networkx ({error}); install it with: pip install networkx"
        ) from error

    owners = None if graph.sizes is None else graph.graph_ids()
    nodes = _records({"x": graph.x, "node_type": graph.node_type, "graph": owners}, graph.num_nodes)
    edges = _records(
        {"e": graph.e, "edge_type": graph.edge_type, "time": graph.time}, graph.num_edges
    )
    result = networkx.MultiDiGraph()
    result.add_nodes_from(enumerate(nodes))
    result.add_edges_from(zip(graph.src.tolist(), graph.dst.tolist(), edges))
    return result


def to_scipy(graph: Graph, weight: Tensor | None = None) -> Any:
    """The adjacency as ``scipy.sparse.csr_array (n, n)``: entry ``[i, j]`` is the edge ``i -> j``.

    Args:
        graph: The graph.
        weight: Value of each edge ``(m,)``; 1 if not given. Values of parallel edges add up.

    Raises:
        ShapeError: If there is not one weight per edge.
    """
    from scipy.sparse import coo_array

    if weight is None:
        weight = torch.ones(graph.num_edges)
    if weight.shape != (graph.num_edges,):
        raise ShapeError(
            f"`weight` has shape {tuple(weight.shape)}, expected ({graph.num_edges},), one per edge"
        )
    ends = (graph.src.cpu().numpy(), graph.dst.cpu().numpy())
    values = weight.detach().cpu().numpy()
    return coo_array((values, ends), shape=(graph.num_nodes, graph.num_nodes)).tocsr()


def _records(columns: Mapping[str, Tensor | None], rows: int) -> list[dict[str, Any]]:
    lists = {name: value.tolist() for name, value in columns.items() if value is not None}
    return [{name: values[i] for name, values in lists.items()} for i in range(rows)]
