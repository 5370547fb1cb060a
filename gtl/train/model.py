"""A trained model: an encoder and the target task whose predictor answers for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters import Adapted, attach, trainable
from gtl.adapters.attachment import specs_of
from gtl.catalog import ENCODERS, HEADS, READOUTS
from gtl.errors import CheckpointError, DataError
from gtl.graph import Graph, Schema
from gtl.graph.pairs import pair_features
from gtl.roles import Encoder
from gtl.run_folder import RunFolder, best_weights, read_json
from gtl.tasks import Supervised
from gtl.tasks.links import Links

COMMANDS = ("finetune", "finetune_by_episodes")  # whose run folders hold a Model


class Predictor(nn.Module):
    """Node vectors to predictions of the items: readout, rows of the seeds or pairs, then a head.

    Args:
        head: Features ``(b, h)`` to predictions ``(b, c)``.
        readout: Node vectors to graph vectors; ``None`` when the items are nodes or pairs.
        pair: How two node vectors become one, a key of :data:`gtl.graph.pairs.PAIR_FEATURES`;
            ``None`` when the items are no pairs.
    """

    def __init__(self, head: nn.Module, readout: nn.Module | None = None, pair: str | None = None):
        super().__init__()
        self.head = head
        self.readout, self.pair = readout, pair

    def features(self, graph: Graph, nodes: Tensor) -> Tensor:
        """One vector per item, ``(b, h)``.

        Raises:
            DataError: If the predictor answers for pairs and the graph has none, or the reverse.
        """
        if self.pair is not None and graph.pairs is not None:
            return pair_features(nodes, graph.pairs, self.pair)
        if self.pair is not None or graph.pairs is not None:
            raise DataError(
                "the model answers for pairs of nodes, and the graph names none; set `pairs`"
                if graph.pairs is None
                else "the graph asks about `pairs`, and the model was not trained on such; use "
                "`graph.unlabeled()`"
            )
        if self.readout is not None:
            return self.readout(graph, nodes)
        return nodes if graph.seeds is None else nodes[graph.seeds]

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Predictions ``(b, c)`` from node vectors ``(n, h)``."""
        return self.head(self.features(graph, nodes))


