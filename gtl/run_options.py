"""Words of the command line: their long forms, and those that repeat a run."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.errors import ConfigError
from gtl.reader_options import text_value

_PARTS = (  # which may be given by options
    *("encoder", "weighting", "adapter", "head", "readout", "partition", "strategy"),
)
_DATA = ("data", "source", "corpus", "unlabeled")  # likewise, by options of a reader
_SWITCHES = (
    *(
        "--resume",
        "--footprint",
        "--difference",
        "--frozen",
        "--overwrite",
        "--allow_changed",
        "--per_task",
        "--bounds",
    ),
)
_WITH_VALUE = {"search": ("--footprint",)}  # what is a switch of other verbs
_LOOPS = {"fewshot": "few_shot", "adapt": "adapt_domain"}  # functions whose verb has another name


def with_run_config(words: Sequence[str]) -> list[str]:
    """``--config RUN/config.json`` as the options that the run was started with."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        after = place + 1 if equals else place + 2
        path = Path(value if equals else " ".join(words[place + 1 : after]))
        if name == "--config" and path.name == "config.json":
            others = [*words[1:place], *words[after:]]
            starts_anew = any(other.partition("=")[0] == "--encoder" for other in others)
            return [words[0], *_options_of(read_json(path), words[0], starts_anew), *others]
    return list(words)


def _options_of(config: Mapping[str, Any], verb: str, starts_anew: bool = False) -> list[str]:
    """The words that start a run like the one with this configuration.

    Args:
        config: Contents of its ``config.json``.
        verb: What is to be run.
        starts_anew: Whether other words name the encoder to start from.
    """
    import gtl
    from gtl.train.shipped import SHIPPED

    command = config.get("command") if isinstance(config, Mapping) else None
    if command != verb:
        raise ConfigError(f"that is the config.json of gtl {command}, not of {verb}")
    told = starts_anew or verb == "compress"
    shipped = config.get("pretrained") in SHIPPED
    if config.get("pretrained") is not None and not told and not shipped:
        raise ConfigError(
            f"that run began with the encoder of {config['pretrained']!r}, which its config.json "
            "does not hold; name its folder or file beside --config: --encoder PATH"
        )
    names = {"tasks": "tasks" if verb == "pretrain" else "auxiliary", "baseline": "encoder"}
    names |= {"compression": "method"}
    known = inspect.signature(getattr(gtl, _LOOPS.get(verb, verb))).parameters
    words = []
    for key, value in config.items():
        name = names.get(key, key)
        if name == "encoder" and starts_anew:
            continue
        if name == "encoder" and shipped and isinstance(value, Mapping):
            value = {**value, "name": config["pretrained"]}
        if name == "properties" and isinstance(value, Mapping):
            value = list(value)
        if name not in known or key.startswith("data") or value in (None, {}):
            continue  # what a run records beside its options: versions, checksums, label names
        value = list(value.values()) if key == "tasks" else value
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    if "data" not in config:  # a model from memory was compressed
        return words
    data = {"spec": config["data"], **config["data_options"]}
    root = config.get("data_root")
    return ["--data", json.dumps(data), *(["--root", root] if root else []), *words]


def spelled_out(words: Sequence[str]) -> list[str]:
    """Long forms of the words.

    ``--smiles-column`` means ``--smiles_column``, ``--resume`` means ``--resume=true``, and
    ``--data SPEC --data.OPTION VALUE`` means ``--data '{spec: SPEC, OPTION: VALUE}'``, likewise
    for parts.
    """
    spelled = []
    switches = set(_SWITCHES) - set(_WITH_VALUE.get(words[0], ()) if words else ())
    for word, after in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name = "--" + name[2:].replace("-", "_")
            if name in switches and not equals and after not in ("true", "false", "null"):
                equals, value = "=", "true"
        spelled.append(name + equals + value)
    first_words = {**dict.fromkeys(_DATA, "spec"), **dict.fromkeys(_PARTS, "name")}
    for key, first in first_words.items():
        spelled = _joined(spelled, key, first)
    return spelled


def query_of(words: str) -> Any:
    """One query that was written as a list, by name; else the name of a file, unchanged.

    Raises:
        ConfigError: If the list has not three names.

    Example:
        >>> query_of("[00000010, no, ?]"), query_of('["a, b", r, "?"]'), query_of("asked.tsv")
        (['00000010', 'no', '?'], ['a, b', 'r', '?'], 'asked.tsv')
    """
    import yaml

    if not words.startswith("["):
        return words
    quoted = re.sub(r"(?<=[\[,])(\s*)\?(\s*)(?=[,\]])", r"\1'?'\2", words)
    try:
        found = yaml.load(quoted, yaml.BaseLoader)
    except yaml.YAMLError:
        found = None
    if not (isinstance(found, list) and len(found) == 3 and all(isinstance(n, str) for n in found)):
        raise ConfigError(
            f"`--queries` is {words!r}, expected a head, a relation and a tail, one of them ?, as "
            "in '[ann, knows, ?]'; put quotes around a name with punctuation, and several queries "
            "into a file"
        )
    return found


def _joined(words: Sequence[str], key: str, first: str) -> list[str]:
    """``--key VALUE`` and ``--key.OPTION VALUE`` as one mapping, if there are options."""
    import yaml

    if not any(word.startswith(f"--{key}.") for word in words):
        return list(words)
    given: dict[str, Any] = {}
    rest, position = [], 0
    while position < len(words):
        name, equals, value = words[position].partition("=")
        position += 1
        if name != f"--{key}" and not name.startswith(f"--{key}."):
            rest.append(words[position - 1])
            continue
        if not equals:
            value = words[position] if position < len(words) else ""
            position += 1
        if name != f"--{key}" and key in _DATA:
            given[name.partition(".")[2]] = text_value(value)
            continue
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError:
            found = value
        if name == f"--{key}":
            given.update(found if isinstance(found, Mapping) else {first: value})
        else:
            given[name.partition(".")[2]] = found
    return [*rest, f"--{key}", json.dumps(given, default=str)]
