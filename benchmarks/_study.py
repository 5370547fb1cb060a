"""Methods on one of OGB's sets, as its leaderboards want them judged.

A method is trained once per seed, validation data chooses the epoch, OGB's own evaluator judges the
test split once, and mean and unbiased standard deviation over the seeds are told. Nothing is asked
and nothing is fetched on the way; what was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _measure import write_results

import gtl
from gtl import checkpoint
from gtl.catalog import ENCODERS, WEIGHTINGS
from gtl.checkpoint import read_json
from gtl.data import Dataset
from gtl.errors import CheckpointError, DataError, UnknownPartError
from gtl.report.compare import Difference, paired, spread
from gtl.run_folder import read_metrics

TITLES = {"rocauc": "ROC-AUC", "ap": "AP", "acc": "Accuracy", "rmse": "RMSE", "mrr": "MRR"}


@dataclass(frozen=True)
class Method:
    """What is compared.

    Attributes:
        name: As it was typed.
        pretrained: Whether the encoder is pre-trained first.
        weighting: Of the auxiliary tasks; ``None`` means the target alone.
    """

    name: str
    pretrained: bool
    weighting: str | None

    @staticmethod
    def read(text: str) -> Method:
        """Take a method's name apart.

        Raises:
            UnknownPartError: If it is none.
        """
        if text in ("target_only", "pretrain"):
            return Method(text, text == "pretrain", None)
        weighting = text.removeprefix("pretrain+")
        try:
            WEIGHTINGS.build(weighting)
        except UnknownPartError as error:
            raise UnknownPartError(
                f"unknown method {text!r}; expected target_only, pretrain, a weighting or "
                f"pretrain+WEIGHTING: {error}"
            ) from error
        return Method(text, weighting != text, weighting)


class Study:
    """Methods on one set.

    Args:
        data: The set.
        corpus: What encoders are pre-trained on.
        methods: What to compare, the first one with each other.
        training: Arguments of :func:`gtl.finetune` that all runs have.
        pretraining: Arguments of :func:`gtl.pretrain`.
        options: Of the command line.

    Raises:
        GtlError: If encoder and corpus do not fit the set, before anything is trained.
    """

    def __init__(
        self,
        data: Dataset,
        corpus: Dataset,
        methods: Sequence[Method],
        training: Mapping[str, Any],
        pretraining: Mapping[str, Any],
        options: argparse.Namespace,
    ):
        self.data, self.corpus, self.methods, self.options = data, corpus, methods, options
        self.name = data.spec.partition(":")[2]
        self.checksum = data.checksum()
        self.training, self.pretraining = training, pretraining
        shape = {name: getattr(options, name) for name in ("width", "depth", "dropout")}
        self.encoder = {"name": options.encoder, **shape}
        encoder = ENCODERS.build(self.encoder, data.schema)
        encoder.schema.require(corpus.schema, f"the encoder for {self.name}")

    def run(self) -> None:
        """Train what is missing, print the leaderboard's line of each method, write the JSON."""
        sizes = " / ".join(str(len(self.data.split[p])) for p in ("train", "valid", "test"))
        print(f"{self.name}, {sizes} items to train / validate / test", flush=True)
        found = {}
        for method in self.methods:
            found[method.name] = self._seeds(method)
            print(f"{method.name}: {self._line(found[method.name])}", flush=True)
        first = self.methods[0].name
        gains = {name: _gain(found[name], found[first]) for name in found if name != first}
        for name, gain in gains.items():
            print(f"{name} minus {first}: {gain.text(4)} (paired)", flush=True)
        payload = {
            "data": self.data.spec,
            "data_checksum": self.checksum,
            "metric": self.data.metric,
            "settings": {**self._settings(), "auxiliary": self.options.auxiliary}
            | self._settings_before(),
            "methods": {name: _summary(results) for name, results in found.items()},
            "minus_first": {name: [g.mean, g.low, g.high] for name, g in gains.items()},
        }
        path = write_results(self.name, payload, self.options.results or self.options.out)
        print(f"results: {path}", flush=True)

    def _seeds(self, method: Method) -> list[dict[str, Any]]:
        """Results of each seed, read or made."""
        folder = self.options.out / self.name / method.name.replace(":", "-")
        settings = self._settings()
        if method.weighting:
            settings["auxiliary"] = self.options.auxiliary
        if method.pretrained:
            settings |= self._settings_before()
        _claim(folder, {**settings, "data_checksum": self.checksum})
        return [self._seed(method, folder, seed) for seed in range(self.options.seeds)]

    def _seed(self, method: Method, folder: Path, seed: int) -> dict[str, Any]:
        run = folder / f"seed-{seed}"
        if not (run / "results.json").exists():
            gtl.finetune(
                self._pretrained(seed) if method.pretrained else self.encoder,
                self.data,
                auxiliary=self.options.auxiliary if method.weighting else (),
                weighting=method.weighting or "equal",
                **self.training,
                **self._place(run, seed),
            )
        results = read_json(run / "results.json")
        if results["valid"] is None or results["test"] is None:
            raise DataError(f"{run}: {results['metric']} is undefined on a split without labels")
        seconds = statistics.median(line["seconds"] for line in read_metrics(run))
        results["seconds_per_epoch"] = float(f"{seconds:.3g}")
        tell(
            f"{self.name} {method.name} seed {seed}: valid {results['valid']:.4f}, test "
            f"{results['test']:.4f}, epoch {results['epoch']}, {seconds:.3g} s an epoch"
        )
        return results

    def _pretrained(self, seed: int) -> Path:
        """Folder of the pre-training with this seed, which the methods share."""
        folder = self.options.out / self.name / "pretraining"
        _claim(folder, {**self._settings_before(), "data_checksum": self.corpus.checksum()})
        run = folder / f"seed-{seed}"
        if not (run / "results.json").exists():
            gtl.pretrain(self.encoder, self.corpus, **self.pretraining, **self._place(run, seed))
        return run

    def _settings(self) -> dict[str, Any]:
        """What the numbers of every method depend on."""
        return {"encoder": self.encoder, **self.training}

    def _settings_before(self) -> dict[str, Any]:
        """What those of pre-trained ones depend on beside it."""
        before = {"corpus": self.options.corpus, **self.pretraining}
        return {"encoder": self.encoder, **{f"pretrain_{k}": v for k, v in before.items()}}

    def _place(self, run: Path, seed: int) -> dict[str, Any]:
        return {"seed": seed, "device": self.options.device, "out": run, "resume": True}

    def _line(self, results: Sequence[Mapping[str, Any]]) -> str:
        """As OGB's leaderboards write it."""
        test, valid = (spread(r[part] for r in results).text(4) for part in ("test", "valid"))
        title = TITLES.get(self.data.metric, self.data.metric.capitalize())
        count = f"{len(results)} seed{'s' if len(results) > 1 else ''}"
        size = results[0]["footprint"]["parameters_total"]
        return f"Test {title}: {test} ({count}), Validation: {valid}, {size:,} parameters"


