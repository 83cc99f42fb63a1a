"""What would users see change if this backbone took the place of the reference?

What it measures: for each task, on the same test images or texts, how often the classifiers of
candidate and reference agree; how far their mistakes are the same (Jaccard index of the two sets,
Cohen's kappa of right and wrong); the difference of their accuracies; and the shares of what only
the candidate gets wrong (negative flips) and only the reference (positive flips), also by class.
Remarks name a few examples that only the candidate gets wrong.
Control: none; a second training of the same network flips some answers, too.
Why it matters: two backbones of one accuracy may be wrong on different images, and users notice
what was right before. Only predictions are needed, so any two formats can be compared.
Blind spots: what the test split does not show; how bad a mistake is.
Source: Neyshabur, Sedghi, Zhang 2020, arXiv 2008.11687, section 3.2 (common and uncommon mistakes);
Yan et al. 2021, arXiv 2011.09161 (negative flips).
"""

from gate.probes.probe import Metric, Metrics, Probe, ProbeSettings, difference, fraction

_task, _class = ("task",), ("task", "class")


class SharedMistakes(ProbeSettings):
    """The tasks whose classifiers are compared; it has no other settings."""


METRICS = Metrics(
    agreement=fraction("higher", _task, "test images given the same class by both"),
    mistake_jaccard=fraction(
        "higher", _task, "of what either gets wrong, the share that both get wrong"
    ),
    mistake_kappa=Metric(
        "ratio", "higher", _task, "Cohen's kappa of right and wrong; 0 is chance, 1 the same"
    ),
    accuracy_over_reference=difference(
        "higher", _task, "accuracy minus that of the reference, on the same images"
    ),
    negative_flip_rate=fraction(
        "lower", _task, "test images that the reference gets right and the candidate wrong"
    ),
    positive_flip_rate=fraction(
        "higher", _task, "test images that the candidate gets right and the reference wrong"
    ),
    class_agreement=fraction("higher", _class, "agreement within one class"),
    class_accuracy_over_reference=difference(
        "higher", _class, "accuracy minus that of the reference, within one class"
    ),
    class_negative_flip_rate=fraction("lower", _class, "negative flips within one class"),
    class_positive_flip_rate=fraction("higher", _class, "positive flips within one class"),
    worst_class_accuracy_over_reference=difference(
        "higher", _class, "accuracy minus that of the reference, in the class where it is lowest"
    ),
    worst_class_negative_flip_rate=fraction(
        "lower", _class, "negative flips in the class that has the largest share of them"
    ),
)
PROBE = Probe(__doc__, SharedMistakes, METRICS, needs_reference=True)
