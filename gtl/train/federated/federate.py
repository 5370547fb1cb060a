"""Federated fine-tuning: clients with data of their own train one model, and adapters travel.

McMahan et al. 2017 (FedAvg); adapters in the place of whole models are those of Elvebakken et al.
2023, "Adaptive parameterization of deep learning models for federated learning".
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from gtl.adapters import AdaptedEncoder
from gtl.catalog import ENCODERS
from gtl.data.dataset import Dataset
from gtl.data.properties import property_names, with_properties
from gtl.errors import ConfigError
from gtl.heads.closed_form import ClosedForm
from gtl.report.federated_plot import plot_bytes
from gtl.roles import Encoder
from gtl.tasks import Supervised
from gtl.train.defaults import training_settings, with_defaults
from gtl.train.federated.division import divide, labeled_items
from gtl.train.federated.federation import Federation
from gtl.train.federated.flower import flower
from gtl.train.federated.outcome import bounds_of, in_process, results_of
from gtl.train.federated.partitions import number_of_ids
from gtl.train.federated.plan import Plan
from gtl.train.federated.statistics_head import head_for
from gtl.train.footprint import footprint
from gtl.train.labels import LabelNames
from gtl.train.model import TARGET, Model
from gtl.train.resolve import as_dataset, check_fan_out
from gtl.train.session import Session
from gtl.train.settings import Settings
from gtl.train.step import TaskModel
from gtl.train.target import check_labels, set_aside, target_task

CLIENTS = 10

log = logging.getLogger(__name__)


def federate(
    encoder: Any,
    dataset: Dataset,
    *,
    clients: int | None = None,
    partition: Any = "iid",
    rounds: int = 50,
    local_epochs: int = 1,
    strategy: Any = "fedavg",
    adapter: Any = "parallel",
    head: Any = "linear",
    readout: Any = "mean",
    properties: Sequence[str] | str | None = None,
    share_head: str | None = None,
    low_rank: str = "freeze",
    batch_norm: str = "average",
    fraction: float = 1.0,
    drop_out: float = 0.0,
    minimum: int = 1,
    compress: str | None = None,
    bounds: bool = False,
    batch_size: int = 32,
    fan_out: Sequence[int | None] | None = None,
    lr: float | None = None,
    rates: Mapping[str, float] | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
    optimizer: str = "adam",
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Model:
    """Train one model on data that are divided among clients, in rounds.

    In a round clients train from the global model on their own data, and the server averages what
    they have then. It runs in this process, by the apps and strategies of Flower; the same apps run
    on several machines, see :mod:`gtl.train.federated.deployment`.

    Args:
        encoder: As for :func:`gtl.finetune`; an instance is trained in place.
        dataset: Labeled data of graphs, or of the nodes of one graph, with the splits ``train``,
            ``valid`` and ``test``; each client gets a part of each.
        clients: Number of clients; 10 by default, and as many as there are ids of a natural
            partition.
        partition: How items are divided: ``iid``, ``dirichlet``, ``pathological``, ``shards``,
            ``natural`` or ``communities``, or a mapping with options, as ``{"name": "dirichlet",
            "alpha": 0.1}``. A client has the graph that its nodes induce.
        rounds: Rounds.
        local_epochs: Passes of a client over its training items in a round.
        strategy: ``fedavg``, ``fedavgm``, ``fedadam`` or ``fedprox``, or a mapping with options of
            Flower's class.
        adapter: What is trained and travels beside the head, as for :func:`gtl.finetune`. ``None``
            trains the whole encoder, which travels.
        head: Vectors to predictions.
        readout: Node vectors to graph vectors, for graph-level data.
        properties: Properties of graphs for the head, as for :func:`gtl.finetune`; none by default.
        share_head: ``average``, ``local`` or ``statistics``: heads are averaged, stay with their
            clients, or are fitted to statistics of classes which clients send and which add up
            exactly. The last is for heads with a closed form, and their default; items have one
            class each, or one binary label, whose head then has ``binary=True``.
        low_rank: ``freeze``, ``product`` or ``factors``, for the adapter ``lora``: one factor is
            frozen at a common start, products are averaged, or factors are, which is not exact.
        batch_norm: ``average``, ``frozen`` or ``local``: running statistics of batch norms are
            averaged, stay as they were, or stay with their clients, which keep scale and shift too.
            An encoder with adapters is frozen, and so are its batch norms.
        fraction: Share of the clients that are drawn for a round.
        drop_out: Chance that a drawn client is lost before it replies.
        minimum: Usable replies that a round needs. With fewer the model stays as it was.
        compress: ``float16`` or ``int8``: how numbers are sent; as they are by default.
        bounds: Train each client alone, and one client with all data, too.
        batch_size: Items per step; 0 for all. At node level it always is so without ``fan_out``.
        fan_out: Neighbors to sample at each hop, as for :func:`gtl.finetune`.
        lr: Learning rate of the clients; by default that of :func:`gtl.finetune`.
        rates: Learning rates of parts by name.
        weight_decay: Weight decay, of all or by part.
        optimizer: ``adam``, ``adamw`` or ``sgd``; it starts anew in each round.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write, with a round where others have an epoch.
        resume: Continue after the last round in ``out``.

    Returns:
        The global model of the round that the clients' validation data chose. ``results`` has,
        beside the usual, what :func:`gtl.train.federated.outcome.results_of` and, with ``bounds``,
        :func:`gtl.train.federated.outcome.bounds_of` give.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    arguments = dict(locals())
    flower()  # without it nothing can be done, so say so at once
    dataset = arguments["dataset"] = as_dataset(dataset)
    check_labels(dataset)
    with Session("federate", dataset, seed=seed, device=device, out=out, resume=resume) as session:
        made = prepared(session, arguments)
        federation, tuned = made.federation, made.model
        folder = session.open(
            {
                **tuned.config(),
                "items_checksum": None if out is None else dataset.checksum(labels=False),
                "pretrained": session.origin,
                "tasks": {},
                "partition": _plain(partition),
                "local_epochs": local_epochs,
                **{k: v for k, v in federation.settings.to_json().items() if k not in _OTHERS},
                **federation.plan.to_json(),
                "bounds": bounds,
            }
        )
        record = in_process(federation, folder)
        outcome = results_of(federation, record, made.data)
        sent = outcome["bytes"]["training"]
        results = {
            "metric": made.data.metric,
            **outcome,
            **({"bounds": bounds_of(federation, made.data)} if bounds else {}),
            "footprint": footprint(federation.model, record.seconds, communicated_bytes=sent),
        }
        with federation.at(record.best, None, record.statistics):
            pass  # the model that is returned shares the modules of the federation
        tuned.history, tuned.folder = record.lines, folder
        tuned.results = session.close(results)
        if folder is not None:
            plot_bytes({"": record.lines}, made.data.metric, folder.path / "plots")
    if isinstance(tuned.encoder, AdaptedEncoder):
        tuned.encoder.forget()
    return tuned.eval()


