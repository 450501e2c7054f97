"""Evaluation: how good are samples, how far is one set of them from another, and how sure is the answer?

Metrics on images are taken on features of shape (N, F): `features.digit_features` for 8×8 digits,
`features.ModuleFeatures` for any other network. Every metric comes twice: as a number, and as an `Interval` from the
one bootstrap of `bootstrap`, whose docstring says which kind of interval each metric takes and why.

Conventions: rows are examples; covariances are divided by N − 1; `features_a` (or `real`) is data, `features_b`
(or `fake`) the model where the two roles differ.
"""

from reference_models.evaluation.bootstrap import Interval
from reference_models.evaluation.density_coverage import DensityCoverage, DensityCoverageIntervals
from reference_models.evaluation.features import DigitClassifier, ModuleFeatures
from reference_models.evaluation.memorisation import Memorisation
from reference_models.evaluation.mode_coverage import ModeCoverage, ModeCoverageIntervals
from reference_models.evaluation.precision_recall import PrecisionRecall, PrecisionRecallIntervals
from reference_models.evaluation.truncation import TruncationCurve

__all__ = [
    "DensityCoverage",
    "DensityCoverageIntervals",
    "DigitClassifier",
    "Interval",
    "Memorisation",
    "ModeCoverage",
    "ModeCoverageIntervals",
    "ModuleFeatures",
    "PrecisionRecall",
    "PrecisionRecallIntervals",
    "TruncationCurve",
]
