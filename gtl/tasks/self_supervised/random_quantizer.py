"""Random quantizer: prediction of codes of hidden nodes (Chiu et al. 2022, BEST-RQ, for graphs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gtl.errors import ConfigError
from gtl.graph import Columns, Graph, Schema, ops
from gtl.graph.augment import masked
from gtl.graph.sample import draw_numbers, draw_rows
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share
from gtl.tasks.self_supervised.features import Features
from gtl.tasks.self_supervised.quantizer import Quantizer, one_hot

LEAST_PERPLEXITY = 2.0
NOISE = 0.1  # of a masked floating feature, in units of its standard deviation


class RandomQuantizer(Task):
    """Hides the features of some nodes and predicts codes of them from the nodes' vectors.

    A quantizer that is drawn at random and never trained turns vectors into codes
    (:class:`~gtl.tasks.self_supervised.quantizer.Quantizer`). Of each node codebook ``k`` is given
    ``v_k``: its own features for ``hops`` 0, and the mean over the closed neighborhood, applied as
    often as ``hops`` says, for others (a structural target: then categories of incident edges
    count, too). Categorical features are one-hot.

    Targets are made from the unmasked graph. One sample is a masked node; its loss is the mean
    cross-entropy over all codebooks. Floating features of masked nodes are replaced by normal
    noise with a tenth of each column's deviation around its mean (on typed graphs by zeros),
    categorical ones by *masked*.

    With ``edges``, edges have codes as well: of their own features beside the sum of their ends'.
    Features of all edges at a masked node are hidden, and as many of these edges as there are
    masked nodes, drawn at random, are samples, too; the sum of the vectors of both ends predicts
    the code. So the direction of an edge does not count.

    The quantizer is tested when it is set up, since nearly equal vectors would all have the same
    few codes; the perplexity of the codes in training is among :meth:`measures`.

    Args:
        rate: Share of the nodes of a batch that is masked, in ``(0, 1]``; at least one node.
        codes: Most codes of a codebook. At most an eighth as many are used as there were nodes, or
            edges, in the data of the setup.
        code_width: Columns of a code.
        hops: Of each codebook, how often features are averaged over neighborhoods before they are
            quantized; numbers may repeat.
        span: 0 masks nodes independently; ``s`` masks all nodes within ``s`` edges of random
            centers.
        edges: Number of codebooks of edges; 0 for none.

    Raises:
        ConfigError: If an option is out of range.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        rate: float = 0.3,
        codes: int = 1024,
        code_width: int = 16,
        hops: Sequence[int] = (0, 1, 2),
        span: int = 0,
        edges: int = 0,
    ):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.codes = require_count("codes", codes, 2)
        self.code_width = require_count("code_width", code_width)
        if not hops or any(hop < 0 for hop in hops):
            raise ConfigError(f"`hops` is {list(hops)}, expected one or more numbers from 0 on")
        self.hops = tuple(require_count("hops", hop, 0) for hop in hops)
        self.span = require_count("span", span, 0)
        self.edges = require_count("edges", edges, 0)
        self.features: Features | None = None
        self.edge_columns: Columns | None = None
        self.of_nodes: Quantizer | None = None
        self.of_edges: Quantizer | None = None
        self.predictor: nn.Linear | None = None
        self.edge_predictor: nn.Linear | None = None

    def build(self, schema: Schema, width: int) -> None:
        """Draw the quantizer, and make the linear predictor.

        Raises:
            ConfigError: If nodes have no features, or only their own number.
        """
        self.features = Features.of(schema, "random quantizer", None)
        if self.features.columns.identity:
            raise ConfigError(
                "random quantizer needs node features; here they are the nodes' own numbers"
            )
        self.edge_columns = schema.edge
        own, incident = sum(self.features.outputs), sum(self._edge_categories)
        sizes = (self.codes, self.code_width)
        self.of_nodes = Quantizer(len(self.hops), own + incident, *sizes)
        if self.features.columns.categories is None:
            self.register_buffer("mean", torch.zeros(own))
            self.register_buffer("deviation", torch.ones(own))
        self.predictor = nn.Linear(width, len(self.hops) * self.codes)
        if self.edges:
            floating = schema.edge is not None and schema.edge.categories is None
            columns = schema.edge.width if schema.edge is not None and floating else incident
            self.of_edges = Quantizer(self.edges, own + columns, *sizes)
            self.edge_predictor = nn.Linear(width, self.edges * self.codes)

    def observe(self, graph: Graph) -> None:
        """Keep mean and deviation of each column, and the number of codes that are used.

        Raises:
            ConfigError: If a codebook has a perplexity below 2 or a tenth of its codes.
        """
        built(self, self.of_nodes).observe(self.values_of(graph))
        if "mean" in self._buffers:
            own = self._own(graph)
            self.mean.copy_(own.mean(0)), self.deviation.copy_(own.std(0, correction=0))
        if self.of_edges is not None and graph.num_edges:
            self.of_edges.observe(self.edge_values_of(graph))
        self.require_spread(graph)

    def require_spread(self, graph: Graph) -> None:
        """Refuse graphs nearly all of whose nodes, or edges, have the same few codes.

        Args:
            graph: Other graphs than those that mean and deviation are of, or the same.

        Raises:
            ConfigError: If a codebook has a perplexity below 2 or a tenth of its codes.
        """
        nodes = built(self, self.of_nodes)
        _require_spread(nodes, self.values_of(graph), f"nodes (hops {self.hops})", "other `hops`")
        if self.of_edges is not None and graph.num_edges:
            _require_spread(self.of_edges, self.edge_values_of(graph), "edges", "edges=0")

    def values_of(self, graph: Graph) -> Tensor:
        """What each codebook is given of each node, not standardized, ``(books, n, columns)``."""
        own, categories = self._own(graph), self._edge_categories
        if not categories:
            bonds = own.new_zeros(graph.num_nodes, 0)
        else:
            assert graph.e is not None
            bonds = ops.sum_edges(graph, one_hot(graph.e, categories))
        stages = [torch.cat([own, torch.zeros_like(bonds)], 1), torch.cat([own, bonds], 1)]
        count = graph.in_degrees().to(own).unsqueeze(1) + 1
        found = []
        for hop in self.hops:
            values = stages[min(hop, 1)]
            for _ in range(hop):
                values = (ops.sum_neighbors(graph, values) + values) / count
            found.append(values)
        return torch.stack(found)

    def edge_values_of(self, graph: Graph, chosen: Tensor | None = None) -> Tensor:
        """What each codebook of edges is given of each edge, ``(books, b, columns)``.

        Args:
            graph: The graph.
            chosen: Numbers of the edges ``(b,)``; all by default.
        """
        own = self._own(graph)
        src, dst, e = graph.src, graph.dst, graph.e
        if chosen is not None:
            src, dst, e = src[chosen], dst[chosen], None if e is None else e[chosen]
        parts = [own[src] + own[dst]]
        if e is not None and self.edge_columns is not None:
            categories = self._edge_categories
            parts.append(one_hot(e, categories) if categories else e.to(own))
        return torch.cat(parts, 1).expand(self.edges, -1, -1)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph with a random share of its nodes masked, and their codes.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
        """
        graph = batch.source
        x = built(self, self.features).read(graph)
        nodes = self._masked_nodes(graph, rng)
        quantizer = built(self, self.of_nodes)
        codes = quantizer(self.values_of(graph)[:, nodes])
        quantizer.count(codes)
        targets = {"nodes": nodes, "codes": codes.t()}
        hidden = graph.replace(x=self._hidden(x, nodes, graph, rng))
        if self.of_edges is not None:
            beside = self._edges_at(graph, nodes)
            edges = beside[draw_numbers(len(beside), len(nodes), rng).to(beside.device)]
            codes = self.of_edges(self.edge_values_of(graph, edges))
            self.of_edges.count(codes)
            targets |= {"src": graph.src[edges], "dst": graph.dst[edges], "edge_codes": codes.t()}
            hidden = self._without_features(hidden, beside)
        return View(hidden, targets)

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node and then of each drawn edge, ``(b,)``."""
        found = view.targets
        scores = built(self, self.predictor)(nodes.index_select(0, found["nodes"]))
        losses = built(self, self.of_nodes).losses(scores, found["codes"])
        if self.of_edges is None:
            return losses
        ends = nodes.index_select(0, found["src"]) + nodes.index_select(0, found["dst"])
        scores = built(self, self.edge_predictor)(ends)
        return torch.cat([losses, self.of_edges.losses(scores, found["edge_codes"])])

    def measures(self) -> dict[str, float]:
        """Perplexity of the codes of masked nodes, and of edges, since the last call."""
        values = built(self, self.of_nodes).measured()
        found = {f"perplexity of codebook {book}": value for book, value in enumerate(values)}
        if self.of_edges is not None:
            values = self.of_edges.measured()
            found |= {f"perplexity of edge codebook {k}": value for k, value in enumerate(values)}
        return found

    @property
    def _edge_categories(self) -> tuple[int, ...]:
        categories = None if self.edge_columns is None else self.edge_columns.categories
        return categories or ()

    def _own(self, graph: Graph) -> Tensor:
        """Features of the nodes, categorical ones one-hot."""
        features = built(self, self.features)
        x, categories = features.read(graph), features.columns.categories
        return x.float() if categories is None else one_hot(x, categories)

    def _hidden(self, x: Tensor, nodes: Tensor, graph: Graph, rng: torch.Generator) -> Tensor:
        """Features without those of the masked nodes."""
        hidden = x.clone()
        if graph.node_type is not None and x.is_floating_point():
            hidden[nodes] = 0  # columns belong to types: noise would cross them
        elif x.is_floating_point():
            noise = torch.randn(len(nodes), x.shape[1], generator=rng).to(self.mean)
            hidden[nodes] = (self.mean + NOISE * self.deviation * noise).to(x.dtype)
        else:
            hidden[nodes] = built(self, self.features).mask(x)
        return hidden

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Load a state; older ones have mean and deviation of the codebooks alone."""
        for name in {"mean", "deviation"} & {*self._buffers}:
            known = state_dict.get(f"{prefix}of_nodes.{name}")
            if f"{prefix}{name}" not in state_dict and known is not None:
                own = known[self.hops.index(min(self.hops)), : len(self.mean)]
                state_dict[f"{prefix}{name}"] = own
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _without_features(self, graph: Graph, edges: Tensor) -> Graph:
        """The graph without the features of some edges: *masked*, or zeros if floating."""
        if graph.e is None or self.edge_columns is None:
            return graph
        e = graph.e.clone()
        e[edges] = masked(e, self.edge_columns)
        return graph.replace(e=e)

    def _masked_nodes(self, graph: Graph, rng: torch.Generator) -> Tensor:
        """Numbers of the masked nodes, int64 ``(b,)``."""
        if not self.span:
            return draw_rows(graph.num_nodes, self.rate, rng).to(graph.device)
        draws = torch.rand(graph.num_nodes, generator=rng, dtype=torch.float64).to(graph.device)
        for _ in range(self.span):
            near = draws.scatter_reduce(0, graph.dst, draws[graph.src], "amax")
            draws = torch.maximum(draws, near)
        count = min(max(1, round(self.rate * graph.num_nodes)), graph.num_nodes)
        return draws.topk(count).indices.sort().values

    @staticmethod
    def _edges_at(graph: Graph, nodes: Tensor) -> Tensor:
        """Numbers of the edges that begin or end at some nodes, int64."""
        hidden = torch.zeros(graph.num_nodes, dtype=torch.bool, device=graph.device)
        hidden[nodes] = True
        return (hidden[graph.src] | hidden[graph.dst]).nonzero().flatten()


def _require_spread(quantizer: Quantizer, values: Tensor, what: str, remedy: str) -> None:
    """Refuse vectors whose codes have a perplexity below 2, or a tenth of the codebook.

    Two codes cannot reach 2 unless they are equally frequent; theirs is at least 1.5.
    """
    least, used = float(quantizer.spread(values).min()), int(quantizer.used)
    is_constant = least < min(LEAST_PERPLEXITY, 0.75 * used)
    if not is_constant and least >= used / 10:
        return
    fewer = "" if is_constant else f"codes={int(5 * least)} or "
    raise ConfigError(
        f"the quantizer has collapsed: {values.shape[1]} {what} have codes of perplexity "
        f"{least:.1f} in a codebook of {used}; nearly all have the same features"
        f"{', so that any codebook has few codes' if is_constant else ''}: give {fewer}{remedy}, "
        "or leave this task out"
    )
