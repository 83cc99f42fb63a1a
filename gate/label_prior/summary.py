"""Priors, and comparisons of methods, as JSON takes them."""

from typing import Any

from gate import files, stats
from gate.label_prior.comparison import MethodComparison, MethodResults
from gate.label_prior.imbalance import imbalance_of
from gate.label_prior.prior import Prior, remarks

_WORST = 5
_JOINT = (
    "temperature and bias by penalised maximum likelihood, ridge by marginal likelihood, "
    "cross-fitted over 5 folds"
)


def describe_prior(prior: Prior, clustered: bool = False, seed: int = 0) -> dict[str, Any]:
    """All that is known of a prior.

    Args:
        prior: K shares.
        clustered: Whether samples of one cluster counted as one.
        seed: Of the intervals of its imbalance, which are drawn.
    """
    low, high = prior.bounds
    imbalance = imbalance_of(prior, seed)
    source = "curvature" if prior.covariance.ndim == 2 else "diagonal of the curvature"
    described = {
        "method": _JOINT,
        "shares": files.rounded(prior.shares),
        "standard_errors": files.rounded(prior.errors),
        "low": files.rounded(low),
        "high": files.rounded(high),
        "standard_errors_from": f"{source}, each cluster as one sample" if clustered else source,
        "temperature_scale": prior.scale,
        "spread": prior.spread,
        "total_variation_to_uniform": _interval(imbalance.total_variation),
        "kl_to_uniform": _interval(imbalance.kl),
        "largest_over_smallest": _interval(imbalance.largest_over_smallest),
        "effective_classes": _interval(imbalance.effective_classes),
        "separable": prior.separable,
        "removed": prior.helps,
        "remarks": remarks(prior),
    }
    if prior.cross_fit:
        described["cross_fitted"] = {
            "log_loss_gain": _interval(prior.cross_fit.log_loss_gain),
            "balanced_accuracy_gain": _interval(prior.cross_fit.balanced_accuracy_gain),
        }
    return described


def describe_comparison(comparison: MethodComparison) -> dict[str, Any]:
    """All methods, the gains, and the classes that are worst after the adjustment."""
    gains = comparison._asdict()
    methods = gains.pop("methods")
    before, after = (methods[name].classes for name in ("fine_tuned", "gla"))
    worst = sorted(range(len(after)), key=lambda k: after[k].value)[:_WORST]
    return {
        "methods": {name: _method(results) for name, results in methods.items()},
        **{name: _interval(gain) for name, gain in gains.items()},
        "worst_classes": [
            {"class": k, "before": _interval(before[k]), "after": _interval(after[k])}
            for k in worst
        ],
    }


def _method(results: MethodResults) -> dict[str, Any]:
    return {
        "accuracy": _interval(results.accuracy),
        "balanced_accuracy": _interval(results.balanced_accuracy),
        **{group: _interval(each) for group, each in results.groups.items()},
        "log_loss": _interval(results.log_loss),
        "expected_calibration_error": _interval(results.calibration_error),
    }


def _interval(interval: stats.Interval) -> dict[str, float]:
    return {name: round(value, 6) for name, value in interval._asdict().items()}
