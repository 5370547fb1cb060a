"""Titles of methods, made from the settings in which they differ."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Settings = Mapping[str, Any]

# Settings of the data and the random state, which make no method.
_NOT_METHOD = {
    *(
        "data",
        "data_options",
        "data_checksum",
        "items_checksum",
        "data_root",
        "schema",
        "target",
        "labels",
        "ranks",
        "compressed_from",
    ),
    *("seed", "versions"),
}
_NAMED_IN_FORECASTS = ("baseline", "encoder", "adapter", "memory")
_LEARNED_INSTEAD = ("adapter", "memory")  # beside these, an encoder is frozen by default
_HEAD_ALONE = "head alone"  # a frozen encoder without adapters
_NO_PART = (None, _HEAD_ALONE)
_ABSENT = object()
# Former names of options, in the configs of older runs.
_PRESENT = {"mass": "auxiliary_weight"}


def all_settings(configs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What makes a method of each config: its settings without data and seeds, as flat keys.

    Parts become ``role`` and ``role.option``, auxiliary tasks ``tasks`` (their names) and
    ``tasks.name.option``. A weighting without tasks is not used and left out. A pre-training run
    loses the seed in its name if it was made for one seed alone.

    Example:
        >>> config = {"data": "demo:shapes", "seed": 1, "encoder": {"name": "gin", "width": 8},
        ...           "pretrained": "drugs-1", "tasks": {}, "weighting": {"name": "equal"}}
        >>> all_settings([config])
        [{'encoder': 'gin', 'encoder.width': 8, 'pretrained': 'drugs', 'tasks': ()}]
    """
    users: dict[str, set[Any]] = defaultdict(set)
    for config in configs:
        users[config.get("pretrained") or ""].add(config.get("seed"))
    found = []
    for config in configs:
        flat = _flatten(config)
        name = config.get("pretrained")
        if name and len(users[name]) == 1:
            flat["pretrained"] = _without_seed(name, config.get("seed"))
        found.append(flat)
    return found


def titles(groups: Sequence[Sequence[Settings]]) -> list[list[str]]:
    """A short title of each method, different from all others of its data set.

    The title names pre-training, and the weighting, or is ``target only`` where there are no
    auxiliary tasks. That of a forecast names encoder, adapter and memory, or the baseline. Other
    settings follow in brackets if they differ between methods of one data set; one of their values
    is left out: the default, else that of most methods. Settings that differ only between data
    sets are left out.

    Args:
        groups: Settings of the methods of each data set.

    Example:
        >>> plain, helped = {"tasks": (), "lr": 0.1}, {"tasks": ("infomax",), "lr": 0.1}
        >>> equal, learned = {**helped, "weighting": "equal"}, {**helped, "weighting": "aux_ts"}
        >>> titles([[plain, equal, learned, {**learned, "weighting.auxiliary_weight": 1.0}]])
        [['target only', 'equal', 'aux_ts', 'aux_ts (auxiliary_weight=1)']]
    """
    everything = [method for group in groups for method in group]
    several = any(
        len({m["pretrained"] for m in group if "pretrained" in m}) > 1 for group in groups
    )
    omitted = {key: _omitted(key, everything) for key in _varying(groups)}
    leaves = Counter(
        key.rpartition(".")[2] for key in {key: None for method in everything for key in method}
    )

    def title(method: Settings) -> str:
        more = []
        for key, usual in omitted.items():
            value = method.get(key, _ABSENT)
            named = is_forecast(method) and key in _NAMED_IN_FORECASTS
            if not named and value not in (_ABSENT, usual.get(_scope(key, method), _ABSENT)):
                more.append(_in_words(key, value, everything, leaves))
        base = _base(method, several)
        return f"{base} ({', '.join(more)})" if more else base

    return [[title(method) for method in group] for group in groups]


def is_target_only(method: Settings) -> bool:
    """Whether a method trains a model on the target without auxiliary tasks."""
    alone = not method.get("tasks") and not is_federated(method)
    return alone and not is_forecast(method)


def is_federated(method: Settings) -> bool:
    """Whether a method trains on data of several clients."""
    return "local_epochs" in method


def is_forecast(method: Settings) -> bool:
    """Whether a method forecasts a series."""
    return method.get("command") == "forecast"


def _is_simple_forecast(method: Settings) -> bool:
    return is_forecast(method) and not {"adapter", "memory"} & method.keys()


# What others are compared with by default: methods of the first test that any method passes.
PLAIN: Sequence[Callable[[Settings], bool]] = (
    lambda method: is_target_only(method) and "pretrained" not in method,
    is_target_only,
    lambda method: "baseline" in method,
    _is_simple_forecast,
)


def differing(groups: Mapping[str, Sequence[Settings]]) -> list[str]:
    """Settings in which the methods of one title differ, from data set to data set.

    Args:
        groups: Settings of the methods of each title.
    """
    keys = {
        key: None
        for methods in groups.values()
        for key in _keys(methods)
        if len({_frozen(method.get(key, _ABSENT)) for method in methods}) > 1
    }
    return list(keys)


