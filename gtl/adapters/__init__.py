"""Adapters: a few trainable parameters in and around a frozen encoder."""

from gtl.adapters.adapted import Adapted, AdaptedEncoder, AdaptedModule
from gtl.adapters.attachment import (
    adapter_state,
    attach,
    detach,
    load_adapter,
    load_adapter_state,
    merge,
    read_adapter,
    save_adapter,
)
from gtl.adapters.bottleneck import Bottleneck
from gtl.adapters.film import FiLM
from gtl.adapters.layerwise import Layerwise
from gtl.adapters.lora import LoRA
from gtl.adapters.parallel import Parallel
from gtl.adapters.prompt import Prompt
from gtl.adapters.spatio_temporal import SpatioTemporal
from gtl.adapters.trainable import print_trainable_parameters

__all__ = [
    "Adapted",
    "AdaptedEncoder",
    "AdaptedModule",
    "Bottleneck",
    "FiLM",
    "Layerwise",
    "LoRA",
    "Parallel",
    "Prompt",
    "SpatioTemporal",
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
