"""Self-supervised tasks: training signals without labels."""
