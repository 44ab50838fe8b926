"""Which heads of a model may read less than everything, what that saves and what it costs."""

from .fit import fit_option
from .fitted_head import FittedHead
from .judge import OptionTrial, fit_and_judge, judge_head
from .options import HeadOption, default_options
from .recommend import COMPOUNDING, harm_of, recommend
from .recommendation import HeadChoice, Recommendation
from .sensitivity import HeadSensitivity, head_sensitivity
from .swap import swapped

__all__ = [
    "COMPOUNDING",
    "FittedHead",
    "HeadChoice",
    "HeadOption",
    "HeadSensitivity",
    "OptionTrial",
    "Recommendation",
    "default_options",
    "fit_and_judge",
    "fit_option",
    "harm_of",
    "head_sensitivity",
    "judge_head",
    "recommend",
    "swapped",
]