def tell(message: str) -> None:
    """Print beside the results, where progress and complaints go."""
    print(message, file=sys.stderr, flush=True)


def _claim(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write down what the runs of a folder are made with; refuse to mix them with others.

    Raises:
        CheckpointError: If they were made with something else.
    """
    settings = json.loads(json.dumps(settings))
    file = folder / "settings.json"
    if file.exists() and any(folder.glob("seed-*")):  # settings that trained nothing bind nobody
        before = read_json(file)
        for name in {**before, **settings}:
            if before.get(name) != settings.get(name):
                raise CheckpointError(
                    f"the runs in {folder} have {name}={before.get(name)!r}, now it is "
                    f"{settings.get(name)!r}; use the same options or another --out"
                )
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(file, json.dumps(settings, indent=1) + "\n")


def _gain(results: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> Difference:
    ours, theirs = ({r["seed"]: r["test"] for r in side} for side in (results, others))
    return paired(ours, theirs)


def _summary(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = ("seed", "test", "valid", "epoch", "seconds_per_epoch")
    means = {part: spread(r[part] for r in results) for part in ("test", "valid")}
    return {
        **{part: {"mean": s.mean, "std": s.std} for part, s in means.items()},
        "parameters": results[0]["footprint"]["parameters_total"],
        "columns": columns,
        "runs": [[r[name] for name in columns] for r in results],
    }
