"""Options of the verbs of the command line, in groups as their help shows them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

# Groups of the options of a loop in its help; what is in none of them is a part.
_GROUPS = {
    "training": (
        *("epochs", "episodes", "batch_size", "fan_out", "lr", "rates", "weight_decay"),
        *("optimizer", "meta_share", "guard", "patience", "stride", "repeats", "workers"),
    ),
    "weights": (
        *("warmup", "schedule", "head_start", "head_first", "batch_norm", "average"),
        "members",
    ),
    "run": ("seed", "device", "out", "resume"),
}


def add_data(parser: Any, what: str) -> None:
    """What to read, and where from."""
    group = parser.add_argument_group("data (gtl list data shows the options of each reader)")
    group.add_argument("--data", type=str | dict | None, help=what + "; --data.OPTION sets one")
    group.add_argument(
        "--root", type=Path | None, help="folder of named data sets; GTL_DATA by default"
    )


def add_loop(parser: Any, function: Callable[..., Any], data: str) -> None:
    """The options of a loop in groups, each with the first sentence of its description."""
    import inspect

    names = [name for name in inspect.signature(function).parameters if name != data]
    parts = [name for name in names if not any(name in group for group in _GROUPS.values())]
    for title, members in {"parts": parts, **_GROUPS}.items():
        if any(name in members for name in names):
            skip = {name for name in names if name not in members} | {data}
            group = parser.add_argument_group(title)
            group.add_function_arguments(function, as_group=False, skip=skip, fail_untyped=False)
    for action in parser._actions:
        if isinstance(action.help, str):
            action.help = " ".join(action.help.split()).split(". ")[0].rstrip(".")


def add_use_of_run(parser: Any, part: str) -> None:
    """A run, its data, and how much is read at a time."""
    parser.add_argument("run", type=Path, help="run folder of finetune, probe or compare")
    add_data(parser, "what to read; the data of the run by default")
    parser.add_argument("--split", default=part, help="train, valid, test or all")
    parser.add_argument(
        "--fan_out",
        type=list[int | None] | None,
        help="neighbors to sample at each hop, such as [10, 10]; by default all are read",
    )
    parser.add_argument(
        "--batch_size", type=int | None, help="graphs at a time, or nodes with their neighbors"
    )


def add_evaluation(parser: Any) -> None:
    """What an evaluation adds and allows."""
    parser.add_argument("--metrics", type=list[str], default=[], help="metrics to add")
    parser.add_argument(
        "--per_task", type=bool, default=False, help="add the metric of each label column"
    )
    parser.add_argument(
        "--allow_changed",
        type=bool,
        default=False,
        help="evaluate also where the data of the run is not as it was in training",
    )


def add_output(parser: Any) -> None:
    """The file of predictions, and what is asked of a knowledge graph."""
    parser.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="CSV file to write"
    )
    parser.add_argument(
        "--overwrite", type=bool, default=False, help="replace the file if there is one"
    )
    group = parser.add_argument_group("knowledge graphs")
    group.add_argument(
        "--queries",
        type=str | None,
        help="file of triples with ? for the entity that is looked for, or one: '[ann, knows, ?]'",
    )
    group.add_argument("--top", type=int, default=10, help="entities for each query")
    group.add_argument(
        "--facts", type=str | None, help="file of more triples that are known, of new entities too"
    )
