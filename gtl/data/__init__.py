"""Data sets from files and from memory: graphs, labels, splits and a metric."""

from gtl.data.category_graph import CategoryGraph
from gtl.data.dataset import Dataset
from gtl.data.links import link_dataset
from gtl.data.loading import load
from gtl.data.readers.smiles import pack_corpus
from gtl.data.series import Series, Windows

__all__ = ["CategoryGraph", "Dataset", "Series", "Windows", "link_dataset", "load", "pack_corpus"]
