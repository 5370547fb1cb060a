"""Data-parallel training: one run on several processes, by ``torch.distributed``.

Equal to one process with the joined batch, up to rounding: all that a weighting computes
(``aux_ts`` with its consistencies, normalizers, look-aheads and permutation tests included), batch
norms, and losses of tasks that draw nothing and treat each graph for itself. In one graph that is
not sampled every task is equal, dropout included, as all processes encode the whole graph.

Not equal, but sound: views, dropout and sampled neighbors, which each process draws for itself;
losses that couple samples (contrast, distances of distributions), which see the part of the batch
of one process; queues, which are those of the first process after each epoch.

Refused: tasks that are not ``divisible``, and weightings that differentiate gradients.
"""