@dataclass(frozen=True)
class Prepared:
    """A federation before its first round.

    Attributes:
        federation: Model, data of the clients and plan.
        model: The same model, as it is returned.
        data: The whole data, with the properties that the head reads.
    """

    federation: Federation
    model: Model
    data: Dataset


def prepared(session: Session, arguments: Mapping[str, Any]) -> Prepared:
    """The federation that the arguments of :func:`federate` ask for; it is the same every time."""
    dataset: Dataset = arguments["dataset"]
    given = with_defaults(arguments["encoder"], dataset.level, dataset.contents.node_features())
    encoder, _ = session.encoder(given)
    fan_out = check_fan_out(arguments["fan_out"], dataset, encoder)
    names = property_names(arguments["properties"] or ())
    data = with_properties(dataset, names)
    settings = _settings(arguments, data.level, ENCODERS.name_of(encoder), fan_out)
    base: Encoder = session.adapted(encoder, arguments["adapter"])
    items: Tensor = set_aside(data, 0.0, session.rng).train
    head = head_for(arguments["head"], data, arguments["share_head"])
    how = (head, arguments["readout"], None, None, names)
    target: Supervised = target_task(base, data, items, *how)
    model = session.placed(TaskModel(base, {TARGET: target}))
    tuned = Model(base, target, LabelNames.of(data), fan_out)
    plan = _plan(arguments, isinstance(tuned.predictor.head, ClosedForm))
    parts = divide(data, arguments["partition"], plan.clients, plan.seed)
    idle = sum(not len(labeled_items(part)) for part in parts.datasets)
    if idle:
        log.warning(
            "%d of %d clients have no labeled training item and train nothing; lower `clients`, or "
            "divide by another `partition`",
            *(idle, plan.clients),
        )
    assert tuned.labels is not None
    federation = Federation(model, parts, plan, settings, tuned.labels)
    if not federation.layout.shapes and plan.share_head != "statistics":
        raise ConfigError(
            "nothing travels: no parameter is trained and shared; give an `adapter`, or share the "
            "head (share_head='average')"
        )
    return Prepared(federation, tuned, data)


_OTHERS = ("epochs", "patience")  # settings of training that a federation has others for


def _plan(arguments: Mapping[str, Any], closed_form: bool) -> Plan:
    number = arguments["clients"]
    if number is None:
        number = number_of_ids(arguments["partition"]) or CLIENTS
    names = ("rounds", "strategy", "fraction", "drop_out", "minimum", "compress", "low_rank")
    chosen = {name: arguments[name] for name in (*names, "batch_norm", "seed")}
    shared = arguments["share_head"] or ("statistics" if closed_form else "average")
    return Plan(number, share_head=shared, **chosen)


def _settings(
    arguments: Mapping[str, Any], level: str, encoder: str, fan_out: Sequence[int | None] | None
) -> Settings:
    """Settings of the training at a client."""
    chosen = training_settings(level, encoder, {**arguments, "epochs": None, "patience": None})
    chosen |= {"epochs": arguments["local_epochs"], "patience": 0}
    given = {name: arguments[name] for name in ("batch_size", "optimizer", "rates")}
    return Settings(**given, fan_out=fan_out, **chosen)


def _plain(part: Any) -> Any:
    """A partition as JSON holds it."""
    if isinstance(part, (Tensor, np.ndarray, np.generic)):
        return part.tolist()
    if isinstance(part, (list, tuple)):
        return [_plain(value) for value in part]
    return {k: _plain(v) for k, v in part.items()} if isinstance(part, Mapping) else part
