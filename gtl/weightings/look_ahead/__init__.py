"""Hyper-gradients of the target's loss one optimizer step ahead."""
