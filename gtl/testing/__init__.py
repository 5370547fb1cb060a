"""The laws that every part of a role obeys, callable on parts of your own.

``gtl.testing.check_task(MyTask())`` is silent when all laws hold and raises
:class:`gtl.errors.LawError` naming the first that does not. Without these laws a plug-in could
work alone and still break what meets it in a loop: a look-ahead, a batch with an empty graph, a
resumed run.
"""

from gtl.testing.adapters import ADAPTER_LAWS, check_adapter
from gtl.testing.encoders import ENCODER_LAWS, check_encoder
from gtl.testing.examples import MOLECULES, POINTS, TYPED, Example, SmallEncoder
from gtl.testing.heads import HEAD_LAWS, READOUT_LAWS, check_head, check_readout
from gtl.testing.tasks import TASK_LAWS, check_task
from gtl.testing.weightings import WEIGHTING_LAWS, check_weighting

__all__ = [
    "ADAPTER_LAWS",
    "ENCODER_LAWS",
    "HEAD_LAWS",
    "MOLECULES",
    "POINTS",
    "READOUT_LAWS",
    "TASK_LAWS",
    "TYPED",
    "WEIGHTING_LAWS",
    "Example",
    "SmallEncoder",
    "check_adapter",
    "check_encoder",
    "check_head",
    "check_readout",
    "check_task",
    "check_weighting",
]
