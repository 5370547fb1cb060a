"""Weightings turn many losses into one gradient."""

from gtl.weighting.auto_lambda import AutoLambda
from gtl.weighting.aux_ts import AuxTS
from gtl.weighting.dwa import DWA
from gtl.weighting.equal import Equal
from gtl.weighting.fixed import Fixed
from gtl.weighting.gcs import GCS
from gtl.weighting.gradient_consistency import gradient_consistency, shift_consistency
from gtl.weighting.gradnorm import GradNorm
from gtl.weighting.hypergradient import directional
from gtl.weighting.look_ahead import look_ahead
from gtl.weighting.metabalance import MetaBalance
from gtl.weighting.network import WeightNetwork
from gtl.weighting.ol_aux import OLAux
from gtl.weighting.random_fixed import RandomFixed
from gtl.weighting.selar import SELAR
from gtl.weighting.slgrad import SLGrad
from gtl.weighting.uncertainty import Uncertainty
from gtl.weighting.unrolled import unrolled

__all__ = [
    "DWA",
    "GCS",
    "SELAR",
    "AutoLambda",
    "AuxTS",
    "Equal",
    "Fixed",
    "GradNorm",
    "MetaBalance",
    "OLAux",
    "RandomFixed",
    "SLGrad",
    "Uncertainty",
    "WeightNetwork",
    "directional",
    "gradient_consistency",
    "look_ahead",
    "shift_consistency",
    "unrolled",
]
