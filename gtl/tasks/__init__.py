"""Tasks turn the vectors of a view into one loss per sample."""

from gtl.tasks.attribute_generation import AttributeGeneration
from gtl.tasks.attribute_masking import AttributeMasking
from gtl.tasks.bootstrap import Bootstrap
from gtl.tasks.clustering import Clustering
from gtl.tasks.context_prediction import ContextPrediction
from gtl.tasks.contrast import Contrast
from gtl.tasks.edge_generation import EdgeGeneration
from gtl.tasks.edge_prediction import EdgePrediction
from gtl.tasks.infomax import Infomax
from gtl.tasks.masked_autoencoder import MaskedAutoencoder
from gtl.tasks.motif import Motif
from gtl.tasks.pair_distance import PairDistance
from gtl.tasks.pair_similarity import PairSimilarity
from gtl.tasks.partition import Partition
from gtl.tasks.supervised import Supervised

__all__ = [
    "AttributeGeneration",
    "AttributeMasking",
    "Bootstrap",
    "Clustering",
    "ContextPrediction",
    "Contrast",
    "EdgeGeneration",
    "EdgePrediction",
    "Infomax",
    "MaskedAutoencoder",
    "Motif",
    "PairDistance",
    "PairSimilarity",
    "Partition",
    "Supervised",
]
