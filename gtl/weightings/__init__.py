"""Weightings turn many losses into one gradient."""

from gtl.weightings.auto_lambda import AutoLambda
from gtl.weightings.aux_ts import AuxTS
from gtl.weightings.consistency import gradient_consistency, shift_consistency
from gtl.weightings.dwa import DWA
from gtl.weightings.equal import Equal
from gtl.weightings.fixed import Fixed
from gtl.weightings.gcs import GCS
from gtl.weightings.gradnorm import GradNorm
from gtl.weightings.look_ahead.hypergradient import directional
from gtl.weightings.look_ahead.network import WeightNetwork
from gtl.weightings.look_ahead.optimizer_step import optimizer_step
from gtl.weightings.look_ahead.unrolled import unrolled
from gtl.weightings.metabalance import MetaBalance
from gtl.weightings.ol_aux import OLAux
from gtl.weightings.random_fixed import RandomFixed
from gtl.weightings.selar import SELAR
from gtl.weightings.slgrad import SLGrad
from gtl.weightings.uncertainty import Uncertainty

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
    "optimizer_step",
    "shift_consistency",
    "unrolled",
]
