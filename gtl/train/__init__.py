"""Parts in, trained parts out: the only place where encoders, tasks, weightings and heads meet."""

from gtl.train.episodes import finetune_by_episodes
from gtl.train.evaluate import embed, evaluate, predict
from gtl.train.few_shot import few_shot
from gtl.train.finetune import finetune
from gtl.train.forecast import forecast
from gtl.train.forecaster import Forecaster
from gtl.train.model import Model, Predictor
from gtl.train.parts import Run
from gtl.train.pretrain import pretrain
from gtl.train.score import score
from gtl.train.step import Step, TaskModel

__all__ = [
    "Forecaster",
    "Model",
    "Predictor",
    "Run",
    "Step",
    "TaskModel",
    "embed",
    "evaluate",
    "few_shot",
    "finetune",
    "finetune_by_episodes",
    "forecast",
    "predict",
    "pretrain",
    "score",
]
