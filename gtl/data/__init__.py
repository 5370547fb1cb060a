"""Files in, Dataset out: graphs, labels, splits and the metric."""
