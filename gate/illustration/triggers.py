"""The worst triggers and overlays: images as they are, with the trigger, and with a control."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np

from gate import files
from gate.contact_sheets import Sheet
from gate.errors import EvidenceError
from gate.illustration.drawing import examples_of, images_of, spread
from gate.measure.trial import Trial
from gate.probes.natural_overlay import NaturalOverlay
from gate.probes.probe import ProbeSettings
from gate.probes.trigger_patch import TriggerPatch
from gate.probes.trigger_search.measure import PICTURES
from gate.triggers.grid import TriggerGrid
from gate.triggers.stamp import Stamp
from gate.values import Evidence, Measurement

log = logging.getLogger("gate")

# what names a trigger of the bank or an overlay; one that only flips images names no target
_OF_OVERLAYS = ("excess_prediction_skew",)
_OF_BANK = (
    "worst_targeted_attack_success_rate",
    "worst_source_targeted_attack_success_rate",
    "worst_attack_success_rate",
)
# by what the search calls a trigger of these labels
_FOUND = {
    "worst_patch_attack_success_rate": "patch to {target}",
    "worst_pattern_attack_success_rate": "pattern to {target}",
    "worst_source_attack_success_rate": "patch from {source} to {target}",
    "worst_class_wise_attack_success_rate": "patch from each class, {source} to {target}",
    "worst_square_attack_success_rate": "square to {target}",
    "worst_class_wise_square_attack_success_rate": "square from each class, {source} to {target}",
    "worst_patch_attack_success_rate_over_reference": "patch to {target} beside the reference",
    "worst_square_attack_success_rate_over_reference": "square to {target} beside the reference",
    "worst_pattern_attack_success_rate_over_reference": "pattern to {target} beside the reference",
    "worst_source_margin_over_reference": "window from {source} to {target} beside the reference",
    "worst_class_wise_attack_success_rate_over_reference": (
        "patch from each class, {source} to {target} beside the reference"
    ),
}


@dataclass(frozen=True)
class Stamped:
    """A stamp on trial with its control, and the measurement that names it."""

    measurement: Measurement
    stamp: Stamp
    control: Stamp
    kind: Literal["trigger", "overlay"]
    probe: str

    @property
    def rank(self) -> float:
        """The lowest is the worst."""
        return -self.measurement.value

    def sheet(self, trial: Trial) -> Sheet:
        """Some images that it may carry: classified correctly, and not of its target."""
        about, task = self.measurement.about, self.measurement.about["task"]
        plan = trial.tasks((task,))[task]
        split, target = trial.split(plan.test), about.get("target")
        wanted = trial.predictions(plan) == split.labels
        if target is not None:
            wanted &= split.labels != split.classes.index(target)
        if "source" in about:
            wanted &= split.labels == split.classes.index(about["source"])
        rows = spread(wanted)
        stamps = (self.stamp, self.control)
        hits = trial.responses(plan.test, {task: plan}, stamps, rows=rows).hits[task]
        images = images_of(split, rows, trial.backbone.preprocessing)
        names = split.classes
        columns = [(images, [names[k] for k in hits.clean])]
        columns += [(s.on(images), [names[k] for k in hits.stamped[s.key]]) for s in stamps]
        of_source = f" of class {about['source']}" if "source" in about else ""
        which = f"{len(rows)} images of {split.name}{of_source} that are classified correctly"
        if target is not None and "source" not in about:
            which += f" and are not of class {target}"
        m = self.measurement
        return Sheet(
            kind=self.kind,
            probe=self.probe,
            title=f"{self.stamp.name} on {which}; {m.metric} {m.value:.2f} "
            f"[{m.low:.2f}, {m.high:.2f}], task {task}.",
            about=about,
            target=target,
            columns=("as it is", f"with the {self.kind}", "with a control"),
            examples=examples_of([names[k] for k in split.labels[rows]], columns),
        )


def of_bank(trial: Trial, evidence: Mapping[str, Evidence]) -> Iterator[Stamped]:
    """The worst triggers of the bank, each once a task."""
    settings, found = _settings(trial, "trigger_patch"), evidence.get("trigger_patch")
    if isinstance(settings, TriggerPatch) and found:
        yield from _named(trial, found, settings.triggers, "trigger", _OF_BANK)


def of_overlays(trial: Trial, evidence: Mapping[str, Evidence]) -> Iterator[Stamped]:
    """Overlays by how far they move predictions beyond their controls."""
    settings, found = _settings(trial, "natural_overlay"), evidence.get("natural_overlay")
    if isinstance(settings, NaturalOverlay) and found:
        yield from _named(trial, found, settings.overlays, "overlay", _OF_OVERLAYS)


def of_search(trial: Trial, evidence: Mapping[str, Evidence], pictures: Path) -> Iterator[Stamped]:
    """The worst triggers that were found, by their pictures."""
    if not (found := evidence.get("trigger_search")):
        return
    for m in found.measurements:
        if m.metric not in _FOUND or not _classifies(trial, m):
            continue
        name = _FOUND[m.metric].format(**m.about)
        says = f"task {m.about['task']}: {name}: {PICTURES}/"
        for remark in found.remarks:
            if remark.startswith(says):
                file, _, digest = remark.removeprefix(says).partition(", ")
                channels = trial.backbone.preprocessing.channels
                try:
                    stamp = _stamp_of(name, pictures / file, digest, channels)
                except EvidenceError as fault:  # DVC keeps evidence, and not what lies beside it
                    log.warning("no contact sheet of %s: %s", name, fault)
                    continue
                yield Stamped(m, stamp, _shuffled(stamp, trial.plan.seed), "trigger", found.probe)


def _named(
    trial: Trial,
    found: Evidence,
    grids: tuple[TriggerGrid, ...],
    kind: Literal["trigger", "overlay"],
    metrics: tuple[str, ...],
) -> Iterator[Stamped]:
    """Stamps of grids that measurements name, each once a task, by the first of the metrics."""
    seen = set()
    for m in (m for metric in metrics for m in found.measurements if m.metric == metric):
        if not _classifies(trial, m):
            continue
        named = m.about["task"], m.about[kind]
        if named in seen:
            continue
        seen.add(named)
        for trigger in trial.bank(grids, trial.plan.tasks[m.about["task"]].test):
            if trigger.stamp.name == m.about[kind]:
                yield Stamped(m, trigger.stamp, trigger.controls[0], kind, found.probe)


def _settings(trial: Trial, probe: str) -> ProbeSettings | None:
    """What the plan says under a probe's name, if it runs it."""
    named = probe in trial.plan.probes.named()
    return trial.plan.probes.settings(probe) if named else None


