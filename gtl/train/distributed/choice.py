"""Choice of how the processes of a run share its steps, and refusal of what cannot be shared."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from gtl.catalog import TASKS, WEIGHTINGS
from gtl.data.items import Items
from gtl.errors import ConfigError
from gtl.roles import Task, Weighting
from gtl.train.distributed.processes import Processes
from gtl.train.distributed.sharing import DividedBatch, Sharing, WholeGraph

log = logging.getLogger(__name__)


def sharing_of(
    processes: Processes,
    contents: Items,
    fan_out: Any,
    tasks: Mapping[str, Task],
    weightings: Sequence[Weighting],
) -> Sharing:
    """How the processes share a step.

    Args:
        processes: The processes.
        contents: Items of the data.
        fan_out: Neighbors to sample; ``None`` for no sampling.
        tasks: Tasks by name.
        weightings: Those that are tried.

    Raises:
        ConfigError: If a task or a weighting can be trained in one process only.
    """
    for weighting in weightings:
        if weighting.differentiates_twice:
            raise ConfigError(
                f"the weighting {WEIGHTINGS.name_of(weighting)!r} differentiates gradients, whose "
                f"sums over {processes.count} processes have no derivative here; use "
                "look_ahead='directional', or one process"
            )
    if contents.one_graph and fan_out is None:
        if processes.is_first:
            log.warning(
                "each of %d processes encodes the whole graph: the result is that of one process, "
                "and no faster; give `fan_out` where a batch can be sampled",
                processes.count,
            )
        return WholeGraph(processes)
    for name, task in tasks.items():
        if not task.divisible:
            raise ConfigError(
                f"the task {name!r} ({TASKS.name_of(task)}) needs all samples of a step in one "
                f"process, and there are {processes.count}; leave it out, or use one process"
            )
    return DividedBatch(processes)
