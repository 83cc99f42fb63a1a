"""Calibrated classifiers: a task's classifier with both label priors removed (GLA).

Source: Zhu et al. 2023, arXiv 2310.08106.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gate.arrays import Float64, Floats
from gate.backbone.backbone import Outputs
from gate.backbone.heads import JoinedHead, LinearHead, ZeroShotHead
from gate.label_prior import gla
from gate.measure.bench import Bench
from gate.measure.head import fit_linear, fit_nearest_class_mean, out_of_fold_logits
from gate.measure.transfer import Classifier, with_mean_weights


def zero_shot_logits(head: ZeroShotHead, outputs: Outputs) -> Floats:
    """Logits ``(N, K)`` by a zero-shot head of what a backbone gave: features or own logits."""
    return head.logits(getattr(outputs, head.reads))


@dataclass(frozen=True)
class Calibrated:
    """Two classifiers of a task's K classes, and how they are joined."""

    zero_shot: ZeroShotHead
    fine_tuned: Classifier
    adjustment: gla.Adjustment

    def logits(self, outputs: Outputs) -> Float64:
        """Calibrated logits ``(N, K)`` of what the candidate gave, of a head on frozen features."""
        f_zs = zero_shot_logits(self.zero_shot, outputs)
        f_ft = self.fine_tuned.linear.logits(outputs.features)
        return self.adjustment.scores(f_zs, f_ft)["gla"]

    def joined(self) -> JoinedHead:
        """As one linear head, ``W = a_zs W_zs + a_ft W_ft``, ``bias = ... - log q - log p``.

        Where the zero-shot classifier is not linear on the same features, it stands beside it, at
        its temperature, and logits are the sum of both.
        """
        tuned, prior = self.fine_tuned.linear, self.adjustment.prior
        a_zs, a_ft = prior.scale, self.adjustment.fine_tuned_scale
        weight, beside = a_ft * tuned.weight, None
        bias = a_ft * tuned.bias - prior.removed - np.log(self.adjustment.frequencies)
        if isinstance(self.zero_shot, LinearHead):
            weight = weight + a_zs * self.zero_shot.weight
            bias = bias + a_zs * self.zero_shot.bias
        else:
            beside = replace(self.zero_shot, scale=a_zs * self.zero_shot.scale)
        return JoinedHead(LinearHead(weight.astype(np.float32), bias.astype(np.float32)), beside)


def calibrated(
    bench: Bench, name: str, fine_tuned: Classifier, zero_shot: ZeroShotHead | None
) -> Calibrated:
    """The calibrated classifier of the task of that name.

    Prior and temperatures come from logits of images that their classifiers were not fitted on: of
    the held-out split, if the task has one, else of the training split, head by head on the part
    left out.

    Args:
        bench: Has the task's splits and their features.
        name: Of a task that can be calibrated.
        fine_tuned: The task's classifier.
        zero_shot: The task's zero-shot head; without one, the nearest class mean stands in.

    Raises:
        EvidenceError: No estimate.
    """
    task, seed = bench.plan.tasks[name], bench.plan.seed
    assert task.head != "own"  # noqa: S101  # such a task cannot be calibrated
    train = bench.split(str(task.train))
    features = bench.features(train.name)
    head = zero_shot or fit_nearest_class_mean(features, train.labels)
    known = bench.split(task.held_out) if task.held_out else train
    if zero_shot or task.held_out:
        f_zs = zero_shot_logits(head, bench.outputs(known.name))
    else:
        f_zs = out_of_fold_logits(fit_nearest_class_mean, features, train.labels, seed)
    if task.held_out:
        f_ft = _logits(bench, fine_tuned, known.name)
    else:
        fit = partial(fit_linear, l2=task.head.l2)
        f_ft = out_of_fold_logits(fit, features, train.labels, seed)
    frequencies = np.bincount(train.labels) / len(train)
    return Calibrated(head, fine_tuned, gla.adjustment(f_zs, f_ft, known.labels, frequencies, seed))


def both_logits(bench: Bench, of: Calibrated, split: str) -> tuple[Floats, Floats]:
    """Logits ``(N, K)`` of a split by the zero-shot and by the fine-tuned classifier."""
    f_zs = zero_shot_logits(of.zero_shot, bench.outputs(split))
    return f_zs, _logits(bench, of.fine_tuned, split)


def wise_ft_logits(bench: Bench, name: str, of: Calibrated, split: str) -> Floats | None:
    """WiSE-FT: logits ``(N, K)`` by the mean of both classifiers' weights, where these exist.

    They do where the zero-shot head is linear on the same backbone's features, or on those of the
    backbone before its full network was fine-tuned.

    Source:
        Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", at alpha = 0.5.
    """
    scratch = bench.plan.tasks[name].transfer.mode == "from_scratch"
    if scratch or not isinstance(of.zero_shot, LinearHead):
        return None
    tuned, own = of.fine_tuned.linear, of.zero_shot
    weight, bias = (own.weight + tuned.weight) / 2, (own.bias + tuned.bias) / 2
    head = LinearHead(weight.astype(np.float32), bias.astype(np.float32))
    return head.logits(bench.features(split, with_mean_weights(bench, of.fine_tuned.backbone)))


def _logits(bench: Bench, classifier: Classifier, split: str) -> Floats:
    return classifier.linear.logits(bench.features(split, classifier.backbone))
