"""Consistency regularization: what a model says of items without labels."""
