"""Each probe measures what the catalogue says, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gate.measure.bench import Bench
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.plan.probes import ProbePlan
from gate.policy.catalogue import CATALOGUE
from gate.probes.evidence import run_probe
from tests.probes.test_label_prior import with_embeddings


def test_the_catalogue_lists_every_probe() -> None:
    assert set(CATALOGUE) == set(ProbePlan.model_fields)


# weights of the example's ONNX files can neither be trained from scratch, as natural_overlay does
# (see test_transfer), nor altered, as module_criticality does, nor drawn anew, as feature_reuse
# does, nor interpolated; trigger_phrase takes texts
ELSEWHERE = {"feature_reuse", "module_criticality", "natural_overlay", "trigger_phrase"}


@pytest.mark.parametrize("probe", sorted(set(CATALOGUE) - ELSEWHERE))
def test_a_probe_measures_its_rows_of_the_catalogue(
    probe: str, digits_trial: Callable[[str], Trial], tmp_path: Path
) -> None:
    content = with_embeddings(digits_trial("clean"), tmp_path).plan.model_dump()
    content["probes"]["label_prior"]["few_shot"] = [1]
    content["reference"] = digits_trial("shortcut").plan.backbone.model_dump()
    content["ancestor"] = content["reference"]
    grid = {"pattern": "checkerboard", "size": [0.1], "place": ["centre"]}
    content["probes"]["trigger_patch"]["triggers"] = [grid]
    content["probes"]["trigger_patch"]["remedies"] = ["ignored_directions"]
    content["probes"]["spurious_attribute"]["remedies"] = ["balanced_groups"]
    few = {"search_images": 60, "evaluation_images": 60, "steps": 10}
    content["probes"]["trigger_search"] |= few
    test = content["splits"]["test"]
    content["splits"]["pool"] = test | {"shard": {"index": 0, "count": 3}}
    content["splits"]["test"] = test | {"shard": {"index": 1, "count": 3}}
    content["probes"]["spurious_attribute"]["dose_response"] = "pool"
    content["probes"][probe] = content["probes"].get(probe) or {}  # one that the plan lacks
    trial = Trial(Bench(Plan.model_validate(content), digits_trial("clean").bench.folder))

    found = run_probe(probe, trial).measurements

    assert {m.metric for m in found} == set(CATALOGUE[probe]) - {"interpolation_barrier"}
    for m in found:
        assert m.unit == CATALOGUE[probe][m.metric].unit
        assert set(m.about) == set(CATALOGUE[probe][m.metric].labels)
