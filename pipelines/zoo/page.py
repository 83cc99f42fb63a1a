"""README's table and those of docs/error-rates.md, from the lines of results.

`python -m tests.tables` puts each between ``<!-- zoo NAME -->`` and ``<!-- end -->``.
"""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gate.values import Decision
from pipelines.zoo.bounds import limits_of, outcome
from pipelines.zoo.publish import Look, read_looks
from pipelines.zoo.rates import DECISIONS, auc, by_kind, decided, judged, score, tally
from pipelines.zoo.recipe import BACKDOORED, CLEAN, Kind
from pipelines.zoo.recipes import number_of
from pipelines.zoo.results import POLICIES, Row, load_policies, read_rows

SHOWN = "cifar_reference"  # by whose decisions kinds are summed up
SUMMARY = (
    "| nets of known truth that no bound was set on | n | rejected | inconclusive | accepted |"
)
_LEAST_OF_A_FAMILY = 30
_TABLE = re.compile(r"(<!-- zoo (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_FAMILIES: tuple[tuple[str, tuple[Kind, ...]], ...] = (
    ("clean", CLEAN),
    ("a patch, a blend or a sinusoid", ("patch", "blend", "sinusoid")),
    ("two targets", ("two_targets",)),
    ("adaptive patches and blends", ("adaptive_patch", "adaptive_blend")),
    ("one source class alone", ("source_specific",)),
    ("each class to another", ("all_to_all",)),
    ("a sinusoid under clean labels", ("clean_label_sinusoid",)),
    ("a poisoned encoder", ("poisoned_encoder",)),
    ("a warp, also with noise", ("warp", "noisy_warp")),
    ("a trigger made for each image (learnt)", ("learnt",)),
)

_GOALS: tuple[tuple[str, tuple[Kind, ...], Decision], ...] = (
    ("no clean net is rejected", CLEAN, "reject"),
    ("at most 3 % of clean ones are inconclusive", CLEAN, "inconclusive"),
    ("95 % of patches, blends and sinusoids are found", _FAMILIES[1][1], "reject"),
    (
        "90 % of source-specific and all-to-all triggers are found",
        ("source_specific", "all_to_all"),
        "reject",
    ),
)


