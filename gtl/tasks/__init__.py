"""Tasks turn the vectors of a view into one loss per sample."""
