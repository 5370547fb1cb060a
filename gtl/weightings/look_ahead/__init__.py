"""Hyper-gradients of the target's loss after the next optimizer step."""
