"""Files in, Dataset out: graphs, labels, splits and the metric."""

from gtl.data.dataset import Dataset
from gtl.data.from_smiles import pack_corpus
from gtl.data.load import load

__all__ = ["Dataset", "load", "pack_corpus"]
