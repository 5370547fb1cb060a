"""Features of a probe: frozen vectors of an encoder, properties of the graphs, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gtl.catalog import READOUTS
from gtl.data.dataset import Dataset
from gtl.data.properties import with_properties
from gtl.encoders.readout import as_readout
from gtl.errors import ConfigError, DataError
from gtl.graph import Schema
from gtl.roles import Encoder
from gtl.train.device import module_device
from gtl.train.fitted_arrays import Array
from gtl.train.model import encoder_config, encoder_from_config, load_part
from gtl.train.propagation import Filter, filtered, node_columns


class Features(nn.Module):
    """Items to rows of numbers; nothing in it is trained.

    Args:
        schema: What the graphs look like.
        encoder: Graph to node vectors; ``None`` for none.
        readout: Node vectors to graph vectors, or several side by side; ``None`` where items are
            nodes.
        properties: Properties of the graphs beside the vectors.
        workers: Processes that compute them.
    """

    def __init__(
        self,
        schema: Schema,
        encoder: Encoder | None,
        readout: Any = None,
        properties: Sequence[str] = (),
        workers: int = 1,
    ):
        super().__init__()
        self.schema, self.encoder = schema, encoder
        self.properties, self.workers = tuple(properties), workers
        used = encoder is not None and readout is not None
        self.readout = as_readout(readout, encoder.width) if encoder and used else None
        if self.readout is not None and any(True for _ in self.readout.parameters()):
            raise ConfigError(
                "the readout has weights, which a probe does not train; take mean, sum, max or a "
                "list of them"
            )
        self.requires_grad_(False)
        self.eval()

    def rows(self, data: Dataset, items: Tensor, by: Filter | None = None) -> Array:
        """Features of items, float32 ``(k, d)``, NaN where a property is missing.

        Args:
            data: The items.
            items: Their numbers.
            by: Where items are nodes, how vectors are propagated first.

        Raises:
            DataError: If the encoder was made for other features, properties cannot be computed, or
                a vector is not finite.
        """
        if data.graph is not None:
            rows: Array = self._of_nodes(data, by)[items.numpy()]
            return rows
        parts = []
        if self.encoder is not None:
            parts.append(self._vectors(data, items))
        if self.properties:
            graphs = with_properties(data, self.properties, self.workers).graphs
            assert graphs is not None
            parts += [graphs.properties[name][items].float().numpy() for name in self.properties]
        return np.concatenate(parts, 1)

    @torch.no_grad()
    def _vectors(self, data: Dataset, items: Tensor) -> Array:
        assert self.encoder is not None
        self.encoder.schema.require(data.schema, "the probe")
        _, size = data.contents.portions(len(self.encoder.blocks), None, None, False)
        parts = []
        for index in items.split(size or max(len(items), 1)):
            graph = data.batch(index, module_device(self))
            nodes = self.encoder(graph)
            parts.append(data.contents.features(graph, nodes, self.readout).float().cpu())
        return _finite(torch.cat(parts).numpy())

    def _of_nodes(self, data: Dataset, by: Filter | None) -> Array:
        """Features of all nodes; propagation needs them all."""
        graph = data.graph
        assert graph is not None
        if self.encoder is not None:
            vectors = torch.from_numpy(self._vectors(data, torch.arange(len(data))))
        else:
            self.schema.require(data.schema, "the probe")
            node = self.schema.node
            vectors = node_columns(graph, None if node is None else node.categories)
        if by is not None:
            vectors = filtered(graph, vectors.double(), by).float()
        return vectors.numpy()

    def config(self) -> dict[str, Any]:
        """What :meth:`of` needs, for ``config.json``."""
        known = (
            {"schema": self.schema.to_json(), "encoder": None, "adapter": None}
            if self.encoder is None
            else encoder_config(self.encoder)
        )
        readout = None if self.readout is None else READOUTS.spec(self.readout)
        return {**known, "readout": readout, "properties": list(self.properties)}

    @staticmethod
    def of(config: Mapping[str, Any], state: Mapping[str, Tensor], folder: Path) -> Features:
        """Undo :meth:`config`, with the weights of the encoder."""
        encoder = None if config["encoder"] is None else encoder_from_config(config, folder)
        if encoder is not None:
            load_part(encoder, state, "encoder.", folder)
        schema = Schema.from_json(config["schema"])
        return Features(schema, encoder, config["readout"], config["properties"])


def _finite(vectors: Array) -> Array:
    if not np.isfinite(vectors).all():
        raise DataError("some vectors of the encoder are not finite; use another encoder")
    return vectors
