"""Parts in, trained parts out: the only place where encoders, tasks, weightings and heads meet."""
