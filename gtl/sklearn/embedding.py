"""Vectors of a trained encoder as a transformer of scikit-learn."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from gtl.catalog import ENCODERS
from gtl.data.dataset import Dataset
from gtl.data.mixed_rows import as_rows, check_properties, describe, read_rows
from gtl.data.properties import PROPERTIES
from gtl.encoders.readout import as_readout
from gtl.errors import ConfigError, DataError
from gtl.graph import PackedGraphs
from gtl.sklearn.rows import check_options, of_rows, refuse, report
from gtl.train.evaluate import embed
from gtl.train.model import Model
from gtl.train.resolve import as_encoder
from gtl.train.shipped import SHIPPED


class MoleculeEmbedding(TransformerMixin, BaseEstimator):
    """Vectors of molecules, or of graphs, by a trained encoder.

    A row is a SMILES, an RDKit molecule or a graph that :func:`gtl.as_graph` reads. Nothing is
    learned in ``fit``, which loads the encoder and reads the first row.

    Args:
        encoder: Name of an encoder that comes with gtl, an instance, a pre-training run or
            fine-tuned model, or the path of a run folder or checkpoint.
        readout: Node vectors to graph vectors, see :class:`gtl.encoders.readout.Concatenated`; of a
            fine-tuned model its own readout is used.
        properties: Keys of :data:`gtl.data.properties.PROPERTIES` whose columns follow, such as
            ``["descriptors"]``. A descriptor that RDKit cannot compute is NaN.
        on_invalid: ``"raise"`` refuses rows that cannot be read and names them; ``"nan"`` gives
            them NaN, with a log line.
        batch_size: Graphs that are encoded at a time.
        workers: Processes that read SMILES; scripts that use several need
            ``if __name__ == "__main__":``.
        device: Where to encode; by default where the encoder is.

    Attributes:
        encoder_: The encoder, or fine-tuned model, in use.
    """

    def __init__(
        self,
        encoder: Any = "molecules",
        *,
        readout: Any = ("mean", "sum", "max"),
        properties: Sequence[str] = (),
        on_invalid: str = "raise",
        batch_size: int = 256,
        workers: int = 1,
        device: str | None = None,
    ):
        self.encoder = encoder
        self.readout = readout
        self.properties = properties
        self.on_invalid = on_invalid
        self.batch_size = batch_size
        self.workers = workers
        self.device = device

    def fit(self, X: Any, y: Any = None) -> MoleculeEmbedding:  # noqa: N803
        """Load the encoder; the first readable row tells what the graphs look like."""
        check_options(self.on_invalid, self.workers)
        check_properties(self.properties)
        rows = as_rows(X)
        graphs = _first_graph(rows)
        found = self.encoder
        if not isinstance(found, Model):
            name = found.get("name") if isinstance(found, Mapping) else found
            if isinstance(name, str) and name in ENCODERS.names() and name not in SHIPPED:
                raise ConfigError(
                    f"`encoder` is {name!r}, which is not trained; give a pre-training run, or one "
                    f"that comes with gtl ({', '.join(SHIPPED) or 'none'})"
                )
            found = as_encoder(found, graphs.schema)[0]
            readout = as_readout(copy.deepcopy(self.readout), found.width)
            if list(readout.parameters()):
                raise ConfigError("a `readout` with parameters is not trained here; use 'mean'")
        self.encoder_ = copy.deepcopy(found).eval().to(self.device)
        self._names_out = self._column_names(graphs)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Vectors ``(rows, h)``, float32, followed by the properties.

        Raises:
            DataError: Naming rows that cannot be read, if ``on_invalid`` is ``"raise"``.
        """
        check_is_fitted(self)
        rows, names = as_rows(X), check_properties(self.properties)
        parts: list[Tensor] = []
        wrong: dict[int, str] = {}
        for piece in read_rows(rows, names, self.workers):
            wrong.update(piece.wrong)
            refuse(wrong, self.on_invalid)
            part = torch.full((piece.count, len(self._names_out)), torch.nan)
            if piece.graphs is not None:
                columns = [self._vectors(piece.graphs), *(piece.properties[n] for n in names)]
                part[piece.kept - piece.first] = torch.cat([c.float() for c in columns], 1)
            parts.append(part)
        report(wrong, len(rows))
        return torch.cat(parts).numpy() if parts else np.empty((0, len(self._names_out)), "float32")

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns: of the vectors numbers, of the properties their own."""
        check_is_fitted(self)
        return np.asarray(self._names_out, dtype=object)

    def _vectors(self, graphs: PackedGraphs) -> Tensor:
        readout = copy.deepcopy(self.readout)
        data = Dataset("rows", graphs)
        return embed(self.encoder_, data, readout=readout, batch_size=self.batch_size)

    def _column_names(self, graphs: PackedGraphs) -> list[str]:
        width = self._vectors(graphs).shape[1]
        names = [f"vector_{i}" for i in range(width)]
        for name in check_properties(self.properties):
            known = PROPERTIES[name]
            names += known.names or [f"{name}_{i}" for i in range(known.width)]
        return names

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")

    def __sklearn_tags__(self) -> Any:
        return of_rows(super().__sklearn_tags__())


def _first_graph(rows: Sequence[Any]) -> PackedGraphs:
    """The first rows that can be read."""
    wrong: dict[int, str] = {}
    for first in range(min(len(rows), 1000)):
        for piece in read_rows([rows[first]]):
            if piece.graphs is not None:
                return piece.graphs
            wrong[first] = next(iter(piece.wrong.values()))
    raise DataError(
        f"none of the first {len(wrong)} rows can be read: {describe(wrong) or 'there is no row'}"
    )