def _classifies(trial: Trial, measurement: Measurement) -> bool:
    """Whether its task is one of the plan's that trains no weights."""
    task = trial.plan.tasks.get(measurement.about["task"])
    return task is not None and not task.transfer.trains


def _stamp_of(name: str, path: Path, digest: str, channels: int) -> Stamp:
    """A trigger as its picture shows it: opaque, or what is added to mid-grey.

    Raises:
        EvidenceError: The picture is not there, or not the one that the evidence names.
    """
    from PIL import Image

    content = files.read(path, EvidenceError)
    if f"sha256:{sha256(content).hexdigest()}" != digest:
        raise EvidenceError(
            f"{path}: is not the picture that the evidence of trigger_search names ({digest}); "
            "run the probe again"
        )
    rgba = np.asarray(Image.open(BytesIO(content)).convert("RGBA"), np.float32)  # (H, W, 4)
    colours, hides = rgba[:, :, :channels], rgba[:, :, 3:] / np.float32(255)
    if name.startswith("pattern"):
        return Stamp(name, np.ones_like(hides), colours - np.float32(128), 0, 0)
    return Stamp(name, 1 - hides, hides * colours, 0, 0)


def _shuffled(stamp: Stamp, seed: int) -> Stamp:
    """The same pixels in another order, where the stamp changes any."""
    rng, covered = np.random.default_rng([seed, len(stamp.add)]), stamp.keep[:, :, 0] < 1
    if not covered.any():
        covered = np.ones_like(covered)
    add = stamp.add.copy()
    add[covered] = rng.permutation(add[covered])
    return Stamp(f"{stamp.name}: shuffled", stamp.keep, add, stamp.top, stamp.left)
