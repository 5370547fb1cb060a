"""The laws that every part of a role obeys, callable on parts of your own.

``gtl.testing.check_task(MyTask())`` is silent when all laws hold and raises
:class:`gtl.errors.LawError` naming the first that does not. A part that works by itself can still
fail in a loop, in a look-ahead, with an empty graph in a batch, or in a run that is resumed: the
laws try all of these.
"""

from gtl.testing.adapters import ADAPTER_LAWS, check_adapter
from gtl.testing.encoders import ENCODER_LAWS, check_encoder
from gtl.testing.examples import MOLECULES, POINTS, TYPED, Example, SmallEncoder
from gtl.testing.few_shot_methods import FEW_SHOT_METHOD_LAWS, check_few_shot_method
from gtl.testing.heads import HEAD_LAWS, READOUT_LAWS, check_head, check_readout
from gtl.testing.tasks import TASK_LAWS, check_task
from gtl.testing.triple_scores import TRIPLE_SCORE_LAWS, check_triple_score
from gtl.testing.weightings import WEIGHTING_LAWS, check_weighting

__all__ = [
    "ADAPTER_LAWS",
    "ENCODER_LAWS",
    "FEW_SHOT_METHOD_LAWS",
    "HEAD_LAWS",
    "MOLECULES",
    "POINTS",
    "READOUT_LAWS",
    "TASK_LAWS",
    "TRIPLE_SCORE_LAWS",
    "TYPED",
    "WEIGHTING_LAWS",
    "Example",
    "SmallEncoder",
    "check_adapter",
    "check_encoder",
    "check_few_shot_method",
    "check_head",
    "check_readout",
    "check_task",
    "check_triple_score",
    "check_weighting",
]
