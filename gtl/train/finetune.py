"""Fine-tuning on a labeled target, with auxiliary tasks under a weighting (Han et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from gtl.adapters import Adapted, AdaptedEncoder
from gtl.catalog import ADAPTERS, ENCODERS, TASKS, WEIGHTINGS
from gtl.checks import as_seed
from gtl.data.dataset import Dataset
from gtl.data.properties import property_names, with_properties
from gtl.errors import ConfigError
from gtl.roles import Encoder, Task, Weighting
from gtl.train.candidates import (
    NOTHING_ELSE,
    OtherData,
    Start,
    cache_vectors,
    candidates_of,
    folder_of,
)
from gtl.train.defaults import (
    batch_size_of,
    start_settings,
    training_settings,
    tuning_settings,
    with_defaults,
)
from gtl.train.evaluate import value_on
from gtl.train.fitted_head import start_head
from gtl.train.footprint import footprint, parts_of
from gtl.train.inference_cost import prediction_of
from gtl.train.members import Members, ensemble_results
from gtl.train.model import TARGET, Model
from gtl.train.resolve import as_dataset, as_tasks, check_fan_out, with_needed_properties
from gtl.train.selection import (
    TARGET_ONLY,
    Candidate,
    RandomState,
    select,
    selected,
    weightings_by_name,
)
from gtl.train.session import Session
from gtl.train.settings import Settings
from gtl.train.step import TaskModel
from gtl.train.target import set_aside
from gtl.train.target_kinds import check_options, model_for, target_for
from gtl.train.tuning import Tuning
from gtl.train.unlabeled import Unlabeled, find_unlabeled

_BATCH = 32
_OWN = ("settings_of_steps", "other")  # arguments of fine_tuned that finetune has not


def finetune(
    encoder: Any,
    dataset: Dataset,
    *,
    auxiliary: Any = (),
    weighting: Any = "aux_ts",
    adapter: Any = None,
    head: Any = "linear",
    readout: Any = None,
    properties: Sequence[str] | str | None = None,
    links: Mapping[str, Any] | None = None,
    class_weights: Any = None,
    unlabeled: Any = None,
    test_inputs: bool | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    fan_out: Sequence[int | None] | None = None,
    lr: float | None = None,
    rates: Mapping[str, float] | None = None,
    weight_decay: float | Mapping[str, float] | None = None,
    patience: int | None = None,
    optimizer: str = "adam",
    warmup: float | None = None,
    schedule: str | None = None,
    head_start: str | None = None,
    head_first: int | None = None,
    batch_norm: str | None = None,
    average: float | None = None,
    members: int = 1,
    meta_share: float = 0.0,
    guard: bool = True,
    seed: int = 0,
    device: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
) -> Any:
    """Train an encoder and a head on a labeled target, with auxiliary tasks if wanted.

    The epoch is selected on validation data and the test split is evaluated once, at the end. What
    is not given has the value of :mod:`gtl.train.defaults` for the level of the data, or for an
    encoder that comes with gtl. Several processes (``torchrun``) share the steps, of which
    ``batch_size`` is that of all; :mod:`gtl.train.distributed` says what is equal to one process.

    Args:
        encoder: Name or mapping, run or its folder, checkpoint, or instance. An instance is trained
            in place; a checkpoint is a published one. Options that are not given are those of
            :func:`gtl.train.defaults.encoder_defaults`.
        dataset: Labeled data with the splits ``train``, ``valid`` and ``test``; or a knowledge
            graph (``kg:``), whose triples are ranked.
        auxiliary: Auxiliary tasks: a name, a mapping with options, an instance, or a list of those.
            Tasks that were pre-trained with the encoder continue from there.
        weighting: How much each task, each sample, counts. Without auxiliary tasks it is not used.
            Several (a list, or one with :attr:`gtl.roles.Weighting.choices`, as ``aux_ts`` has)
            are candidates among which validation data select; without any the first is used.
        adapter: Freeze the encoder and train this instead, or a list of those. It is a name, a
            mapping with options or an instance, such as ``["bottleneck", "layerwise"]``. An empty
            list trains the head alone; ``None`` trains the encoder.
        head: Vectors to predictions. Of a knowledge graph it is the score of its triples:
            ``rotate`` (the default), ``transe``, ``distmult`` or ``complex``.
        readout: Node vectors to graph vectors, for graph-level data. A list, such as
            ``["mean", "max"]``, is several side by side. By default the mean.
        properties: Properties of graphs for the head. It reads them beside the vectors. For
            molecules ``descriptors`` and ``morgan`` are computed where they are missing. The
            former are the default for the encoder ``molecules``.
        links: Options for link-level data. These are ``negatives`` drawn per link (1, or 0 if the
            training split has some), ``corrupt`` (``both``, ``one`` or ``second`` end), ``remove``
            the links of a batch from its graph (true), ``features`` of a pair (``product``,
            ``mean``, ``l1`` or ``l2``). Of triples they are ``negatives`` of each side (256),
            ``temperature`` of their weights (1) and ``remove``: ``triples`` of the batch, their
            ``pairs`` or ``none``.
        class_weights: How much the loss of each class counts, or ``"balanced"``. Balanced is
            inverse to its share of the training labels; numbers are given for each class, for
            binary labels of 0 and of 1.
        unlabeled: Data for tasks on unlabeled items. They are a data set, its spec, or a mapping of
            ``spec`` and options, for tasks such as ``pseudo_label``. By default they are items of
            ``dataset``: nodes outside the training split; graphs without a label, or in no split.
        test_inputs: Whether test items are among them. Their labels are not read.
            By default they are at node level, where they are part of the graph, and are not at
            graph level. ``results["unlabeled"]`` says so.
        epochs: Passes over the training split, at most. By default 50, at node level 300, of
            triples 100.
        batch_size: Items a step; 0: all. By default 32, of triples 1024 or
            a tenth of them. At node level it
            always is 0 without ``fan_out``. At link level each step encodes the whole graph, so a
            batch should have thousands of pairs.
        fan_out: Incoming edges drawn of each node at each hop. An example is ``[10, 10]``, for
            node-level data that is too large to be seen whole: a number for each layer of the
            encoder; ``None`` among them draws all.
        lr: Learning rate; 1e-3 by default, 1e-2 at node level.
        rates: Learning rates of parts by name. Parts are ``encoder``, ``head``, adapters and
            auxiliary tasks: ``{"head": 5e-3, "layerwise": 1e-3}``.
        weight_decay: Weight decay, of all or by part. Parts are those of ``rates`` and
            ``first``, the encoder's first layer. By default 0, at node level ``{"first": 5e-4}``.
        patience: Epochs without progress that end training. Progress is a better validation value;
            0 is for never. It is 100 by default at node level, 10 of triples, else 0.
        optimizer: ``adam``, ``adamw``, ``sgd``. The last has momentum 0.9.
        warmup: Epochs over which learning rates rise linearly; 0 by default.
        schedule: How rates fall: ``cosine``, ``linear`` or ``constant``. After the warm-up they
            fall to 0 until the last epoch; ``constant`` is the default.
        head_start: ``fitted``, ``imprinted`` or ``random``, how a linear head begins. A regularized
            fit to the vectors, or the directions of the class means (Qi et al. 2018), is itself
            kept where no epoch is better on validation data.
        head_first: Epochs that train heads alone at first. The encoder is frozen in them, by
            default 0, and warm-up follows them.
        batch_norm: ``frozen`` if batch norms keep their statistics. By default, ``train``, those
            of the encoder follow the batches.
        average: Epochs over which weights are averaged; 0 by default. The exponential average
            is what is validated and kept.
        members: Models of an ensemble, whose mean is the prediction; 1 for none. They are the same
            run with other seeds, the first with the one given; an instance that is given as
            ``encoder`` is trained in place by the first, copies of it by the others.
        meta_share: Share of the training split set aside for the meta loss of look-aheads. With 0
            it is computed on alternating halves of each batch.
        guard: Train on the target only, too. Beside auxiliary tasks that model is returned
            where it is better on validation data: tasks that hurt then cost time but no accuracy.
            It is, bit for bit, the run without auxiliary tasks.
        seed: Reproduces the run bit for bit. That holds on one machine.
        device: Where to train; by default where the encoder is.
        out: Run folder to write.
        resume: Continue in ``out``.

    Returns:
        The model at its best epoch, with ``results`` and ``history``; of a knowledge graph a
        :class:`gtl.train.ranker.Ranker`. Where several were
        trained, ``results["selection"]`` has the values of each, and ``history`` is that of the
        best one with auxiliary tasks, also where the training on the target only was selected.
        With ``members`` a :class:`gtl.train.ensemble.Ensemble`: ``results["members"]`` has the
        values of each, and ``history`` is that of the first.

    Raises:
        GtlError: On any unusable argument, before anything is written.
    """
    seed, head = as_seed(seed), "linear" if head is None else head
    return fine_tuned(**locals())


def fine_tuned(
    encoder: Any,
    dataset: Dataset,
    *,
    auxiliary: Any,
    weighting: Any,
    adapter: Any,
    head: Any,
    links: Mapping[str, Any] | None,
    class_weights: Any,
    unlabeled: Any,
    test_inputs: bool | None,
    fan_out: Sequence[int | None] | None,
    members: int,
    meta_share: float,
    guard: bool,
    seed: int,
    device: str | None,
    out: Path | str | None,
    resume: bool,
    other: OtherData = NOTHING_ELSE,
    **settings_of_steps: Any,
) -> Model:
    """Train as :func:`finetune` says, with validation or look-ahead on other data.

    Args:
        encoder: This and what is not named here as for :func:`finetune`, all of it given.
        other: What validates an epoch, and what look-aheads are computed on.
    """
    arguments = {k: v for k, v in locals().items() if k not in _OWN} | settings_of_steps
    dataset = arguments["dataset"] = with_needed_properties(as_dataset(dataset), auxiliary)
    check_options(dataset, arguments)
    several = Members(members, partial(fine_tuned, other=other), arguments)
    with Session("finetune", dataset, seed=seed, device=device, out=out, resume=resume) as session:
        features = dataset.contents.node_features()
        base, trained = session.encoder(with_defaults(encoder, dataset.level, features))
        fan_out = check_fan_out(fan_out, dataset, base)
        arguments = start_settings(session.origin, arguments)
        properties = property_names(arguments["properties"])
        dataset = with_properties(dataset, properties)
        settings = settings_of(arguments, dataset, ENCODERS.name_of(base), fan_out)
        base = session.adapted(base, adapter)
        items = set_aside(dataset, meta_share, session.rng)
        how = (head, arguments["readout"], links, class_weights, properties)
        target = target_for(base, dataset, items.train, settings.batch_size, *how)
        before_tasks = RandomState.of(session.rng)  # where a run without auxiliary tasks starts
        extra = find_unlabeled(dataset, auxiliary, unlabeled, test_inputs, properties)
        helpers = as_auxiliary(auxiliary, dataset, base, trained, extra, len(items.train))
        model = session.placed(TaskModel(base, {TARGET: target, **helpers}))
        start_head(base, target, dataset, items.train, seed, settings.tuning)
        start = Start(model, before_tasks, RandomState.of(session.rng), _data(extra), other)
        settings.check(model)
        weightings = as_weightings(weighting, used=bool(helpers))
        start = replace(start, sharing=session.sharing(fan_out, helpers, weightings))
        tuned = model_for(base, target, dataset, fan_out)
        folder = session.open(
            {
                **tuned.config(),
                "items_checksum": None if out is None else dataset.checksum(labels=False),
                "pretrained": session.origin,
                "tasks": {name: TASKS.spec(task) for name, task in helpers.items()},
                "weighting": _one_or_all([WEIGHTINGS.spec(how) for how in weightings]),
                **settings.to_json(),
                "meta_share": meta_share,
                "guard": guard,
                "members": members,
                **({} if extra is None else extra.config()),
            }
        )
        choose = bool(len(dataset.split.get("valid", ())))
        named = weightings_by_name(weightings, choose, target_only=bool(guard and helpers))
        candidates = candidates_of(named, start, dataset, items, settings, seed, folder, resume)
        cache_vectors(base, dataset, items)
        best, *others = select(candidates, settings.epochs, f"finetune {dataset.spec}")
        shown = best if best.name != TARGET_ONLY or not others else others[0]
        model.load_state_dict(best.training.finish(), strict=False)
        tuned.history, tuned.folder = shown.training.history.epochs, folder
        if folder is not None and len(candidates) > 1:
            folder.take(folder_of(shown), folder_of(best))
        results = results_of(tuned, dataset, best, candidates)
        results |= {} if extra is None else {"unlabeled": extra.findings()}
        if members > 1:
            tuned = several.ensemble(tuned)
            results = ensemble_results(tuned, dataset, {**results, "seed": seed})
        tuned.results = session.close(results, tuned, dataset)
    if isinstance(base, AdaptedEncoder):
        base.forget()
    found: Model = tuned.eval()
    return found


def settings_of(
    arguments: Mapping[str, Any],
    dataset: Dataset,
    encoder: str,
    fan_out: Sequence[int | None] | None,
) -> Settings:
    """Settings of the steps: what was given, and defaults for the data and the encoder by name."""
    given = {name: arguments[name] for name in ("optimizer", "rates")}
    level, items = dataset.level, len(dataset.items("train"))
    size = batch_size_of(level, arguments["batch_size"], _BATCH, items)
    tuning = Tuning(**tuning_settings(arguments))
    chosen = training_settings(level, encoder, arguments)
    return Settings(**given, batch_size=size, fan_out=fan_out, tuning=tuning, **chosen)


def as_weightings(weighting: Any, used: bool) -> list[Weighting]:
    """The given weightings, built: a wrong name is refused also where none is used."""
    several = isinstance(weighting, (list, tuple))
    if several and not weighting:
        raise ConfigError("`weighting` is an empty list; name at least one")
    built = [WEIGHTINGS.build(part) for part in (weighting if several else [weighting])]
    return built if used else [WEIGHTINGS.build("equal")]


def as_auxiliary(
    auxiliary: Any,
    dataset: Dataset,
    encoder: Encoder,
    trained: Mapping[str, Task],
    unlabeled: Unlabeled | None = None,
    labeled: int = 0,
) -> dict[str, Task]:
    """The auxiliary tasks by name.

    Args:
        auxiliary: As for :func:`finetune`.
        dataset: Likewise.
        encoder: What they train.
        trained: Tasks that were trained with the encoder.
        unlabeled: Items for the tasks that use some.
        labeled: Number of training items.

    Raises:
        ConfigError: If there are some and nothing in the encoder may move.
    """
    more = None if unlabeled is None else unlabeled.data
    tasks = as_tasks(auxiliary, dataset, encoder, trained, more)
    for task in tasks.values():
        if task.uses_unlabeled:
            own = as_dataset(task.data) if task.data is not None else more
            assert own is not None
            task.expect(labeled, len(own.split.get("train", own.items("all"))))
    if tasks and not any(p.requires_grad for p in encoder.parameters()):
        raise ConfigError(
            "auxiliary tasks help through the encoder, and all of it is frozen; attach an "
            "`adapter`, or leave them out"
        )
    return tasks


def results_of(
    model: Model, dataset: Dataset, best: Candidate, candidates: Sequence[Candidate]
) -> dict[str, Any]:
    """What ``results.json`` holds of a trained model.

    Args:
        model: At the chosen epoch.
        dataset: Its target.
        best: The candidate that was selected.
        candidates: All that were trained, in order.
    """
    chosen, job = best.training.history.best, best.training.job
    seen = chosen.get("seen", {})  # where something else than the metric validated
    return {
        "metric": dataset.metric,
        "valid": value_on(model, dataset, "valid") if seen else chosen["valid"],
        "test": value_on(model, dataset, "test"),
        "epoch": chosen["epoch"],
        "footprint": footprint(
            model,
            sum(c.training.history.seconds for c in candidates),
            parts={k: v for c in (*candidates, best) for k, v in parts_of(c.model).items()},
            optimizer=job.optimizer,
            epochs=best.training.history.epochs,
            metric=dataset.metric,
            samples=len(job.items),
            predict=prediction_of(model, dataset),
        ),
        **seen,
        **findings_of(model.encoder),
        **({"selection": selected(best, candidates)} if len(candidates) > 1 else {}),
    }


def findings_of(encoder: Encoder) -> dict[str, Any]:
    """What the adapters in use found out about the task, under ``adapter``; may be empty."""
    parts = encoder.parts() if isinstance(encoder, Adapted) else []
    found = {ADAPTERS.name_of(part): part.findings() for part in parts}
    found = {name: values for name, values in found.items() if values}
    return {"adapter": found} if found else {}


def _data(extra: Unlabeled | None) -> Dataset | None:
    return None if extra is None else extra.data


def _one_or_all(specs: list[dict[str, Any]]) -> Any:
    return specs[0] if len(specs) == 1 else specs
