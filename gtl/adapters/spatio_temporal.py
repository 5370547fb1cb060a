"""AIM: adapters that turn a frozen encoder of single graphs into one of sequences of graphs.

Yang et al. 2023 ("AIM: Adapting image models for efficient video action recognition"): a frozen
layer that combines neighbors in space is applied along time too, with small trained adapters around
it. In the paper it is the attention of an image model; here it is any block of a graph encoder,
applied to the graph of each node's history (:func:`gtl.graph.time_graph.time_graph`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters.bottleneck_map import BottleneckMap, check_bottleneck
from gtl.errors import ConfigError
from gtl.graph import Graph
from gtl.graph.time_graph import history_rows, time_graph
from gtl.roles import Adapter, Sites

PARTS = ("temporal", "spatial", "joint")


class SpatioTemporal(Adapter):
    """Temporal, spatial and joint adaptation (Yang et al. 2023, Section 3).

    The graph is a batch of snapshots, ``history`` of them in a row being one window. With ``f`` a
    frozen block, ``u`` its update (its output, without its input where it has a residual
    connection), and ``A(z) = W' gelu(W z + b) + b'``, each block becomes

    - temporal: ``h <- h + A_t(u(history of each node, h))``, the same ``f`` along time; with
      ``inlet`` it reads ``h + A_i(h)`` there;
    - spatial: ``y = f(snapshot, h) + A_s(u(snapshot, h))``;
    - joint: ``y <- y + scale * A_j(h)``, beside the block.

    A learned vector for each step of a window, zero at first, is added to the input embedding where
    there is temporal adaptation. As ``W'`` and ``b'`` are zero at first, an untrained adapter gives
    the vectors that the frozen encoder gives snapshot by snapshot.

    The paper adapts attention and MLP of a transformer's layer one after the other. A block here
    is not divided further, so the joint adapter is beside the whole block.

    Args:
        history: Steps of a window.
        hidden: Columns inside each ``A``; by default an eighth of those of the block.
        parts: Which of ``"temporal"``, ``"spatial"`` and ``"joint"``.
        scale: Factor of the joint adapter, 0.5 in the paper.
        causal: Edges along time lead from earlier steps to later ones alone; otherwise both ways.
            Blocks that send messages against edges too (those of ``earl``) need ``False``.
        reach: Longest edge along time in steps; ``None`` for the whole window. Several numbers are
            those of the blocks, in order.
        inlet: A second temporal adapter for each block, before it, which the paper uses where the
            order in time matters most (its ``num_tadapter=2``).
        edge_type: Type of the edges along time, for encoders with edge types. Where edges have
            features, those along time are zero.

    Raises:
        ConfigError: If an option is outside its range.
    """

    def __init__(
        self,
        history: int,
        hidden: int | None = None,
        parts: Sequence[str] = PARTS,
        scale: float = 0.5,
        causal: bool = True,
        reach: int | Sequence[int | None] | None = None,
        inlet: bool = False,
        edge_type: int = 0,
    ):
        super().__init__()
        if history < 1:
            raise ConfigError(f"`history` is {history}, expected at least 1 step")
        check_bottleneck(hidden, "gelu")
        if isinstance(parts, str) or not parts or not set(parts) <= set(PARTS):
            raise ConfigError(f"`parts` is {parts!r}, expected some of {PARTS}")
        if inlet and "temporal" not in parts:
            raise ConfigError("`inlet` is a temporal adapter; add 'temporal' to `parts`")
        _check_reach(reach)
        if edge_type < 0:
            raise ConfigError(f"`edge_type` is {edge_type}, expected the number of a type, from 0")
        self.history, self.hidden, self.scale = history, hidden, scale
        self.parts = tuple(part for part in PARTS if part in parts)
        self.causal, self.reach, self.edge_type = causal, reach, edge_type
        self.inlet = inlet

    def setup(self, sites: Sites) -> None:
        """Make the adapters of each block and the vectors of the steps.

        Raises:
            ConfigError: If the encoder has no input embedding of its own, a block changes the
                number of columns, ``reach`` does not name one number for each block, or the
                encoder does not know ``edge_type``.
        """
        if sites.embed is None:
            raise ConfigError(
                "spatio_temporal runs blocks of a gtl.roles.Encoder on graphs along time; derive "
                "the encoder from that class"
            )
        for site in sites.blocks:
            if site.inputs != site.width:
                raise ConfigError(
                    f"{site.path} turns {site.inputs} columns into {site.width}; "
                    "spatio_temporal needs blocks that keep their number"
                )
        self._check_edge_type(0 if sites.schema is None else sites.schema.edge_types)
        self.embed = sites.embed.path
        self.paths = [site.path for site in sites.blocks]
        self.reaches = self._reach_of_each(len(self.paths))
        widths = [site.width for site in sites.blocks]
        self.maps = nn.ModuleDict(
            {
                part: nn.ModuleList(BottleneckMap(w, w, self.hidden, "gelu", None) for w in widths)
                for part in (*self.parts, *(["inlet"] if self.inlet else []))
            }
        )
        if "temporal" in self.parts:
            self.steps = nn.Parameter(torch.zeros(self.history, sites.embed.width))

    def wraps(self) -> Mapping[str, Callable[..., Tensor]]:
        """Add the steps' vectors to the embedding, adapt every block."""
        wrapped = {path: partial(self._block, i) for i, path in enumerate(self.paths)}
        return {self.embed: self._embed, **wrapped} if "temporal" in self.parts else wrapped

    def _embed(self, call: Callable[..., Tensor], graph: Graph) -> Tensor:
        history_rows(graph, self.history)  # refuses what is no whole number of windows
        step = graph.graph_ids() % self.history
        return call(graph) + self.steps.index_select(0, step)

    def _block(self, i: int, call: Callable[..., Tensor], graph: Graph, h: Tensor) -> Tensor:
        residual = getattr(call.module, "residual", False)  # type: ignore[attr-defined]

        def update(out: Tensor, h: Tensor) -> Tensor:
            return out - h if residual else out

        maps = {part: each[i] for part, each in self.maps.items()}  # type: ignore[index]
        if "temporal" in maps:
            self._check_direction(call.module)  # type: ignore[attr-defined]
            past = time_graph(
                graph, self.history, self.causal, self.reaches[i], edge_type=self.edge_type
            )
            inlet = h + maps["inlet"](h) if "inlet" in maps else h
            h = h + maps["temporal"](update(call(past, inlet), inlet))
        out = call(graph, h)
        if "spatial" in maps:
            out = out + maps["spatial"](update(out, h))
        if "joint" in maps:
            out = out + self.scale * maps["joint"](h)
        return out

    def _check_direction(self, block: nn.Module) -> None:
        if self.causal and getattr(block, "both_ways", False):
            raise ConfigError(
                f"`causal` is true, but messages of {type(block).__name__} go against edges too, "
                "from later steps to earlier ones; give causal=False or another encoder"
            )

    def _check_edge_type(self, types: int) -> None:
        if self.edge_type and not types:
            raise ConfigError(
                f"`edge_type` is {self.edge_type}, but the encoder has no edge types; leave it out"
            )
        if types and self.edge_type >= types:
            raise ConfigError(
                f"`edge_type` is {self.edge_type}, expected one of the encoder's {types} types, "
                f"0 to {types - 1}"
            )

    def _reach_of_each(self, blocks: int) -> list[int | None]:
        if self.reach is None or isinstance(self.reach, int):
            return [self.reach] * blocks
        if len(self.reach) != blocks:
            raise ConfigError(
                f"`reach` is {list(self.reach)}, expected a number for each of {blocks} blocks"
            )
        return list(self.reach)


def _check_reach(reach: Any) -> None:
    several = isinstance(reach, Iterable) and not isinstance(reach, str)
    for steps in reach if several else [reach]:
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise ConfigError(
                f"`reach` is {reach!r}, expected 1 step or more, or None for all, once or for each "
                "block"
            )
