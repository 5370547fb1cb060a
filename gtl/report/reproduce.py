"""Commands that repeat runs, and the configurations that these read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from gtl.report.runs import RunRecord
from gtl.report.sections import Listing, Section

_NO_VERB = ("finetune_by_episodes", "blend")  # functions of Python alone


def reproduction(runs: Sequence[RunRecord]) -> Section:
    """How each run is repeated: its command, and the ``config.json`` that the command reads.

    Args:
        runs: All runs, in order.
    """
    note = (
        "Each command repeats a run from its config.json, which is shown below it and can be saved "
        "elsewhere. The same versions on the same machine give the same numbers bit for bit."
    )
    listings = [
        Listing(run.title, command(run), json.dumps(run.config, indent=1, ensure_ascii=False))
        for run in runs
    ]
    return Section("Reproduction", listings, note)


def command(run: RunRecord) -> str:
    """The command that repeats a run into a new folder; empty if only Python code does.

    A run that began with a trained encoder names it: that which comes with gtl by its name, a run
    by the name of its folder, which may have to be completed. A compression names what it began
    with.
    """
    verb, start = str(run.config["command"]), run.config.get("pretrained")
    compressed = run.config.get("compressed_from")
    in_memory = verb == "compress" and compressed is None
    if verb in _NO_VERB or in_memory:
        return ""
    before = [str(compressed)] if verb == "compress" else []
    words = ["gtl", verb, *before, "--config", str(run.path / "config.json")]
    if start is not None and verb != "compress":
        words += ["--encoder", str(start)]
    return shlex.join([*words, "--out", f"{run.path}-again"])
