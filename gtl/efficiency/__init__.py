"""Trained models to smaller ones: int8, pruning of channels, low rank, distillation."""

from gtl.efficiency.compression import compress
from gtl.efficiency.low_rank import factored
from gtl.efficiency.pruning import pruned
from gtl.efficiency.quantization import quantized

__all__ = ["compress", "factored", "pruned", "quantized"]
