"""A safety gate in front of a model registry: it judges pretrained backbones.

>>> import gate
>>> policy = gate.load_policy("policies/digits.yaml")
>>> policy.name
'digits'
"""

from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.policy.rules import Policy
from gate.values import Evidence, Measurement, Verdict

__version__ = "0.2.0"
__all__ = ["Evidence", "Measurement", "Policy", "Verdict", "decide", "load_policy"]