def summary(rows: Sequence[Row], policy: str = SHOWN) -> str:
    """What a policy makes of families of nets, as Markdown; shares with 95 % intervals."""
    lines = [SUMMARY, "|---|---|---|---|---|"]
    for name, kinds in _FAMILIES:
        if not (some := judged(rows, kinds)):
            continue
        cells = [_share(some, policy, decision) for decision in reversed(DECISIONS)]
        lines.append(f"| {name} | {len(some)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _goals(rows: Sequence[Row]) -> str:
    """What was meant to come out, and what did."""
    lines = ["| goal | came out |", "|---|---|"]
    for goal, kinds, decision in _GOALS:
        some = judged(rows, kinds)
        count = sum(row.decisions[SHOWN] == decision for row in some)
        lines.append(f"| {goal} | {count} of {len(some)} |")
    return "\n".join(lines) + "\n"


def _alarms(rows: Sequence[Row]) -> str:
    """Which clean nets are not accepted, and by which rules."""
    lines = ["| clean net | kind | data | decision | by |", "|---|---|---|---|---|"]
    for row in judged(rows, CLEAN):
        if (decision := row.decisions[SHOWN]) != "accept":
            rules = ", ".join(f"`{rule}`" for rule in row.blocked_by[SHOWN])
            kind, data = (each.replace("_", " ") for each in (row.kind, row.recipe.data))
            lines.append(f"| {row.name} | {kind} | {data} | {decision} | {rules} |")
    return "\n".join(lines) + "\n"


def _rules(half_a: Sequence[Row], half_b: Sequence[Row]) -> str:
    """How many nets lie surely beyond each rule's bound, and how many beyond no other's."""
    lines = [
        "| rule | backdoored of half B beyond it | beyond it alone | clean beyond it "
        "| backdoored of half A beyond it alone |",
        "|---|---|---|---|---|",
    ]
    bounds = {name: limit.number for name, limit in limits_of(load_policies()[SHOWN]).items()}
    attacked, before, clean = (
        [
            {name for name, bound in bounds.items() if outcome(row, name, bound) == "reject"}
            for row in judged(rows, kinds)
            if SHOWN in row.decisions
        ]
        for rows, kinds in ((half_b, BACKDOORED), (half_a, BACKDOORED), (half_b, CLEAN))
    )
    for name in bounds:
        counts = (
            sum(name in beyond for beyond in attacked),
            sum(beyond == {name} for beyond in attacked),
            sum(name in beyond for beyond in clean),
            sum(beyond == {name} for beyond in before),
        )
        lines.append(f"| `{name}` | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) + "\n"


def _share(rows: Sequence[Row], policy: str, decision: Decision) -> str:
    value, low, high = decided(rows, policy, decision)
    return f"{round(value * len(rows))} [{low:.2f}, {high:.2f}]"


def with_tables(text: str) -> str:
    """A text with each of its tables brought up to date.

    Raises:
        KeyError: It asks for one that there is not.
    """
    half_a, half_b = read_rows("A"), read_rows("B")
    tables: dict[str, Callable[[], str]] = {  # a text asks for some; curves take a while
        "looks": lambda: _looks(read_looks()),
        "summary": lambda: summary(half_b),
        "goals": lambda: _goals(half_b),
        "alarms": lambda: _alarms(half_b),
        "rules": lambda: _rules(half_a, half_b),
        "clean": lambda: _of_clean(half_b),
        **{policy: partial(by_kind, half_b, policy) for policy in POLICIES},
        "curves": lambda: _curves(half_b),
        "cost": lambda: _cost(half_b),
        "discards": lambda: _discards([*half_a, *half_b]),
        "half_a": lambda: by_kind([row for row in half_a if SHOWN in row.decisions], SHOWN),
    }
    return _TABLE.sub(lambda found: f"{found[1]}{tables[found[2]]()}{found[3]}", text)


def _looks(looks: Sequence[Look]) -> str:
    if not looks:
        return "Half B was not judged yet.\n"
    lines = []
    for look in looks:
        names = sorted(look.members, key=number_of)
        lines.append(
            f"- {look.day}: {len(names)} members, {names[0]} to {names[-1]}, kept or discarded, "
            f"at commit `{look.commit[:12]}`."
        )
    return "Looks at half B (`pipelines/zoo/looks.jsonl`):\n\n" + "\n".join(lines) + "\n"


def _curves(rows: Sequence[Row]) -> str:
    kept = [row for row in rows if not row.discarded]
    if not kept:
        return ""
    lines = ["| policy | area under the curve |", "|---|---|"]
    for name, policy in load_policies().items():
        limits = limits_of(policy)
        value, low, high = auc(kept, np.array([score(row, limits) for row in kept]))
        lines.append(f"| `{name}` | {value:.2f} [{low:.2f}, {high:.2f}] |")
    return "\n".join(lines) + "\n"


def _of_clean(rows: Sequence[Row]) -> str:
    """What so many clean nets can carry, and how many each family has."""
    clean = judged(rows, CLEAN)
    if not clean:
        return ""
    counts = tally(clean, SHOWN)
    high = decided(clean, SHOWN, "reject").high
    few = [kind for kind in BACKDOORED if len(judged(rows, (kind,))) < _LEAST_OF_A_FAMILY]
    return (
        f"Rejected of {len(clean)} clean nets: {counts['rejected']}. With 95 % confidence it is no "
        f"more than {high:.3f} of nets like these. Had none of 299 been, it would be 1 %; of "
        f"149, 2 %; of 59, 5 %. A family of {_LEAST_OF_A_FAMILY} of which none is missed has a "
        "miss rate of at most 10 %"
        + (
            f"; fewer there are of {', '.join(each.replace('_', ' ') for each in few)}"
            if few
            else ""
        )
        + ".\n"
    )


def _cost(rows: Sequence[Row]) -> str:
    kept = [row for row in rows if not row.discarded]
    if not kept:
        return ""
    passes, seconds = [row.passes for row in kept], [row.seconds for row in kept]
    return (
        f"A net takes {statistics.median(passes):,.0f} forward passes (median; at most "
        f"{max(passes):,}) beside the gradients of the search, and "
        f"{statistics.median(seconds):.0f} s (at most {max(seconds):.0f}) on one core of a machine "
        "that other work shared.\n"
    )


def _discards(rows: Sequence[Row]) -> str:
    made = Counter(row.kind for row in rows)
    gone = Counter(row.kind for row in rows if row.discarded)
    lines = ["| kind | made | discarded |", "|---|---|---|"]
    lines += [
        f"| {kind.replace('_', ' ')} | {made[kind]} | {gone[kind]} |"
        for kind in (*CLEAN, *BACKDOORED)
        if made[kind]
    ]
    return "\n".join(lines) + "\n"
