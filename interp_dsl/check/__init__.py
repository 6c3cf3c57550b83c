"""The checker: from the syntax tree to an experiment of typed values, and on to its plan.

No torch is imported here or below."""

from interp_dsl.check.lower import plan_experiment
from interp_dsl.check.program import Checked, Experiment, check_file, check_source

__all__ = ["Checked", "Experiment", "check_file", "check_source", "plan_experiment"]
