"""The command line of OGB's runners: without it, each level would take its options in its way."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from _study import Method, Study, tell

import gtl
from gtl.catalog import ENCODERS, TASKS
from gtl.data import Dataset
from gtl.errors import ConfigError, GtlError

LEVELS = {"ogbg": "graph", "ogbn": "node", "ogbl": "link"}
METHODS = """methods:
  target_only         the labeled target alone
  WEIGHTING           beside it the tasks of --auxiliary under this weighting: equal, gcs, aux_ts,
                      ... (`gtl list weighting`; torchjd:NAME and those of plug-ins as well)
  pretrain            target_only from an encoder that --tasks trained on --corpus before
  pretrain+WEIGHTING  both

Each seed has its run folder OUT/SET/METHOD/seed-N. The same command given again reads the seeds
that are finished, goes on with one that was interrupted and adds what is missing: more --seeds,
another --method.
"""
_TRAINING = ("epochs", "batch_size", "lr", "weight_decay")


def nothing(options: argparse.Namespace) -> dict[str, Any]:
    """No arguments."""
    return {}


@dataclass(frozen=True)
class Runner:
    """One script: the sets of one level.

    Attributes:
        prefix: How the names of its sets begin: ``ogbg``, ``ogbn`` or ``ogbl``.
        defaults: Of the options, by name.
        unlabeled: What of a set an encoder may be pre-trained on.
        extra: Options that this level alone has, with what ``add_argument`` wants to know.
        reading: Their part in the arguments of :func:`gtl.load`.
        training: Their part in those of :func:`gtl.finetune`.
        pretraining: Their part in those of :func:`gtl.pretrain`.
    """

    prefix: str
    defaults: Mapping[str, Any]
    unlabeled: Callable[[Dataset], Dataset]
    extra: Mapping[str, Mapping[str, Any]]
    reading: Callable[[argparse.Namespace], dict[str, Any]] = nothing
    training: Callable[[argparse.Namespace], dict[str, Any]] = nothing
    pretraining: Callable[[argparse.Namespace], dict[str, Any]] = nothing

    def main(self, about: str | None, words: Sequence[str] | None = None) -> int:
        """Run a command line; returns the exit code: 0, or 2 after a line that says what is wrong.

        Args:
            about: What ``--help`` begins with.
            words: The command line; that of the process if not given.
        """
        parser = self._parser(about)
        options = parser.parse_args(words)
        try:
            self._run(options)
        except (GtlError, OSError) as error:
            return _complain(f"{parser.prog}: error: {' '.join(str(error).split())}", 2)
        except KeyboardInterrupt:
            return _complain(f"{parser.prog}: interrupted; the same command goes on", 130)
        return 0

    def spec(self, name: str) -> str:
        """The spec of a set of this level, by its name or the end of it.

        Raises:
            ConfigError: If the name is that of another level.
        """
        name = name.removeprefix("ogb:").replace("_", "-")
        level = LEVELS.get(name.partition("-")[0])
        if level is None:
            name = f"{self.prefix}-{name}"
        elif level != LEVELS[self.prefix]:
            raise ConfigError(f"{name} is judged by {level}s; use benchmarks/ogb_{level}.py")
        return f"ogb:{name}"

    def _run(self, options: argparse.Namespace) -> None:
        if options.seeds < 1:
            raise ConfigError(f"`seeds` is {options.seeds}, expected 1 or more")
        methods = [Method.read(text) for text in dict.fromkeys(options.method)]
        specs = [self.spec(name) for name in dict.fromkeys(options.data)]
        for task in (*options.auxiliary, *options.tasks):
            TASKS.get(task)
        for spec in specs:
            self._study(spec, methods, options).run()

    def _study(self, spec: str, methods: list[Method], options: argparse.Namespace) -> Study:
        reading = {"download": options.download, **self.reading(options)}
        data = gtl.load(spec, options.root, **reading)
        corpus = self.unlabeled(data)
        if options.corpus is not None:
            corpus = gtl.load(options.corpus, options.root)
        training = {name: getattr(options, name) for name in _TRAINING} | self.training(options)
        pretraining = {
            "tasks": options.tasks,
            "epochs": options.pretrain_epochs,
            "batch_size": options.pretrain_batch_size,
            **self.pretraining(options),
        }
        return Study(data, corpus, methods, training, pretraining, options)

    def _parser(self, about: str | None) -> argparse.ArgumentParser:
        how = argparse.RawDescriptionHelpFormatter
        name = f"ogb_{LEVELS[self.prefix]}.py"
        parser = _Parser(name, description=about, epilog=METHODS, formatter_class=how)
        add = parser.add_argument_group("what to run").add_argument
        add("--data", nargs="+", required=True, metavar="SET", help=f"such as {self.prefix}-...")
        add("--root", type=Path, help="folder of the sets; by default the variable GTL_DATA")
        add("--download", action="store_true", help="fetch a set from OGB where it is missing")
        add("--method", nargs="+", default=["target_only"], help="one or several, see below")
        add("--seeds", type=int, default=10, help="how many: 0, 1, ... (%(default)s)")
        add("--out", type=Path, default=Path("runs/ogb"), help="run folders (%(default)s)")
        add("--results", type=Path, metavar="DIR", help="SET.json goes here; by default to --out")
        add("--device", help="such as cuda; by default the CPU")
        add = parser.add_argument_group("model").add_argument
        add("--encoder", help=f"{', '.join(ENCODERS.names())} (%(default)s)")
        add("--width", type=int, help="columns of each layer (%(default)s)")
        add("--depth", type=int, help="layers (%(default)s)")
        add("--dropout", type=float, help="share dropped after each layer (%(default)s)")
        add = parser.add_argument_group("training").add_argument
        add("--epochs", type=int, help="of which validation chooses one (%(default)s)")
        add("--batch_size", type=int, help="items per step, 0 means all (%(default)s)")
        add("--lr", type=float, help="learning rate (%(default)s)")
        add("--weight_decay", type=float, default=0.0, help="(%(default)s)")
        add("--auxiliary", nargs="+", metavar="TASK", help="beside the target (%(default)s)")
        for name, known in self.extra.items():
            add(f"--{name}", **known)
        add = parser.add_argument_group("pre-training").add_argument
        add("--corpus", metavar="SPEC", help="what gtl.load reads; by default the set itself")
        add("--tasks", nargs="+", metavar="TASK", help="(%(default)s)")
        add("--pretrain_epochs", type=int, default=20, help="passes (%(default)s)")
        add("--pretrain_batch_size", type=int, default=256, help="items per step (%(default)s)")
        parser.set_defaults(**self.defaults)
        return parser


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see: {self.prog} --help\n")


def _complain(message: str, code: int) -> int:
    tell(message)
    return code
