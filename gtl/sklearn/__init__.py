"""Estimators of scikit-learn on molecules and graphs: vectors of an encoder, and its fine-tuning.

>>> import torch
>>> from gtl.graph import Graph
>>> graphs = [Graph(torch.arange(n - 1), torch.arange(1, n), n) for n in range(2, 14)]
>>> small = {"name": "gin", "width": 8, "depth": 1}
>>> model = GraphRegressor(small, epochs=2).fit(graphs, [graph.num_nodes for graph in graphs])
>>> model.predict(graphs[:3]).shape
(3,)
"""

from gtl.sklearn.embedding import MoleculeEmbedding
from gtl.sklearn.estimators import GraphClassifier, GraphEstimator, GraphRegressor

__all__ = ["GraphClassifier", "GraphEstimator", "GraphRegressor", "MoleculeEmbedding"]
