"""Processes of a data-parallel training, and all that they exchange.

Gradients are reduced explicitly: the steps of gtl call ``torch.autograd.grad``, which the hooks of
``DistributedDataParallel`` do not see.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

from gtl import checkpoint, errors
from gtl.errors import ConfigError, GtlError
from gtl.run_kinds import RUN_KINDS

T = TypeVar("T")
OF_FIRST = "of_first"  # attribute of an error that the first process raises, too


class Processes:
    """The processes of a data-parallel training, of which this is one.

    Every method that exchanges something is called by all of them, in the same order.

    Attributes:
        rank: Number of this process, from 0 on. The first, 0, writes everything.
        count: Number of all.
        device: Where numbers and states travel: a group of graphics cards alone has no exchange on
            the CPU.
        exchanges: Number of exchanges so far.
        exchanged: Bytes that this process has put into them.
    """

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.exchanges = self.exchanged = 0
        on_cpu = "cpu" in str(dist.get_backend_config())
        self.device = torch.device("cpu" if on_cpu else "cuda")

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over the processes, in the shape of ``values``; the same bits in all of them."""
        found = values.detach().clone(memory_format=torch.contiguous_format)
        self._exchange(dist.all_reduce, found, sent=found)
        return found

    def gathered(self, values: Tensor) -> Tensor:
        """``values`` of every process, ``(count, *shape)``, which have the same shape in all."""
        values = values.detach().contiguous()
        found = values.new_empty(self.count, *values.shape)
        self._exchange(dist.all_gather, list(found.unbind()), values, sent=values)
        return found

    def numbers(self, values: Sequence[int]) -> list[list[int]]:
        """The given numbers of every process; as many in all."""
        return self.gathered(torch.tensor(values, device=self.device)).tolist()

    def copy_from_first(self, tensors: Sequence[Tensor]) -> None:
        """Overwrite tensors, in place, by those of the first process."""
        for tensor in tensors:
            data = tensor.detach()
            flat = data.contiguous().view(-1)
            self._exchange(dist.broadcast, flat.view(torch.uint8), 0, sent=flat)
            data.copy_(flat.view(data.shape))

    def from_first(self, function: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """What ``function`` gives in the first process, where alone it is called.

        Args:
            function: Gives a state that a checkpoint can store.

        Raises:
            GtlError: The one that ``function`` raised in the first process, in all of them.
        """
        state: dict[str, Any] = {}
        failure: GtlError | None = None
        if self.is_first:
            try:
                state = {"value": dict(function())}
            except GtlError as error:
                state, failure = {"error": type(error).__name__, "message": str(error)}, error
        packed = checkpoint.to_tensor(state) if self.is_first else torch.empty(0)
        size = self.numbers([len(packed)])[0][0]
        packed = packed if self.is_first else torch.empty(size, dtype=torch.uint8)
        packed = packed.to(self.device)
        self.copy_from_first([packed])
        if failure is not None:
            raise failure
        if not self.is_first:
            state = checkpoint.from_tensor(packed.cpu())
        if "error" in state:
            failure = getattr(errors, state["error"], GtlError)(state["message"])
            setattr(failure, OF_FIRST, True)
            raise failure
        found: dict[str, Any] = state["value"]
        return found

    def first_alone(self, function: Callable[[], T]) -> T:
        """What ``function`` gives, which the others call when the first has called it.

        For what fills a cache.

        Raises:
            GtlError: The one that ``function`` raised in the first process, in all of them.
        """
        found: list[T] = []

        def call() -> dict[str, Any]:
            found.append(function())
            return {}

        self.from_first(call)
        return found[0] if self.is_first else function()

    def _exchange(self, function: Callable[..., Any], *arguments: Any, sent: Tensor) -> None:
        if not sent.numel():
            return
        self.exchanges += 1
        self.exchanged += sent.numel() * sent.element_size()
        try:
            function(*arguments)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise GtlError(
                f"another process of this training has ended, or cannot be reached ({reason}); "
                "its own message, if there is one, says why. With a run folder, resume=True "
                "(--resume) continues after the last epoch, with any number of processes"
            ) from error


def launched() -> tuple[int, int]:
    """Rank of this process and number of processes, as started; ``(0, 1)`` for one alone."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():  # torchrun sets them
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def current_processes(command: str = "finetune") -> Processes | None:
    """The processes that train together with this one; ``None`` where it is alone.

    They are those of ``torch.distributed`` if that is initialized, else those that ``torchrun``
    started, which are connected here.

    Args:
        command: Kind of run, a key of :data:`gtl.run_kinds.RUN_KINDS`.

    Raises:
        ConfigError: If there are several and one alone can do this kind of run.
    """
    count = launched()[1]
    if count == 1:
        return None
    if command not in RUN_KINDS or not RUN_KINDS[command].is_shared:
        shared = ", ".join(kind.command for kind in RUN_KINDS.values() if kind.is_shared)
        raise ConfigError(
            f"`{command}` runs in one process, and {count} were started; start it without "
            f"torchrun (these can share their work: {shared})"
        )
    if not dist.is_initialized():
        dist.init_process_group(_backend())
        atexit.register(_disconnect)
    return Processes()


def own_device(device: torch.device | None) -> torch.device | None:
    """The graphics card of this process, where ``device`` is one and names no number."""
    if device is None or device.type != "cuda" or device.index is not None:
        return device
    number = int(os.environ.get("LOCAL_RANK", dist.get_rank())) % torch.cuda.device_count()
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def _backend() -> str:
    """NCCL between graphics cards where each process has its own, gloo elsewhere."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    own_cards = torch.cuda.device_count() >= here and dist.is_nccl_available()
    return "cpu:gloo,cuda:nccl" if own_cards else "gloo"


def _disconnect() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
