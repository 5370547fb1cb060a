"""SELAR: the weighting network before consistencies were told to it; what AUX-TS grew out of.

Hwang et al. 2020, "Self-supervised Auxiliary Learning with Meta-paths for Heterogeneous Graphs"
(NeurIPS).
"""

from __future__ import annotations

from gtl.weightings.aux_ts import AuxTS


class SELAR(AuxTS):
    """AUX-TS without consistencies, with weights divided by the target's mean weight.

    With that normalization every auxiliary weight tends to sink, since one step on the target
    lowers the target's loss most. Departures from the published code: the network is not told a
    sample's label, which only the target has; the look-ahead goes through the optimizer that is
    really used; there is no second network for hints.

    Args:
        hidden: Width of the weighting network.
        lr: Learning rate of the network's own Adam.
        refresh: Steps from one look-ahead to the next; 1 in the paper.

    Raises:
        ConfigError: If an argument lies outside its range.
    """

    name = "selar"

    def __init__(self, hidden: int = 1000, lr: float = 5e-3, refresh: int = 1):
        super().__init__(hidden, lr, normalize="target", refresh=refresh, consistency=None)
