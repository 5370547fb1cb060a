"""Tasks on unlabeled items, and on the encoder before training, for targets with few labels."""
