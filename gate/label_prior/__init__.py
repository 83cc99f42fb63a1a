"""Label prior that a classifier absorbed: its estimate, and how far it is from uniform."""

from gate.label_prior.imbalance import Imbalance, imbalance_of
from gate.label_prior.prior import CrossFitted, Prior, check, estimate, remarks, shares_of, uniform

__all__ = [
    "CrossFitted",
    "Imbalance",
    "Prior",
    "check",
    "estimate",
    "imbalance_of",
    "remarks",
    "shares_of",
    "uniform",
]
