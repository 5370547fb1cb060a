"""Tasks that bring the vectors of a labeled source and an unlabeled target domain together."""
