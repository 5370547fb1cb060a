"""Options of the command line that repeat a run, from its ``config.json``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.errors import ConfigError

_LOOPS = {"fewshot": "few_shot"}  # functions whose verb has another name


def with_run_config(words: Sequence[str]) -> list[str]:
    """``--config RUN/config.json`` as the options that the run was started with."""
    for place, word in enumerate(words[:-1]):
        path = Path(words[place + 1])
        if word == "--config" and path.name == "config.json":
            others = [*words[1:place], *words[place + 2 :]]
            return [words[0], *_options_of(read_json(path), words[0]), *others]
    return list(words)


def _options_of(config: Mapping[str, Any], verb: str) -> list[str]:
    """The words that start a run like the one with this configuration."""
    import gtl

    if config.get("command") != verb:
        raise ConfigError(f"that is the config.json of gtl {config.get('command')}, not of {verb}")
    if config.get("pretrained") is not None:
        raise ConfigError(
            f"that run began with the encoder of {config['pretrained']!r}, which its config.json "
            "does not hold; name its folder or file: --encoder PATH, and the other options"
        )
    names = {"tasks": "tasks" if verb == "pretrain" else "auxiliary", "baseline": "encoder"}
    known = inspect.signature(getattr(gtl, _LOOPS.get(verb, verb))).parameters
    words = []
    for key, value in config.items():
        name = names.get(key, key)
        if name not in known or key.startswith("data") or value in (None, {}):
            continue  # what a run records beside its options: versions, checksums, label names
        value = list(value.values()) if key == "tasks" else value
        words += [f"--{name}", value if isinstance(value, str) else json.dumps(value)]
    data = {"spec": config["data"], **config["data_options"]}
    root = config.get("data_root")
    return ["--data", json.dumps(data), *(["--root", root] if root else []), *words]
