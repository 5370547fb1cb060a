"""Kernels of message passing: DGL's, sparse matrices, and plain torch."""
