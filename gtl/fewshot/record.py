"""Record of a few-shot comparison in its run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from gtl.catalog import ENCODERS
from gtl.data.dataset import Dataset
from gtl.fewshot.features import Samples
from gtl.roles import Encoder
from gtl.train.model import Model
from gtl.train.run import Run


@dataclass(frozen=True)
class GivenFeatures:
    """What a run folder records of features that were given in memory."""

    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""

    def checksum(self) -> None:
        """Unknown."""


def as_source(data: Any, samples: Samples) -> Any:
    """What a run folder records of the data: the data set, or that features were given."""
    return data if isinstance(data, Dataset) else GivenFeatures(samples.spec)


def novel_spec(novel: Any) -> Any:
    """As it was given; of a function its name, and the results contain what it chose."""
    if callable(novel):
        return getattr(novel, "__name__", type(novel).__name__)
    if isinstance(novel, Tensor):
        return novel.tolist()
    return novel if isinstance(novel, (int, float, type(None))) else list(novel)


def encoder_spec(encoder: Any) -> Any:
    """Name and options, with the folder of a run, or the path or mapping as it was given."""
    if isinstance(encoder, Encoder):
        return ENCODERS.spec(encoder)
    if isinstance(encoder, (Run, Model)):
        folder = None if encoder.folder is None else str(encoder.folder.path)
        return {**ENCODERS.spec(encoder.encoder), "folder": folder}
    return None if encoder is None else encoder if isinstance(encoder, Mapping) else str(encoder)


def encoder_notes(encoder: Any) -> tuple[str, ...]:
    """Notes on the origin of the features."""
    named = isinstance(encoder, Mapping) or (
        isinstance(encoder, str) and encoder in ENCODERS.names()
    )
    if not named:
        return ()
    return (
        "the encoder was built by its name and not trained: its features are random projections; "
        "give the folder of a pre-training run for trained ones",
    )
