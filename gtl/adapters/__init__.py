"""Adapters turn a frozen encoder into one with a few trainable parts."""

from gtl.adapters.adapted import Adapted, AdaptedEncoder, AdaptedModule
from gtl.adapters.attach import (
    adapter_state,
    attach,
    detach,
    load_adapter,
    load_adapter_state,
    merge,
    read_adapter,
    save_adapter,
)
from gtl.adapters.film import FiLM
from gtl.adapters.trainable import print_trainable_parameters

__all__ = [
    "Adapted",
    "AdaptedEncoder",
    "AdaptedModule",
    "FiLM",
    "adapter_state",
    "attach",
    "detach",
    "load_adapter",
    "load_adapter_state",
    "merge",
    "print_trainable_parameters",
    "read_adapter",
    "save_adapter",
]
