"""A trained model: an encoder and the target task with its predictor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gtl.adapters import Adapted, attach, trainable
from gtl.adapters.attachment import specs_of
from gtl.catalog import ENCODERS, HEADS, READOUTS
from gtl.checkpoint import read_json
from gtl.data.item_kinds import KINDS_OF_ITEMS
from gtl.data.items import GraphItems, Items, NodeItems, PairItems
from gtl.encoders.readout import as_readout
from gtl.errors import CheckpointError
from gtl.graph import Graph, Schema
from gtl.roles import Encoder
from gtl.run_folder import CANDIDATES, RunFolder, best_weights, read_metrics
from gtl.run_kinds import kind_of
from gtl.tasks import Supervised
from gtl.tasks.links import Links
from gtl.train.labels import LabelNames
from gtl.train.property_input import PropertyInput, spec_of

TARGET = "supervised"  # name of the labeled target among the tasks of a training


class Predictor(nn.Module):
    """Node vectors to predictions of the items: item vectors, then a head.

    Args:
        head: Features ``(b, h)`` to predictions ``(b, c)``.
        readout: Node vectors to graph vectors; ``None`` when the items are nodes or pairs.
        pair: How two node vectors become one, a key of :data:`gtl.graph.pairs.PAIR_FEATURES`;
            ``None`` when the items are no pairs.
        properties: Properties of the graphs that the head reads beside their vectors.
    """

    def __init__(
        self,
        head: nn.Module,
        readout: nn.Module | None = None,
        pair: str | None = None,
        properties: PropertyInput | None = None,
    ):
        super().__init__()
        self.head, self.properties = head, properties
        self.readout, self.pair = readout, pair
        whole = GraphItems if readout is not None else NodeItems
        self.items: type[Items] = whole if pair is None else PairItems

    def features(self, graph: Graph, nodes: Tensor) -> Tensor:
        """One vector per item, ``(b, h)``.

        Raises:
            DataError: If the predictor is for pairs and the graph has none, or the reverse.
        """
        vectors = self.items.features(graph, nodes, self.pair or self.readout)
        if self.properties is None:
            return vectors
        return torch.cat([vectors, self.properties(graph)], 1)

    def forward(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Predictions ``(b, c)`` from node vectors ``(n, h)``."""
        predictions: Tensor = self.head(self.features(graph, nodes))
        return predictions


