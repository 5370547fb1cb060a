"""Encoders turn a Graph into one vector per node; readouts turn those into one per graph."""

from gtl.encoders.earl import EARL
from gtl.encoders.gat import GAT
from gtl.encoders.gcn import GCN
from gtl.encoders.gin import GIN
from gtl.encoders.hgt import HGT
from gtl.encoders.mlp import MLP
from gtl.encoders.pretrained import load_pretrained
from gtl.encoders.relation_transfer import with_relations
from gtl.encoders.rgcn import RGCN
from gtl.encoders.sage import SAGE

__all__ = [
    "EARL",
    "GAT",
    "GCN",
    "GIN",
    "HGT",
    "MLP",
    "RGCN",
    "SAGE",
    "load_pretrained",
    "with_relations",
]