def _flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in _NOT_METHOD or value is None:
            continue
        if key == "tasks":
            flat[key] = tuple(sorted(value))
            for name, options in value.items():
                flat.update(_options(f"tasks.{name}", options, config))
        elif key == "weighting" and not config.get("tasks"):
            continue
        elif key == "guard" and (value or not config.get("tasks")):
            continue  # on by default
        elif key == "frozen" and value == any(config.get(k) for k in _LEARNED_INSTEAD):
            continue  # the default
        elif key == "weighting" and isinstance(value, list):  # candidates
            flat[key] = " or ".join(dict.fromkeys(str(part["name"]) for part in value))
            flat[f"{key}.choices"] = _frozen(value)
        elif key == "command" and value == "compress":
            flat[key] = "finetune"  # a compression is named by its steps
        elif key in ("adapter", "compression"):
            parts = list(value.values())[-1] if isinstance(value, Mapping) else value
            flat[key] = " + ".join(part["name"] for part in parts) or _HEAD_ALONE
            for part in parts:
                flat.update(_options(f"{key}.{part['name']}", part, config))
        elif isinstance(value, Mapping):
            flat[key] = value.get("name", "")
            flat.update(_options(key, value, config))
        else:
            flat[key] = _frozen(value)
    return flat


def _options(
    role: str, options: Mapping[str, Any], config: Mapping[str, Any]
) -> Iterable[tuple[str, Any]]:
    for name, value in options.items():
        own_seed = name == "seed" and value == config.get("seed")
        if name != "name" and not own_seed:
            yield f"{role}.{_PRESENT.get(name, name)}", _frozen(value)


def _without_seed(name: str, seed: Any) -> str:
    """``drugs-1`` and ``seed1_drugs`` of seed 1 are both ``drugs``; ``seed-1`` is ``seed``."""
    shorter = re.sub(rf"(^|[-_.])(seed)?[-_.]?{seed}(?=$|[-_.])", "", name)
    return shorter.strip("-_.") or "seed"


def _varying(groups: Sequence[Sequence[Settings]]) -> list[str]:
    """Keys that differ between comparable methods of one data set."""
    found: dict[str, None] = {}
    for group in groups:
        for key in _keys(group):
            values = defaultdict(set)
            for method in group:
                if _scope(key, method) is not None:
                    values[_scope(key, method)].add(_frozen(method.get(key, _ABSENT)))
            if any(len(seen) > 1 for seen in values.values()):
                found[key] = None
    return [key for key in found if key not in ("weighting", "pretrained")]


def _scope(key: str, method: Settings) -> Any:
    """Among which methods a key is compared: options of a part, among those that have the part.

    Baselines of forecasts have no part to train, so settings of training are not compared to them.
    Trainings on the data of several clients have settings of their own.
    """
    if "baseline" in method and key not in method:
        return None
    role, dot, rest = key.partition(".")
    if role == "tasks":
        has = not dot or rest.rpartition(".")[0] in method.get("tasks", ())
        return "tasks" if method.get("tasks") and has else None
    if dot:
        return method.get(role)
    return "federated" if is_federated(method) else "all"


def _omitted(key: str, methods: Sequence[Settings]) -> dict[Any, Any]:
    """By scope, the value of a key that titles leave out."""
    values: dict[Any, list[Any]] = defaultdict(list)
    for method in methods:
        values[_scope(key, method)].append(method.get(key, _ABSENT))
    omitted = {}
    for scope, seen in values.items():
        value, count = Counter(seen).most_common(1)[0]
        if _ABSENT in seen:
            omitted[scope] = _ABSENT
        elif 2 * count > len(seen):
            omitted[scope] = value
    return omitted


def _base(method: Settings, several: bool) -> str:
    if is_forecast(method):
        parts = [method[key] for key in _NAMED_IN_FORECASTS if method.get(key) not in _NO_PART]
        return " + ".join(map(str, parts)) or "forecast"
    words = []
    if "pretrained" in method:
        origin = f" ({method['pretrained']})" if several else ""
        words.append(f"pre-trained{origin}")
    if is_federated(method):
        words.append("federated")
    elif not is_target_only(method):
        words.append(str(method.get("weighting", "auxiliary tasks")))
    return " + ".join(words) or "target only"


def _in_words(key: str, value: Any, methods: Sequence[Settings], leaves: Mapping[str, int]) -> str:
    if key == "tasks":
        return _tasks(value, methods)
    if key in ("encoder", "adapter"):
        return str(value)
    leaf = key.rpartition(".")[2]
    short = leaf if leaves[leaf] == 1 else key.removeprefix("tasks.")
    return f"{short}={_shown(value)}"


def _tasks(names: Sequence[str], methods: Sequence[Settings]) -> str:
    known = sorted({name for method in methods for name in method.get("tasks", ())})
    missing = [name for name in known if name not in names]
    if len(names) <= 2:
        return " + ".join(names)
    if not missing:
        return f"all {len(known)} tasks"
    return f"all but {', '.join(missing)}" if len(missing) <= 2 else " + ".join(names)


def _keys(methods: Iterable[Settings]) -> list[str]:
    return list({key: None for method in methods for key in method})


def _frozen(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, (list, dict)) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower() if value is not None else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
