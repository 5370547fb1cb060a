"""Roles: abstract classes that loops know parts by, and all that a plug-in implements.

Each class is abstract and small. Concrete parts derive from it directly and override nothing that
is implemented here. :mod:`gtl.testing` checks the laws that every part of a role obeys.
"""

from gtl.roles.adapter import Adapter, Site, Sites
from gtl.roles.encoder import Encoder
from gtl.roles.few_shot_method import FewShotMethod, Scorer
from gtl.roles.head import Head
from gtl.roles.readout import Readout
from gtl.roles.recorded import Recorded
from gtl.roles.search_space import Choice, Range, Space
from gtl.roles.task import Batch, Gate, Task, View
from gtl.roles.triple_score import TripleScore
from gtl.roles.weighting import Step, Weighting

__all__ = [
    "Adapter",
    "Batch",
    "Choice",
    "Encoder",
    "FewShotMethod",
    "Gate",
    "Head",
    "Range",
    "Readout",
    "Recorded",
    "Scorer",
    "Site",
    "Sites",
    "Space",
    "Step",
    "Task",
    "TripleScore",
    "View",
    "Weighting",
]
