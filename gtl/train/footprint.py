"""Footprint of a run: parameters, stored bytes, seconds, and peak memory."""

from __future__ import annotations

import resource
import sys
from typing import Any

from torch import nn

from gtl.adapters.adapted import frozen_names
from gtl.adapters.trainable import count_parameters


def footprint(model: nn.Module, seconds: float) -> dict[str, Any]:
    """What a run cost: parameters, bytes of weights that are not frozen, time, peak memory.

    Args:
        model: What was trained.
        seconds: Training time.

    Returns:
        ``parameters_total``, ``parameters_trained``, ``stored_bytes``, ``seconds`` and
        ``peak_memory_bytes`` of the process so far.
    """
    total, trained = count_parameters(model)
    frozen = frozen_names(model)
    state = [value for name, value in model.state_dict().items() if name not in frozen]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "parameters_total": total,
        "parameters_trained": trained,
        "stored_bytes": sum(value.numel() * value.element_size() for value in state),
        "seconds": round(seconds, 3),
        "peak_memory_bytes": peak if sys.platform == "darwin" else peak * 1024,
    }