class Model(nn.Module):
    """What :func:`gtl.finetune` returns: Graph in, predictions out.

    Args:
        encoder: Graph to node vectors.
        target: The supervised task that was trained, with its predictor.
        labels: What the outputs stand for; ``None`` if that is not known.
        fan_out: Neighbors that were sampled at each hop in training; ``None`` if none were.

    Attributes:
        results: What ``results.json`` holds: metric, valid, test, seed and footprint.
        history: One dictionary per epoch, as in ``metrics.jsonl``.
        folder: The run folder, or ``None``.
        trained_on: ``spec``, ``checksum`` and ``items_checksum`` (without labels) of the training
            data; ``None`` if not known.
    """

    def __init__(
        self,
        encoder: Encoder,
        target: Supervised,
        labels: LabelNames | None = None,
        fan_out: Sequence[int | None] | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.target = target
        self.labels, self.fan_out = labels, fan_out
        self.results: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.folder: RunFolder | None = None
        self.trained_on: Mapping[str, Any] | None = None

    def forward(self, graph: Graph) -> Tensor:
        """Logits ``(b, c)``, or values in the unit of the labels for a regression."""
        return self.outputs(graph, self.encoder(graph))

    def embed(self, graph: Graph) -> Tensor:
        """Item vectors ``(b, h)``: what the head sees."""
        return self.features(graph, self.encoder(graph))

    def outputs(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Logits or values ``(b, c)`` from the encoder's vectors ``(n, h)``."""
        return self.target.predict(graph, nodes)

    def features(self, graph: Graph, nodes: Tensor) -> Tensor:
        """Item vectors ``(b, h)`` from the encoder's vectors ``(n, h)``."""
        return self.predictor.features(graph, nodes)

    @property
    def properties(self) -> list[str]:
        """Names of the properties that the head reads beside the graph vectors."""
        beside = self.predictor.properties
        return [] if beside is None else list(beside.columns)

    @property
    def predictor(self) -> Predictor:
        """Readout and head."""
        assert isinstance(self.target.predictor, Predictor)
        return self.target.predictor

    def print_trainable_parameters(self) -> None:
        """Print how many parameters may move, in the manner of PEFT."""
        trainable.print_trainable_parameters(self)

    def config(self) -> dict[str, Any]:
        """What :meth:`load` needs to build the model again, for ``config.json``."""
        target, predictor = self.target, self.predictor
        return {
            **encoder_config(self.encoder),
            "target": {
                "kind": target.kind,
                "outputs": target.outputs,
                "level": predictor.items.level,
            },
            "labels": None if self.labels is None else self.labels.to_json(),
            "head": HEADS.spec(predictor.head),
            "readout": READOUTS.spec(predictor.readout),
            "properties": spec_of(predictor.properties),
            "links": asdict(target.links) if predictor.items is PairItems else None,
            "class_weights": target.class_weights,
            "fan_out": self.fan_out,
        }

    def save(self, folder: Path | str) -> RunFolder:
        """Write the model as a run folder, which :meth:`load` and every verb can read.

        Args:
            folder: A new folder.

        Raises:
            CheckpointError: If the folder holds a run already.
        """
        return write_model(self, folder)

    @staticmethod
    def load(folder: Path | str) -> Any:
        """The model of a run folder, at its best epoch on validation data.

        Returns:
            A :class:`Model`; of an ensemble a :class:`gtl.train.ensemble.Ensemble`, of a knowledge
            graph a :class:`gtl.train.ranker.Ranker`.

        Raises:
            CheckpointError: If the folder is not a finished or interrupted fine-tuning run, or its
                checkpoint is damaged.
        """
        folder = Path(folder)
        config = read_json(folder / "config.json")
        kind = kind_of(config, folder)
        if not kind.holds_model:
            raise CheckpointError(f"{folder} is {kind.what}, not a fine-tuning run")
        if kind_of_target(config) == "ranking":
            from gtl.train.ranker import Ranker  # which is made of the same parts

            return Ranker.load(folder)
        members = config.get("members") or 1
        if not (folder / "results.json").is_file():
            below = (folder / CANDIDATES).is_dir() or (folder / "race").is_dir()
            why = "its candidates could be compared" if below else ""
            why = "its head was fitted" if "episodes" in config else why
            why = "all of its members were trained" if members > 1 else why
            if why:
                raise CheckpointError(
                    f"{folder} was interrupted before {why}; run it again with resume=True "
                    "(--resume)"
                )
        model = _load_one(folder, config)
        if members == 1:
            return model
        from gtl.train.ensemble import Ensemble, member_folder  # which is made of models

        others = [Model.load(member_folder(folder, i)) for i in range(1, members)]
        return Ensemble([model, *others]).eval()


def kind_of_target(config: Mapping[str, Any]) -> str:
    """What a run was trained for, by its ``config.json``: ``ranking``, or a kind of labels."""
    return str((config.get("target") or {}).get("kind", ""))


def write_model(model: Model, folder: Path | str, members: int = 1) -> RunFolder:
    """Write a single model as a run folder.

    Args:
        model: The model.
        folder: A new folder.
        members: Models of the ensemble of which it is the first.

    Raises:
        CheckpointError: If the folder holds a run already.
    """
    config = {} if model.folder is None else read_json(model.folder.path / "config.json")
    config = {"command": "finetune", "tasks": {}, **config, **model.config(), "members": members}
    written = RunFolder(folder, config)
    state = {f"encoder.{name}": v for name, v in model.encoder.state_dict().items()}
    state |= {f"tasks.{TARGET}.{name}": v for name, v in model.target.state_dict().items()}
    written.save({"best": {"epoch": None, "valid": None, "model": state}})
    written.write_results(model.results)
    return written


def build_target(
    encoder: Encoder,
    target: Mapping[str, Any],
    head: Any,
    readout: Any,
    links: Mapping[str, Any] | None = None,
    class_weights: Any = None,
    properties: Mapping[str, int] | None = None,
) -> Supervised:
    """The supervised task with its predictor.

    Args:
        encoder: Its ``width`` sizes the predictor.
        target: ``kind``, ``outputs`` and ``level``.
        head: Name, mapping or instance.
        readout: Likewise, or a list of those; ignored when the items are not graphs.
        links: Options of :class:`gtl.tasks.links.Links`.
        class_weights: As for :class:`gtl.tasks.Supervised`.
        properties: Columns of the properties that the head reads, by name.
    """
    items = KINDS_OF_ITEMS[target["level"]]
    pair = Links.of(links).features if items is PairItems else None
    width = encoder.width
    pool = as_readout(readout, width) if items.has_readout else None
    width = getattr(pool, "width", width)
    beside = PropertyInput(properties, width) if properties else None
    width += beside.width if beside else 0
    predictor = Predictor(HEADS.build(head, width, target["outputs"]), pool, pair, beside)
    return Supervised(
        predictor,
        kind=target["kind"],
        outputs=target["outputs"],
        links=links,
        class_weights=class_weights,
    )


def encoder_config(encoder: Encoder) -> dict[str, Any]:
    """Description of an encoder in a run folder: ``schema``, ``encoder`` and ``adapter``.

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
    encoder: Any = ENCODERS.build(spec, Schema.from_json(config["schema"]))
    adapter = config.get("adapter")
    named = adapter if isinstance(adapter, Mapping) else {"default": adapter}
    for name, parts in named.items():
        encoder = encoder if parts is None else attach(encoder, parts, name)
    for key in ("active_adapter", "adapter_in_use"):  # the second in older run folders
        if key in config:
            encoder.set_adapter(config[key])
    built: Encoder = encoder
    return built


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


def _load_one(folder: Path, config: Mapping[str, Any]) -> Model:
    """The model whose weights a run folder itself holds."""
    weights = best_weights(folder)
    encoder = encoder_from_config(config, folder)
    how = [config[name] for name in ("head", "readout")]
    how += [config.get(name) for name in ("links", "class_weights", "properties")]
    target = build_target(encoder, config["target"], *how)
    load_part(encoder, weights, "encoder.", folder)
    load_part(target, weights, f"tasks.{TARGET}.", folder)
    names = config.get("labels")
    labels = None if names is None else LabelNames.from_json(names)
    model = Model(encoder, target, labels, config.get("fan_out"))
    ended = folder / "results.json"
    model.results = read_json(ended) if ended.is_file() else {}
    model.history = read_metrics(folder)
    if "data" in config:
        model.trained_on = {
            "spec": config["data"],
            "checksum": config["data_checksum"],
            "items_checksum": config.get("items_checksum"),
        }
    return model.eval()
