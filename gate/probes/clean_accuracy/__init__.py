"""How well does a head on this backbone classify images that nobody tampered with?

What it measures: accuracy of the linear head on the test split of each task, overall and by class.
Remarks say where guessing would do as well, where one class is given to all or features hardly
change, and where inputs in another scale or channel order would suit the backbone clearly better.
Control: none; the other probes are read beside it, because it does not show a planted bias.
Why it matters: a backbone that gives a task nothing needs no further trial.
Blind spots: triggers and shortcuts; both leave clean accuracy as it is.
Source: Salman et al. 2022, arXiv 2207.02842, section 2.
"""

from gate.probes.probe import Metrics, Probe, ProbeSettings, fraction


class CleanAccuracy(ProbeSettings):
    """The tasks whose classifiers are tried; it has no other settings."""


METRICS = Metrics(
    accuracy=fraction("higher", ("task",), "test images classified correctly"),
    class_accuracy=fraction("higher", ("task", "class"), "the same, within one class"),
)
PROBE = Probe(__doc__, CleanAccuracy, METRICS)
