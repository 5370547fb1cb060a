"""Session of a run: what every loop does before and after its own algorithm.

Seed, encoder, adapter, device, configuration, run folder, results and plots are written here once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
from torch import nn

from gtl.adapters.attachment import attached
from gtl.checks import as_seed
from gtl.errors import ConfigError
from gtl.report.plots import write_plots
from gtl.roles import Encoder, Task, Weighting
from gtl.run_folder import RunFolder
from gtl.train.allocation import keep_freed_memory
from gtl.train.device import as_device, module_device
from gtl.train.distributed.choice import sharing_of
from gtl.train.distributed.processes import Processes, current_processes, own_device
from gtl.train.distributed.sharing import Sharing
from gtl.train.footprint import checkpoint_bytes
from gtl.train.predictions_record import write_test_predictions
from gtl.train.resolve import as_encoder, origin_of, sample_of
from gtl.train.seed import reseed, seeded

M = TypeVar("M", bound=nn.Module)


class Session:
    """One run, from its seed to its results; a context manager.

    Inside the block torch's global generators are seeded; they are restored afterwards. If the
    block fails, an encoder that was frozen for an adapter is as it was before.

    Args:
        command: Kind of run, a key of :data:`gtl.run_kinds.RUN_KINDS`.
        data: What the run is about: has ``spec``, ``options``, ``schema`` and ``checksum()``.
        seed: Reproduces the run bit for bit on one machine.
        device: Where to train; by default where the model is.
        out: Run folder to write; ``None`` for none.
        resume: Continue the run in ``out``.

    Raises:
        ConfigError: If the seed is no whole number, or there are several processes and one alone
            can do this kind of run.

    Attributes:
        rng: The run's own generator, on the CPU.
        origin: Name of the run or checkpoint that the encoder is from; ``None`` if from none.
        folder: The run folder, after :meth:`open`; of several processes the first alone has it.
        processes: The processes of a data-parallel training; ``None`` for one alone.
    """

    rng: torch.Generator

    def __init__(
        self,
        command: str,
        data: Any,
        *,
        seed: int = 0,
        device: str | torch.device | None = None,
        out: Path | str | None = None,
        resume: bool = False,
    ):
        self.command, self.data, self.seed = command, data, as_seed(seed)
        self.device, self.out, self.resume = as_device(device), out, resume
        self.processes = current_processes(command)
        if self.processes is not None:
            self.device = own_device(self.device)
        self.origin: str | None = None
        self.folder: RunFolder | None = None
        self._undo = ExitStack()

    def __enter__(self) -> Session:
        """Seed."""
        keep_freed_memory()
        self.rng = self._undo.enter_context(seeded(self.seed))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Restore the generators and, after an error, the encoder."""
        self._undo.__exit__(kind, error, trace)

    def encoder(self, encoder: Any) -> tuple[Encoder, Mapping[str, Task]]:
        """An encoder that fits the data, and the tasks that were trained with it.

        The generators start anew after it: what follows does not depend on whether the encoder's
        first weights were drawn or loaded.

        Args:
            encoder: As for :func:`gtl.train.resolve.as_encoder`.
        """
        found = as_encoder(encoder, self.data.schema)
        if type(found[0]).observe is not Encoder.observe:
            found[0].observe(sample_of(self.data))
        self.origin = origin_of(encoder)
        reseed(self.rng)
        return found

    def adapted(self, encoder: Encoder, adapter: Any) -> Encoder:
        """The encoder, frozen and with adapters in use; itself if ``adapter`` is ``None``."""
        if adapter is None:
            return encoder
        adapted: Encoder = self._undo.enter_context(attached(encoder, adapter))
        return adapted

    def placed(self, model: M) -> M:
        """The model, moved to the device of the run."""
        return model.to(self.device or module_device(model))

    def sharing(
        self, fan_out: Any, tasks: Mapping[str, Task], weightings: Sequence[Weighting]
    ) -> Sharing | None:
        """How several processes share a step; ``None`` for one alone. See :func:`sharing_of`."""
        if self.processes is None:
            return None
        return sharing_of(self.processes, self.data.contents, fan_out, tasks, weightings)

    def open(self, settings: Mapping[str, Any]) -> RunFolder | None:
        """Start the run folder, if one is wanted.

        Args:
            settings: Settings of the run other than data and seed; JSON values.

        Raises:
            CheckpointError: If the folder holds another run, or one that is not to be resumed.
            ConfigError: If the processes of a training do not agree on its settings.
        """
        if self.out is None:
            return None
        config = {
            "command": self.command,
            "data": self.data.spec,
            "data_options": dict(self.data.options),
            "data_checksum": self.data.checksum(),
            "data_root": self.data.root or None,
            **settings,
            "seed": self.seed,
        }
        if self.processes is None:
            self.folder = RunFolder(self.out, config, self.resume)
        else:
            self._open_in_first(self.processes, self.out, config)
        return self.folder

    def _open_in_first(
        self, processes: Processes, out: Path | str, config: Mapping[str, Any]
    ) -> None:
        """Check that all processes have the same settings; the first starts the run folder."""
        text = json.dumps({**config, "data_root": None}, sort_keys=True)
        differs = processes.from_first(lambda: {"config": text})["config"] != text
        others = [rank for rank, (other,) in enumerate(processes.numbers([differs])) if other]
        if others:
            raise ConfigError(
                f"process {others[0]} was started with other settings or other data than the "
                "first one; start all of them with the same"
            )

        def opened() -> dict[str, Any]:
            self.folder = RunFolder(out, config, self.resume)
            return {}

        processes.from_first(opened)

    def close(
        self, results: Mapping[str, Any], model: Any = None, data: Any = None
    ) -> dict[str, Any]:
        """Complete the results, and write them and the plots to the run folder.

        Args:
            results: ``metric``, ``valid``, ``test`` (``None`` if absent), ``footprint``, and what
                else is known.
            model: What was trained, where its predictions for the test split are to be written.
            data: Its target.
        """
        complete = {"metric": None, "valid": None, "test": None, **results, "seed": self.seed}
        if "parameters_total" in complete["footprint"]:
            size = None if self.folder is None else checkpoint_bytes(self.folder.path)
            complete["footprint"] = {**complete["footprint"], "checkpoint_bytes": size}
        if self.processes is not None:
            complete["processes"] = self.processes.count
        if self.folder is not None:
            self.folder.write_results(complete)
            if model is not None:
                write_test_predictions(self.folder.path, model, data)
            if self.folder.read_metrics():
                write_plots(self.folder.path)
        return complete
