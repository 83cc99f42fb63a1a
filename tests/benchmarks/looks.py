"""Passes and verdicts of the trigger probe by looks, against every trigger on every image.

``python -m tests.benchmarks.looks [ORDERS [PLAN POLICY BACKBONE ...]]``; by default 100 orders, and
backbones that other people trained, which need ../shared/data. What classifiers make of every
trigger on every image is recorded once; then looks are replayed in so many random orders, and each
is judged by the policy's rules on the probe. Prints a table as Markdown.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np

from gate.measure.bench import Bench
from gate.measure.responses import Hits
from gate.measure.trial import Trial
from gate.plan.plan import load_plan
from gate.policy.decide import decide
from gate.policy.load import load_policy
from gate.policy.rules import Policy
from gate.probes.directions import of_directions
from gate.probes.looks import look, look_ends, stamps_of
from gate.probes.probe import LookSettings
from gate.probes.rates import of_task
from gate.probes.trigger_patch import TriggerPatch
from gate.triggers.phrase import AnyStamp
from gate.triggers.stamp import Trigger
from gate.values import Evidence, Measurement

CIFAR = Path("pipelines/cifar")
RUNS = [
    (CIFAR / "plan.yaml", Path("policies/cifar.yaml"), CIFAR / f"{name}.yaml")
    for name in ("resnet20", "wrn16", "badnet")
]


class Replay:
    """A sample of recorded answers in another order: what is reached is copied, and counted."""

    def __init__(self, recorded: dict[str, Hits], triggers: list[Trigger], seed: int) -> None:
        (some, *_) = recorded.values()
        total = len(some.labels)
        self.ends = look_ends(LookSettings().first_look, total)  # type: ignore[arg-type]  # a number
        rows = np.random.default_rng(seed).permutation(total)
        self._whole = {
            name: replace(
                hits,
                labels=hits.labels[rows],
                clean=hits.clean[rows],
                stamped={key: classes[rows] for key, classes in hits.stamped.items()},
            )
            for name, hits in recorded.items()
        }
        self.hits = {name: replace(hits, stamped={}) for name, hits in self._whole.items()}
        self.reach(stamps_of(triggers), self.ends[0])

    def reach(self, stamps: Iterable[AnyStamp], images: int) -> None:
        """As `Sample.reach`."""
        keys = {stamp.key for stamp in stamps}
        for name, whole in self._whole.items():
            seen = dict(self.hits[name].stamped)
            for key in keys:
                if len(seen.get(key, ())) < images:
                    seen[key] = whole.stamped[key][:images]
            self.hits[name] = replace(self.hits[name], stamped=seen)

    def has_time_for(self, _stamps: Iterable[AnyStamp], _images: int) -> bool:
        """As `Sample.has_time_for`, of a run that may take as long as it likes."""
        return True

    @property
    def passes(self) -> int:
        """Of single images."""
        (some, *_) = self.hits.values()
        return sum(len(classes) for classes in some.stamped.values())


def outcome(policy: Policy, backbone: str, found: list[Measurement]) -> str:
    """The worst outcome of a policy's rules on the probe."""
    evidence = Evidence(
        probe="trigger_patch", backbone=backbone, data={"split": backbone}, seed=0, settings={},
        versions={}, measurements=tuple(found),
    )  # fmt: skip
    findings = decide(policy, [evidence], date(2026, 1, 1)).findings
    outcomes = {f.outcome for f in findings if f.probe == "trigger_patch" and f.measurement}
    return next(o for o in ("fail", "inconclusive", "pass") if o in outcomes)


def replayed(plan: Path, policy: Path, card: Path, folder: Path, orders: int) -> str:
    """A row of the table."""
    loaded, rules = load_plan(plan, card), load_policy(policy)
    trial, settings = Trial(Bench(loaded, folder)), loaded.probes.settings("trigger_patch")
    assert isinstance(settings, TriggerPatch)
    (split,) = {task.test for task in loaded.tasks.values() if not task.train} or {"test"}
    tasks = {name: task for name, task in loaded.tasks.items() if task.test == split}
    triggers = trial.bank(settings.triggers, split)
    recorded = trial.responses(split, tasks, stamps_of(triggers)).hits
    images = len(trial.split(split))

    def judged(hits: dict[str, Hits], ends: tuple[int, ...]) -> str:
        found: list[Measurement | str] = []
        for each in hits.values():
            found += of_task(each, triggers, ends)
            found += of_directions(each, triggers, len(ends))
        measured = [each for each in found if isinstance(each, Measurement)]
        return outcome(rules, trial.backbone.digest, measured)

    fixed, shares, outcomes = judged(recorded, (images,)), [], Counter[str]()
    distinct = len({stamp.key for stamp in stamps_of(triggers)})
    for seed in range(orders):
        replay = Replay(recorded, triggers, seed)
        look(replay, triggers, settings.resolution)
        shares.append(replay.passes / (distinct * images))
        outcomes[judged(replay.hits, replay.ends)] += 1
    same = outcomes[fixed]
    return (
        f"| {card.stem} | {distinct} x {images} | {np.mean(shares):.3f} | {max(shares):.3f} | "
        f"{fixed} | {same} of {orders} |"
    )


def main(orders: int, runs: list[tuple[Path, Path, Path]]) -> None:
    """Print a row a backbone."""
    print("| backbone | stamps x images | share of passes | largest | on all | by looks the same |")
    print("|---|---|---|---|---|---|")
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            print(replayed(*run, Path(folder), orders), flush=True)


if __name__ == "__main__":
    orders, *given = sys.argv[1:] or ["100"]
    plan, policy, *cards = map(Path, given) if given else (None, None)
    runs = [(plan, policy, card) for card in cards] if plan and policy else RUNS
    main(int(orders), runs)