class Model(nn.Module):
    """What :func:`gtl.finetune` returns: Graph in, predictions out.

    Args:
        encoder: Graph to node vectors.
        target: The supervised task that was trained, with its predictor.
        level: ``"graph"``, ``"node"`` or ``"edge"``.

    Attributes:
        results: What ``results.json`` holds: metric, valid, test, seed and footprint.
        history: One dictionary per epoch, as in ``metrics.jsonl``.
        folder: The run folder, or ``None``.
        fan_out: Neighbors that were sampled at each hop in training; ``None`` if none were.
    """

    def __init__(self, encoder: Encoder, target: Supervised, level: str = "graph"):
        super().__init__()
        self.encoder = encoder
        self.target = target
        self.level = level
        self.results: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.folder: RunFolder | None = None
        self.fan_out: Sequence[int | None] | None = None

    def forward(self, graph: Graph) -> Tensor:
        """Logits ``(b, c)``, or values in the unit of the labels for a regression."""
        return self.target.predict(graph, self.encoder(graph))

    def embed(self, graph: Graph) -> Tensor:
        """Item vectors ``(b, h)``: what the head sees."""
        return self.predictor.features(graph, self.encoder(graph))

    @property
    def predictor(self) -> Predictor:
        """Readout and head."""
        assert isinstance(self.target.predictor, Predictor)
        return self.target.predictor

    def print_trainable_parameters(self) -> None:
        """Print how many parameters may move, in the manner of PEFT."""
        trainable.print_trainable_parameters(self)

    @staticmethod
    def load(folder: Path | str) -> Model:
        """The model of a run folder, at its best epoch on validation data.

        Raises:
            CheckpointError: If the folder is not a finished or interrupted fine-tuning run, or its
                checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        if config.get("command") not in COMMANDS:
            raise CheckpointError(
                f"{folder} is a run of {config.get('command')!r}, not of 'finetune'"
            )
        if not (folder / "results.json").is_file():
            why = "its trainings could be compared" if (folder / "race").is_dir() else ""
            why = "its head was fitted" if config["command"] == COMMANDS[1] else why
            if why:
                raise CheckpointError(
                    f"{folder} was interrupted before {why}; run it again with resume=True "
                    "(--resume)"
                )
        weights = best_weights(folder)
        encoder = encoder_from_config(config, folder)
        how = config["head"], config["readout"], config.get("links")
        target = build_target(encoder, config["target"], *how)
        load_part(encoder, weights, "encoder.", folder)
        load_part(target, weights, "tasks.supervised.", folder)
        model = Model(encoder, target, config["target"]["level"])
        model.fan_out = config.get("fan_out")
        return model.eval()


def build_target(
    encoder: Encoder,
    target: Mapping[str, Any],
    head: Any,
    readout: Any,
    links: Mapping[str, Any] | None = None,
) -> Supervised:
    """The supervised task with its predictor.

    Args:
        encoder: Its ``width`` sizes the predictor.
        target: ``kind``, ``outputs`` and ``level``.
        head: Name, mapping or instance.
        readout: Likewise; ignored when the items are not graphs.
        links: Options of :class:`gtl.tasks.links.Links`.
    """
    pair = Links.of(links).features if target["level"] == "edge" else None
    width = encoder.width
    pool = READOUTS.build(readout, width) if target["level"] == "graph" else None
    width = getattr(pool, "width", width)
    predictor = Predictor(HEADS.build(head, width, target["outputs"]), pool, pair)
    return Supervised(predictor, kind=target["kind"], outputs=target["outputs"], links=links)


def encoder_config(encoder: Encoder) -> dict[str, Any]:
    """What a run folder says of an encoder: ``schema``, ``encoder`` and ``adapter``.

    Beside adapters none of which is active, ``active_adapter`` is ``None``.

    The adapter is ``None``, a list of the adapters in a row or, where several are attached or one
    has a name of its own, such lists by name, the active ones last.
    """
    adapter: Any = None
    base: nn.Module = encoder
    if isinstance(encoder, Adapted):
        adapter, base = specs_of(encoder), encoder.base
        adapter = adapter["default"] if set(adapter) == {"default"} else adapter
    config = {
        "schema": encoder.schema.to_json(),
        "encoder": ENCODERS.spec(base),
        "adapter": adapter,
    }
    if isinstance(encoder, Adapted) and encoder.active_adapter is None:
        config["active_adapter"] = None
    return config


def encoder_from_config(config: Mapping[str, Any], folder: Path) -> Encoder:
    """Build (not load) the encoder of a run folder, its adapters included."""
    spec = config["encoder"]
    if spec["name"] not in ENCODERS.names():
        raise CheckpointError(
            f"{folder} was trained with the encoder class {spec['name']}, which is not registered; "
            "register it with @gtl.register_encoder and import it first"
        )
    encoder = ENCODERS.build(spec, Schema.from_json(config["schema"]))
    adapter = config.get("adapter")
    named = adapter if isinstance(adapter, Mapping) else {"default": adapter}
    for name, parts in named.items():
        encoder = encoder if parts is None else attach(encoder, parts, name)
    for key in ("active_adapter", "adapter_in_use"):  # the second in older run folders
        if key in config:
            encoder.set_adapter(config[key])
    return encoder


def load_part(part: nn.Module, state: Mapping[str, Tensor], prefix: str, folder: Path) -> None:
    """Load the entries of ``state`` that start with ``prefix`` into a module, all or none."""
    mine = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    try:
        part.load_state_dict(mine)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"the checkpoint of {folder} does not fit its config: {reason}"
        ) from error


def module_device(module: nn.Module) -> torch.device:
    """Device of a module's parameters; the CPU if it has none."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))
