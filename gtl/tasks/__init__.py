"""Tasks turn the vectors of a view into one loss per sample."""

from gtl.tasks.consistency.delta import Delta
from gtl.tasks.consistency.interpolation import InterpolationConsistency
from gtl.tasks.consistency.knowledge import KnowledgeConsistency
from gtl.tasks.consistency.l2_sp import L2SP
from gtl.tasks.consistency.mean_teacher import MeanTeacher
from gtl.tasks.consistency.pseudo_label import PseudoLabel
from gtl.tasks.consistency.representation import RepresentationConsistency
from gtl.tasks.domain.adda import ADDA
from gtl.tasks.domain.afn import AFN
from gtl.tasks.domain.cdan import CDAN
from gtl.tasks.domain.coral import CORAL
from gtl.tasks.domain.dann import DANN
from gtl.tasks.domain.dsn import DSN
from gtl.tasks.domain.mcc import MCC
from gtl.tasks.domain.mcd import MCD
from gtl.tasks.domain.mdd import MDD
from gtl.tasks.domain.mk_mmd import MKMMD
from gtl.tasks.domain.target_entropy import TargetEntropy
from gtl.tasks.domain.wdgrl import WDGRL
from gtl.tasks.self_supervised.attribute_generation import AttributeGeneration
from gtl.tasks.self_supervised.attribute_masking import AttributeMasking
from gtl.tasks.self_supervised.bootstrap import Bootstrap
from gtl.tasks.self_supervised.clustering import Clustering
from gtl.tasks.self_supervised.context_prediction import ContextPrediction
from gtl.tasks.self_supervised.contrast import Contrast
from gtl.tasks.self_supervised.descriptors import Descriptors
from gtl.tasks.self_supervised.edge_generation import EdgeGeneration
from gtl.tasks.self_supervised.edge_prediction import EdgePrediction
from gtl.tasks.self_supervised.fingerprint import Fingerprint
from gtl.tasks.self_supervised.infomax import Infomax
from gtl.tasks.self_supervised.masked_autoencoder import MaskedAutoencoder
from gtl.tasks.self_supervised.motif import Motif
from gtl.tasks.self_supervised.pair_distance import PairDistance
from gtl.tasks.self_supervised.pair_similarity import PairSimilarity
from gtl.tasks.self_supervised.partition import Partition
from gtl.tasks.self_supervised.random_quantizer import RandomQuantizer
from gtl.tasks.self_supervised.structure import Structure
from gtl.tasks.self_supervised.whitening import Whitening
from gtl.tasks.supervised import Supervised

__all__ = [
    "ADDA",
    "AFN",
    "CDAN",
    "CORAL",
    "DANN",
    "DSN",
    "L2SP",
    "MCC",
    "MCD",
    "MDD",
    "MKMMD",
    "WDGRL",
    "AttributeGeneration",
    "AttributeMasking",
    "Bootstrap",
    "Clustering",
    "ContextPrediction",
    "Contrast",
    "Delta",
    "Descriptors",
    "EdgeGeneration",
    "EdgePrediction",
    "Fingerprint",
    "Infomax",
    "InterpolationConsistency",
    "KnowledgeConsistency",
    "MaskedAutoencoder",
    "MeanTeacher",
    "Motif",
    "PairDistance",
    "PairSimilarity",
    "Partition",
    "PseudoLabel",
    "RandomQuantizer",
    "RepresentationConsistency",
    "Structure",
    "Supervised",
    "TargetEntropy",
    "Whitening",
]
