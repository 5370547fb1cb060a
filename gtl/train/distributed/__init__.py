"""Data-parallel training: one run on several processes, by ``torch.distributed``."""
