"""Random quantizer: prediction of codes of hidden nodes (Chiu et al. 2022, BEST-RQ, for graphs)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gtl.errors import ConfigError
from gtl.graph import Graph, Schema, ops
from gtl.graph.sample import draw_rows
from gtl.roles import Batch, Task, View
from gtl.tasks.checks import built, require_count, require_share
from gtl.tasks.self_supervised.features import Features

NODES_PER_CODE = 8
NOISE = 0.1  # of a masked floating feature, in units of its standard deviation


class RandomQuantizer(Task):
    """Hides the features of some nodes and predicts codes of them from the nodes' vectors.

    A quantizer that is drawn at random and never trained turns vectors into codes. Of each node
    ``k`` a codebook is given ``v_k``: its own features for ``hops`` 0, and the mean over the
    closed neighborhood, applied as often as ``hops`` says, for others (a structural target: then
    categories of incident edges count, too). Categorical features are one-hot. Each column is
    standardized by its mean and deviation in the training data, projected, and compared with the
    codes of the codebook; the code is the one with the largest cosine::

        y = argmax_j cos(c_j, P^T (v - mean) / deviation)

    Targets are made from the unmasked graph. One sample is a masked node; its loss is the mean
    cross-entropy over all codebooks. Floating features of masked nodes are replaced by normal
    noise with a tenth of each column's deviation around its mean (on typed graphs by zeros),
    categorical ones by *masked*.

    Without the standardization, or the comparison by cosines, a few codes take all nodes; the
    quantizer is tested for this when it is set up, and the perplexity of the codes in training is
    among :meth:`measures`. Mean, deviation, projections and codebooks are buffers: they are saved
    with the run and no optimizer moves them.

    Args:
        rate: Share of the nodes of a batch that is masked, in ``(0, 1]``; at least one node.
        codes: Most codes of a codebook. At most an eighth as many are used as there were nodes in
            the data of the setup.
        code_width: Columns of a code.
        hops: Of each codebook, how often features are averaged over neighborhoods before they are
            quantized; numbers may repeat.
        span: 0 masks nodes independently; ``s`` masks all nodes within ``s`` edges of random
            centers.

    Raises:
        ConfigError: If an option is out of range.
    """

    mean: Tensor
    deviation: Tensor
    projections: Tensor
    codebooks: Tensor
    used: Tensor
    counts: Tensor

    def __init__(
        self,
        rate: float = 0.3,
        codes: int = 1024,
        code_width: int = 16,
        hops: Sequence[int] = (0, 1, 2),
        span: int = 0,
    ):
        super().__init__()
        self.rate = require_share("rate", rate)
        self.codes = require_count("codes", codes, 2)
        self.code_width = require_count("code_width", code_width)
        if not hops or any(hop < 0 for hop in hops):
            raise ConfigError(f"`hops` is {list(hops)}, expected one or more numbers from 0 on")
        self.hops = tuple(hops)
        self.span = require_count("span", span, 0)
        self.features: Features | None = None
        self.edge_categories: tuple[int, ...] = ()
        self.predictor: nn.Linear | None = None

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
        if schema.edge is not None and schema.edge.categories is not None:
            self.edge_categories = schema.edge.categories
        books = len(self.hops)
        columns = sum(self.features.outputs) + sum(self.edge_categories)
        projections = torch.empty(books, columns, self.code_width)
        for projection in projections:
            nn.init.xavier_normal_(projection)
        self.register_buffer("mean", torch.zeros(books, columns))
        self.register_buffer("deviation", torch.ones(books, columns))  # 0: does not count
        self.register_buffer("projections", projections)
        codebooks = F.normalize(torch.randn(books, self.codes, self.code_width), dim=2)
        self.register_buffer("codebooks", codebooks)
        self.register_buffer("used", torch.tensor(self.codes))
        self.register_buffer("counts", torch.zeros(books, self.codes))
        self.predictor = nn.Linear(width, books * self.codes)

    def observe(self, graph: Graph) -> None:
        """Keep mean and deviation of each column, and the number of codes that are used.

        Raises:
            ConfigError: If a codebook has a perplexity below a tenth of its codes.
        """
        values = self.values_of(graph)
        self.mean.copy_(values.mean(1)), self.deviation.copy_(values.std(1, correction=0))
        self.used.fill_(min(self.codes, max(2, graph.num_nodes // NODES_PER_CODE)))
        self.require_spread(graph)

    def require_spread(self, graph: Graph) -> None:
        """Refuse graphs nearly all of whose nodes have the same few codes.

        Args:
            graph: Other graphs than those that mean and deviation are of, or the same.

        Raises:
            ConfigError: If a codebook has a perplexity below a tenth of its codes.
        """
        found = perplexity(self._counted(self.codes_of(self.values_of(graph))))
        least = float(found.min())
        if least < int(self.used) / 10:
            raise ConfigError(
                f"the quantizer has collapsed: {graph.num_nodes} nodes have codes of perplexity "
                f"{least:.1f} in a codebook of {int(self.used)} (hops {self.hops}); nearly all "
                f"nodes have the same features there: give codes={max(2, int(5 * least))} or "
                "other `hops`, or leave this task out"
            )

    def values_of(self, graph: Graph) -> Tensor:
        """What each codebook is given of each node, not standardized, ``(books, n, columns)``."""
        x = built(self, self.features).read(graph)
        categories = built(self, self.features).columns.categories
        own = x.float() if categories is None else _one_hot(x, categories)
        if not self.edge_categories:
            bonds = own.new_zeros(graph.num_nodes, 0)
        else:
            assert graph.e is not None
            bonds = ops.sum_edges(graph, _one_hot(graph.e, self.edge_categories))
        stages = [torch.cat([own, torch.zeros_like(bonds)], 1), torch.cat([own, bonds], 1)]
        count = graph.in_degrees().to(own).unsqueeze(1) + 1
        found = []
        for hop in self.hops:
            values = stages[min(hop, 1)]
            for _ in range(hop):
                values = (ops.sum_neighbors(graph, values) + values) / count
            found.append(values)
        return torch.stack(found)

    def codes_of(self, values: Tensor) -> Tensor:
        """Code of each node in each codebook, int64 ``(books, n)``.

        Args:
            values: ``(books, n, columns)``, from :meth:`values_of`.
        """
        counts = self.deviation > 0
        scale = self.deviation.where(counts, torch.ones_like(self.deviation)).unsqueeze(1)
        units = (values.to(self.mean) - self.mean.unsqueeze(1)) / scale * counts.unsqueeze(1)
        # The length of a projected vector does not change which of its cosines is largest.
        scores = (units @ self.projections) @ self.codebooks[:, : self.used].transpose(1, 2)
        return scores.argmax(2)

    def view(self, batch: Batch, rng: torch.Generator) -> View:
        """The graph with a random share of its nodes masked, and their codes.

        Raises:
            ConfigError: If the task was not set up, or the graph has no features.
        """
        graph = batch.source
        features = built(self, self.features)
        x = features.read(graph)
        nodes = self._masked_nodes(graph, rng)
        codes = self.codes_of(self.values_of(graph)[:, nodes])
        self.counts += self._counted(codes)
        hidden = x.clone()
        if graph.node_type is not None and x.is_floating_point():
            hidden[nodes] = 0  # columns belong to types: noise would cross them
        elif x.is_floating_point():
            noise = torch.randn(len(nodes), x.shape[1], generator=rng).to(self.mean)
            own = self.hops.index(min(self.hops))
            mean, deviation = (part[own, : x.shape[1]] for part in (self.mean, self.deviation))
            hidden[nodes] = (mean + NOISE * deviation * noise).to(x.dtype)
        else:
            hidden[nodes] = features.mask(x)
        return View(graph.replace(x=hidden), {"nodes": nodes, "codes": codes.t()})

    def losses(self, nodes: Tensor, view: View) -> Tensor:
        """Loss of each masked node, ``(b,)``."""
        predictor = built(self, self.predictor)
        scores = predictor(nodes.index_select(0, view.targets["nodes"]))
        scores = scores.view(-1, len(self.hops), self.codes)[:, :, : self.used]  # (b, books, used)
        codes = view.targets["codes"]
        return F.cross_entropy(scores.transpose(1, 2), codes, reduction="none").mean(1)

    def measures(self) -> dict[str, float]:
        """Perplexity of the codes of masked nodes since the last call, by codebook."""
        found = perplexity(self.counts).tolist()
        self.counts.zero_()
        return {f"perplexity of codebook {book}": value for book, value in enumerate(found)}

    def _counted(self, codes: Tensor) -> Tensor:
        found = torch.zeros_like(self.counts)
        return found.scatter_add_(1, codes, torch.ones_like(codes, dtype=found.dtype))

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


def perplexity(counts: Tensor) -> Tensor:
    """Exponential of the entropy of counts ``(books, codes)``, ``(books,)``; 0 without counts."""
    total = counts.sum(1, keepdim=True)
    shares = counts / total.clamp(min=1)
    return torch.where(total[:, 0] > 0, torch.special.entr(shares).sum(1).exp(), 0.0)


def _one_hot(x: Tensor, categories: Sequence[int]) -> Tensor:
    """One-hot columns of all categorical columns side by side; none for *masked*."""
    places = [F.one_hot(column, size + 1)[:, :size] for column, size in zip(x.t(), categories)]
    return torch.cat(places, 1).float()
