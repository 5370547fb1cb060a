"""The CategoryGraph: weighted relations between classes, which heads such as KGTN read.

Edges and weights follow Chen et al. 2020 (KGTN); heads read :meth:`CategoryGraph.graph`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gtl.data.agreement import Agreement, rank_agreement
from gtl.data.hierarchy import Pairs, near_classes, pairs_of_paths, read_hypernyms, read_paths
from gtl.data.readers.wordnet import read_wordnet
from gtl.errors import ConfigError, DataError, ShapeError
from gtl.graph import Graph

_ROWS = 1024  # classes whose distances to all others are held at a time


@dataclass(frozen=True, eq=False)
class CategoryGraph:
    """How much each class has to do with others: sparse, directed, weighted.

    Attributes:
        src: Sending class of each edge, int64 ``(m,)``.
        dst: Receiving class of each edge, int64 ``(m,)``.
        weight: Weight of each edge, float64 ``(m,)``, 0 or more.
        num_classes: Number of classes ``c``.
        names: Names of the classes, or empty.

    Raises:
        ShapeError: If a field has the wrong shape or dtype.
        DataError: If an edge ends outside the classes or is there twice, or a weight is negative
            or not finite.

    Example:
        >>> graph = CategoryGraph.from_paths(["/cat/lion", "/cat/tiger", "/dog/wolf"])
        >>> graph.dense().tolist()
        [[0.0, 0.5, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """

    src: Tensor
    dst: Tensor
    weight: Tensor
    num_classes: int
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.weight.dtype != torch.float64 or self.weight.shape != self.src.shape:
            raise ShapeError(
                f"`weight` is {self.weight.dtype} {tuple(self.weight.shape)}, expected float64 "
                f"({len(self.src)},), one per edge"
            )
        if self.names and len(self.names) != self.num_classes:
            raise ShapeError(f"`names` has {len(self.names)}, expected {self.num_classes}")
        self.graph().validate()
        if bool((self.weight < 0).any()):
            raise DataError("`weight` has a negative value, expected 0 or more")
        if len(self._keys().unique()) != len(self.src):
            raise DataError("an edge is there twice; add their weights up, or choose one of them")

    # -- constructors --------------------------------------------------------------------------

    @staticmethod
    def from_pairs(
        classes: Sequence[str], pairs: Pairs, decay: float = 0.5, max_distance: int = 3
    ) -> CategoryGraph:
        """Classes near each other in a hierarchy, with weight ``decay ** (distance - 1)``.

        Args:
            classes: Names of the classes.
            pairs: Child and parent of each link; a child may have several parents.
            decay: Above 0, at most 1.
            max_distance: Classes farther apart, up to a common ancestor and down, are not joined.

        Raises:
            ConfigError: If an option is outside its range.
            DataError: If a class repeats or has no place in the hierarchy, or that has a cycle.
        """
        _require_decay(decay)
        first, second, distance = near_classes(classes, pairs, max_distance)
        weight = decay ** (distance.double() - 1)
        src, dst = torch.cat([first, second]), torch.cat([second, first])
        return CategoryGraph(src, dst, torch.cat([weight, weight]), len(classes), tuple(classes))

    @staticmethod
    def from_paths(
        paths: Sequence[str], decay: float = 0.5, max_distance: int = 3
    ) -> CategoryGraph:
        """As :meth:`from_pairs`, of a path per class such as ``/Databases/Query_Evaluation``."""
        return CategoryGraph.from_pairs(*pairs_of_paths(paths), decay, max_distance)

    @staticmethod
    def from_path_file(
        file: str | Path, decay: float = 0.5, max_distance: int = 3
    ) -> CategoryGraph:
        """As :meth:`from_paths`, of a table between tabs with ``class_id`` and ``path``."""
        return CategoryGraph.from_paths(read_paths(file), decay, max_distance)

    @staticmethod
    def from_hypernym_files(
        classes: str | Path, edges: str | Path, decay: float = 0.5, max_distance: int = 3
    ) -> CategoryGraph:
        """As :meth:`from_pairs`, of tables between tabs: ``wnid``, and ``child`` and ``parent``."""
        return CategoryGraph.from_pairs(*read_hypernyms(classes, edges), decay, max_distance)

    @staticmethod
    def from_wordnet(
        classes: Sequence[str], file: str | Path, decay: float = 0.5, max_distance: int = 3
    ) -> CategoryGraph:
        """As :meth:`from_pairs`, of synsets such as ``n01440764`` in WordNet's ``data.noun``."""
        return CategoryGraph.from_pairs(classes, read_wordnet(file, classes), decay, max_distance)

    @staticmethod
    def from_distances(
        distances: Tensor, decay: float = 0.5, relative: bool = False
    ) -> CategoryGraph:
        """All classes at a finite distance, with weight ``decay ** (distance - 1)``.

        Args:
            distances: ``(c, c)``; row ``i`` is how far other classes are from class ``i``,
                infinite for those without an edge. The diagonal is not read.
            decay: Above 0, at most 1.
            relative: Subtract the least distance of each row instead of 1.

        Raises:
            ShapeError: If ``distances`` is not square.
            ConfigError: If ``decay`` is outside its range.
        """
        _require_decay(decay)
        if distances.dim() != 2 or len(distances) != distances.shape[1]:
            raise ShapeError(f"`distances` has shape {tuple(distances.shape)}, expected (c, c)")
        distances = distances.detach().cpu().double().clone().fill_diagonal_(torch.inf)
        dst, src = distances.isfinite().nonzero().unbind(1)
        base = distances.amin(1)[dst] if relative else 1
        return CategoryGraph(src, dst, decay ** (distances[dst, src] - base), len(distances))

    @staticmethod
    def from_vectors(vectors: Tensor, decay: float = 0.4, neighbors: int = 10) -> CategoryGraph:
        """The nearest classes of each, with weight ``decay ** (distance - least distance)``.

        The decay is per unit of the vectors: scale them so that distances differ by about one.

        Args:
            vectors: Embeddings of class names, or prototypes of training samples, ``(c, d)``.
            decay: Above 0, at most 1.
            neighbors: Number of incoming edges of each class.

        Raises:
            ShapeError: If ``vectors`` has other than two dimensions.
            DataError: If a value is NaN or infinite.
            ConfigError: If an option is outside its range.
        """
        _require_decay(decay)
        if neighbors < 1:
            raise ConfigError(f"`neighbors` is {neighbors}, expected at least 1")
        vectors = _finite_rows("vectors", vectors)
        count = len(vectors)
        k = min(neighbors, max(count - 1, 0))
        near, weights = [], []
        for start in range(0, count, _ROWS):
            distances = torch.cdist(vectors[start : start + _ROWS], vectors)
            distances.diagonal(start).fill_(torch.inf)
            least, index = distances.topk(k, largest=False)
            near.append(index.flatten())
            weights.append((decay ** (least - least[:, :1])).flatten())
        dst = torch.arange(count).repeat_interleave(k)
        empty = vectors.new_empty(0)
        return CategoryGraph(
            torch.cat([empty.long(), *near]), dst, torch.cat([empty, *weights]), count
        )

    @staticmethod
    def from_labels(labels: Tensor) -> CategoryGraph:
        """Co-occurrence: the edge ``j -> i`` weighs the share of ``i``'s items that are ``j`` too.

        Args:
            labels: 1 where an item has a label, 0 or NaN where it has not, ``(items, c)``; those
                of training items only.

        Raises:
            ShapeError: If ``labels`` has other than two dimensions.
            DataError: If a value is another one.
        """
        import scipy.sparse

        if labels.dim() != 2:
            raise ShapeError(f"`labels` has shape {tuple(labels.shape)}, expected (items, c)")
        known = labels.detach().cpu().double().nan_to_num(0.0)
        if bool(((known != 0) & (known != 1)).any()):
            raise DataError("`labels` has other values than 0, 1 and NaN")
        has = scipy.sparse.csr_matrix(known.numpy())
        both = (has.T @ has).tocoo()
        count = np.maximum(np.asarray(has.sum(0)).ravel(), 1)
        apart = both.row != both.col
        dst, src = (torch.from_numpy(ends[apart].astype(np.int64)) for ends in (both.row, both.col))
        weight = torch.from_numpy(both.data[apart] / count[both.row[apart]])
        return CategoryGraph(src, dst, weight, labels.shape[1])

    # -- controls, with which a graph is compared ----------------------------------------------

    @staticmethod
    def uniform(num_classes: int) -> CategoryGraph:
        """All ``c * c`` edges, self-loops included, with weight ``1 / c``."""
        classes = torch.arange(num_classes)
        src, dst = classes.repeat(num_classes), classes.repeat_interleave(num_classes)
        weight = torch.full((len(src),), 1 / max(num_classes, 1), dtype=torch.float64)
        return CategoryGraph(src, dst, weight, num_classes)

    @staticmethod
    def identity(num_classes: int) -> CategoryGraph:
        """Self-loops alone, with weight 1."""
        classes = torch.arange(num_classes)
        return CategoryGraph(classes, classes, torch.ones(num_classes).double(), num_classes)

    @staticmethod
    def random(num_classes: int, num_edges: int, rng: torch.Generator) -> CategoryGraph:
        """Edges between different classes drawn at random, weights uniform in ``(0, 1]``.

        Raises:
            ConfigError: If there are not so many pairs of classes.
        """
        total = num_classes * max(num_classes - 1, 0)
        if not 0 <= num_edges <= total:
            raise ConfigError(f"`num_edges` is {num_edges}, expected 0 to {total}")
        if 2 * num_edges > total:
            keys = torch.randperm(total, generator=rng)[:num_edges]
        else:
            keys = torch.empty(0, dtype=torch.int64)
            while len(keys) < num_edges:
                more = torch.randint(total, (2 * num_edges,), generator=rng)
                keys = torch.cat([keys, more]).unique()
            keys = keys[torch.randperm(len(keys), generator=rng)[:num_edges]]
        src, dst = keys // max(num_classes - 1, 1), keys % max(num_classes - 1, 1)
        weight = 1 - torch.rand(num_edges, generator=rng, dtype=torch.float64)
        return CategoryGraph(src, dst + (dst >= src), weight, num_classes)

    # -- changes -------------------------------------------------------------------------------

    def top_k(self, k: int) -> CategoryGraph:
        """Keep the ``k`` strongest incoming edges of each class, and ties with the last of them."""
        if k < 1:
            raise ConfigError(f"`k` is {k}, expected at least 1")
        by_weight = self.weight.argsort(descending=True, stable=True)
        order = by_weight[self.dst[by_weight].argsort(stable=True)]
        count = torch.bincount(self.dst, minlength=self.num_classes)
        start = count.cumsum(0) - count
        last = order[(start + count.clamp(max=k) - 1)[count > 0]]
        least = self.weight.new_zeros(self.num_classes)
        least[self.dst[last]] = self.weight[last]
        return self._keep(self.weight >= least[self.dst])

    def top_ratio(self, ratio: float) -> CategoryGraph:
        """Keep the strongest incoming edges of each class, ``ratio`` times the number of classes.

        At least one is kept. The published code keeps one more.
        """
        if not 0 < ratio <= 1:
            raise ConfigError(f"`ratio` is {ratio}, expected above 0 and at most 1")
        return self.top_k(max(1, int(ratio * self.num_classes)))

    def with_self_weight(self, weight: float) -> CategoryGraph:
        """Replace all self-loops by ones of ``weight`` (2 in the paper); 0 removes them."""
        apart = self._keep(self.src != self.dst)
        if weight == 0:
            return apart
        loops = torch.arange(self.num_classes)
        weights = torch.cat([apart.weight, torch.full((len(loops),), weight).double()])
        return replace(
            self,
            src=torch.cat([apart.src, loops]),
            dst=torch.cat([apart.dst, loops]),
            weight=weights,
        )

    def normalized(self) -> CategoryGraph:
        """Incoming weights of each class that sum to 1; a class without incoming edges has none."""
        total = self.weight.new_zeros(self.num_classes).index_add(0, self.dst, self.weight)
        total[total == 0] = 1
        return replace(self, weight=self.weight / total[self.dst])

    def without(self, classes: Tensor) -> CategoryGraph:
        """Remove all edges of the classes int64 ``(k,)``; they keep their numbers."""
        out = torch.zeros(self.num_classes, dtype=torch.bool)
        out[classes.cpu()] = True
        return self._keep(~(out[self.src] | out[self.dst]))

    def of(self, classes: Tensor) -> CategoryGraph:
        """The graph induced by the classes int64 ``(k,)``, each once, numbered in that order.

        Raises:
            DataError: If a class is there twice.
        """
        if len(classes.unique()) != len(classes):
            raise DataError("`classes` has a class twice, which would lose its edges; name it once")
        place = torch.full((self.num_classes,), -1)
        place[classes.cpu()] = torch.arange(len(classes))
        kept = (place[self.src] >= 0) & (place[self.dst] >= 0)
        names = tuple(self.names[i] for i in classes.tolist()) if self.names else ()
        ends = place[self.src[kept]], place[self.dst[kept]]
        return CategoryGraph(*ends, self.weight[kept], len(classes), names)

    # -- views ---------------------------------------------------------------------------------

    def graph(self) -> Graph:
        """The same as a :class:`gtl.Graph` with the weights in ``e``, ``(m, 1)``."""
        return Graph(self.src, self.dst, self.num_classes, e=self.weight.unsqueeze(1))

    def dense(self) -> Tensor:
        """The same as a matrix ``(c, c)``: row ``i`` holds the incoming weights of class ``i``."""
        matrix = self.weight.new_zeros(self.num_classes, self.num_classes)
        matrix[self.dst, self.src] = self.weight
        return matrix

    def agreement(
        self, class_means: Tensor, rng: torch.Generator, permutations: int = 199
    ) -> Agreement:
        """Correlation of nearness in the graph with nearness of the classes in feature space.

        Up to some 300 classes all pairs are compared; of more, the pairs that edges join (a random
        50,000 if there are more) and as many others.

        Args:
            class_means: Mean features of each class, of training samples, ``(c, d)``.
            rng: Draws the permutations of classes, and the pairs.
            permutations: Number of permutations; the p-value is no less than
                ``1 / (permutations + 1)``.

        Raises:
            ShapeError: If there is not one mean per class.
            DataError: If a value is NaN or infinite; leave out classes without samples.
            ConfigError: If ``permutations`` is below 1.
        """
        means = _finite_rows("class_means", class_means)
        if len(means) != self.num_classes:
            raise ShapeError(f"`class_means` has {len(means)} rows, expected {self.num_classes}")
        return rank_agreement(self.src, self.dst, self.weight, means, rng, permutations)

    def _keep(self, chosen: Tensor) -> CategoryGraph:
        return replace(self, src=self.src[chosen], dst=self.dst[chosen], weight=self.weight[chosen])

    def _keys(self) -> Tensor:
        return self.dst * self.num_classes + self.src


def _require_decay(decay: float) -> None:
    if not 0 < decay <= 1:
        raise ConfigError(f"`decay` is {decay}, expected above 0 and at most 1")


def _finite_rows(name: str, rows: Tensor) -> Tensor:
    if rows.dim() != 2:
        raise ShapeError(f"`{name}` has shape {tuple(rows.shape)}, expected (c, d)")
    if not bool(rows.isfinite().all()):
        row = int((~rows.isfinite()).any(1).nonzero()[0])
        raise DataError(f"`{name}` of class {row} is not finite; leave that class out")
    return rows.detach().cpu().double()
