"""(Evidence, Evidence) -> Comparison. Pure: no files, no clock, no measuring."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from gate import stats
from gate.comparison.values import WORST_FIRST, Change, Comparison, Difference, Row, Unmatched
from gate.errors import EvidenceError
from gate.policy.catalogue import CATALOGUE, needs_reference
from gate.policy.sound import require_sound
from gate.values import Evidence, Measurement, in_words

# labels that say where a worst case was found, which may be elsewhere on the other side
_FOUND = {"trigger", "source", "target", "class", "module"}
# settings that are each backbone's own, or change no number but by rounding
_OWN_SETTINGS = {"backbone", "reference", "batch_size"}
_SHARES = ("fraction", "difference of fractions", "cosine")
_OVER = "_over_reference"
_SAME = 1e-9
_Key = tuple[str, tuple[tuple[str, str], ...]]
_Side = Literal["candidate", "champion"]
_Better = Literal["lower", "higher", "neither"]


class _Pair(NamedTuple):
    """What one probe found on both sides."""

    candidate: Evidence
    champion: Evidence

    @property
    def probe(self) -> str:
        """The probe's name."""
        return self.candidate.probe


class _Source(NamedTuple):
    """Evidence of one side whose reference is the other: its differences, by metric and labels."""

    evidence: Evidence
    differences: Mapping[_Key, Measurement]
    of_candidate: bool


class _Matched(NamedTuple):
    """A measurement of both sides, and the paired difference where some probe measured it."""

    pair: _Pair
    candidate: Measurement
    champion: Measurement
    paired: Measurement | None


def compare(candidate: Sequence[Evidence], champion: Sequence[Evidence]) -> Comparison:
    """Hold each metric of a candidate against the same metric of the champion.

    Rows are of equal probe, metric and labels; of a worst case, and of what a remedy leaves of it,
    also where each side's is another one. What was measured on a reference alone is no row, nor is
    what was measured against different references.

    Differences are the probes' own, measured image by image, where one side's evidence names the
    other as its reference; else those of two independent samples. They are called worse, better or
    changed by intervals that hold for all rows at once (Bonferroni). Where data or settings differ,
    nothing is called so.

    Args:
        candidate: What was measured on one backbone, one value a probe.
        champion: The same of the backbone that it would replace.

    Returns:
        Rows by change, worst first, and within one by how far the interval lies from 0: in units of
        a share, or of the larger of both numbers where they are none.

    Raises:
        EvidenceError: A side is not of exactly one backbone, or not what probes measure; or both
            have no measurement in common.
    """
    backbones = (
        require_sound("compare: the candidate", candidate),
        require_sound("compare: the champion", champion),
    )
    pairs = _pairs(candidate, champion)
    differ = {pair.probe: list(_differing(pair)) for pair in pairs}
    sources = [*_sources(candidate, backbones[1], True), *_sources(champion, backbones[0], False)]
    matched = [each for pair in pairs for each in _matched(pair, sources)]
    if not matched:
        raise EvidenceError(
            "compare: no measurement stands on both sides: the candidate has those of "
            f"{_probes(candidate)}, the champion those of {_probes(champion)}; run the same plan "
            "on both"
        )
    compared = sum(not differ[each.pair.probe] for each in matched)
    rows = [_row(each, bool(differ[each.pair.probe]), compared) for each in matched]
    return Comparison(
        candidate=backbones[0],
        champion=backbones[1],
        rows=tuple(sorted(rows, key=_worst_first)),
        unmatched=tuple(_unmatched(candidate, champion, matched)),
        notes=(
            *_notes_on_sides(backbones, pairs, differ),
            *_notes_on_pairing(pairs, sources, rows),
        ),
    )


def _probes(evidence: Sequence[Evidence]) -> str:
    return ", ".join(sorted(item.probe for item in evidence))


def _pairs(candidate: Sequence[Evidence], champion: Sequence[Evidence]) -> list[_Pair]:
    theirs = {item.probe: item for item in champion}
    both = (item for item in candidate if item.probe in theirs)
    return [_Pair(item, theirs[item.probe]) for item in sorted(both, key=lambda item: item.probe)]


def _differing(pair: _Pair) -> Iterator[str]:
    """The data and settings that make numbers of both sides those of different questions."""
    for name in _changed(pair.candidate.data, pair.champion.data):
        yield f"data {name}"
    settings = pair.candidate.settings, pair.champion.settings
    for name in _changed(*settings):
        if name not in _OWN_SETTINGS:
            yield f"settings of {'the probe' if name == 'probe' else name}{_inner(name, settings)}"


def _changed(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, or that one side lacks."""
    missing = object()
    names = sorted(one.keys() | other.keys())
    return [name for name in names if one.get(name, missing) != other.get(name, missing)]


def _inner(name: str, settings: tuple[Mapping[str, Any], Mapping[str, Any]]) -> str:
    """Which keys below a key of settings differ, in brackets."""
    one, other = (each.get(name) for each in settings)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return f" ({', '.join(_changed(one, other))})"
    return ""


def _matched(pair: _Pair, sources: Sequence[_Source]) -> Iterator[_Matched]:
    """The measurements that stand on both sides, in the order of the candidate's."""
    ours, theirs = _single(pair.candidate), _single(pair.champion)
    exact = {_key(m): m for m in pair.champion.measurements}
    for one in pair.candidate.measurements:
        if _is_of_reference(pair, one.metric):
            continue
        other = exact.get(_key(one))
        if other is None and ours.get(_case(one)) is one:
            other = theirs.get(_case(one))
        if other:
            yield _Matched(pair, one, other, _paired(pair, one, other, sources))


def _key(m: Measurement) -> _Key:
    return m.metric, tuple(m.about.items())


def _case(m: Measurement) -> _Key:
    """A measurement's metric and labels; of a worst case without those that say which it was."""
    worst = m.metric.startswith("worst_") or m.metric.endswith("_after_remedy")
    return m.metric, tuple(item for item in m.about.items() if not (worst and item[0] in _FOUND))


def _single(evidence: Evidence) -> dict[_Key, Measurement]:
    """Measurements by case, where a case has a single one."""
    cases: dict[_Key, list[Measurement]] = {}
    for m in evidence.measurements:
        cases.setdefault(_case(m), []).append(m)
    return {case: several[0] for case, several in cases.items() if len(several) == 1}


def _is_of_reference(pair: _Pair, metric: str) -> bool:
    """Whether a metric is of a reference alone, or was measured against two different ones."""
    return metric.startswith("reference_") or (
        needs_reference(pair.probe, metric) and pair.candidate.reference != pair.champion.reference
    )


def _sources(
    evidence: Sequence[Evidence], other_side: str, of_candidate: bool
) -> Iterator[_Source]:
    for item in evidence:
        if item.reference == other_side:
            over = [m for m in item.measurements if m.metric.endswith(_OVER)]
            yield _Source(item, {_key(m): m for m in over}, of_candidate)


def _paired(
    pair: _Pair, one: Measurement, other: Measurement, sources: Sequence[_Source]
) -> Measurement | None:
    """The difference of both that a probe measured example by example; candidate minus champion.

    The same probe's is of the same quantity. Another probe's is so where it has as many examples
    and the same value, as that of shared_mistakes has for accuracy.
    """
    if one.about != other.about:
        return None
    for source in sorted(sources, key=lambda source: source.evidence.probe != pair.probe):
        m = source.differences.get((one.metric + _OVER, tuple(one.about.items())))
        if not m or not _opened_alike(source, pair):
            continue
        difference = m if source.of_candidate else _negative(m)
        agrees = abs(difference.value - (one.value - other.value)) <= _SAME
        if source.evidence.probe == pair.probe or (agrees and m.n == one.n):
            return difference
    return None


def _negative(m: Measurement) -> Measurement:
    return Measurement(**{**dict(m), "value": -m.value, "low": -m.high, "high": -m.low})


def _row(matched: _Matched, differs: bool, compared: int) -> Row:
    """A row, whose change is read from an interval that holds for as many rows as are compared."""
    pair, one, other, _ = matched
    better = CATALOGUE[pair.probe][one.metric].better
    difference = None if differs else _difference(matched, compared)
    change: Change = "not comparable"
    alone: Change = "not comparable"
    if difference:
        change = _change(better, difference.low_of_all, difference.high_of_all)
        alone = _change(better, difference.low, difference.high)
    return Row(
        probe=pair.probe,
        metric=one.metric,
        labels=dict(item for item in one.about.items() if item in other.about.items()),
        better=better,
        candidate=one,
        champion=other,
        difference=difference,
        change=change,
        alone=alone,
    )


def _change(better: _Better, low: float, high: float) -> Change:
    """What an interval of a difference says."""
    if low <= 0 <= high:
        return "unsettled"
    if better == "neither":
        return "changed"
    return "better" if (low > 0) == (better == "higher") else "worse"


def _difference(matched: _Matched, compared: int) -> Difference:
    """Candidate minus champion.

    Raises:
        EvidenceError: The numbers are so large that their difference is not finite.
    """
    pair, one, other, paired = matched
    if paired:
        own = _interval(paired)
        of_all = _of_many(paired, compared)
    else:
        own = stats.difference(_interval(one), _interval(other))
        of_all = stats.difference(_of_many(one, compared), _of_many(other, compared))
    if not all(map(math.isfinite, (*own, *of_all))):
        raise EvidenceError(
            f"compare: {pair.probe}.{one.metric} ({in_words(one.about)}): {one.value:g} and "
            f"{other.value:g}, with their intervals, are too large to subtract; run the probe again"
        )
    return Difference(
        value=own.value,
        low=own.low,
        high=own.high,
        low_of_all=min(of_all.low, own.low),
        high_of_all=max(of_all.high, own.high),
        paired=paired is not None,
    )


def _interval(m: Measurement) -> stats.Interval:
    return stats.Interval(m.value, m.low, m.high)


def _of_many(m: Measurement, rows: int) -> stats.Interval:
    """A measurement's interval, as wide as it must be where those of all rows hold at once."""
    if m.unit == "fraction" and m.low >= 0 and m.high <= 1:
        return stats.rate_of_many(_interval(m), rows)
    of_rates = m.unit in ("fraction", "difference of fractions")
    return stats.number_of_many(_interval(m), rows, m.n if of_rates else None)


def _worst_first(row: Row) -> tuple[Any, ...]:
    """What sorts rows: what changed, how far its interval lies from 0, and names."""
    far = 0.0
    if row.difference:
        numbers = abs(row.candidate.value), abs(row.champion.value)
        scale = 1.0 if row.candidate.unit in _SHARES else max(*numbers, _SAME)
        far = max(row.difference.low, -row.difference.high) / scale
    kinds = WORST_FIRST.index(row.change), WORST_FIRST.index(row.alone)
    return *kinds, -far, row.probe, row.metric, sorted(row.candidate.about.items())


def _unmatched(
    candidate: Sequence[Evidence], champion: Sequence[Evidence], matched: Sequence[_Matched]
) -> Iterator[Unmatched]:
    """What only one side measured, but for what is of a reference."""
    taken = {
        (side, each.pair.probe, *_key(m))
        for each in matched
        for side, m in (("candidate", each.candidate), ("champion", each.champion))
    }
    sides: tuple[tuple[_Side, Sequence[Evidence]], ...] = (
        ("candidate", candidate),
        ("champion", champion),
    )
    for side, evidence in sides:
        for item in sorted(evidence, key=lambda item: item.probe):
            for m in item.measurements:
                of_reference = m.metric.startswith("reference_") or m.metric.endswith(_OVER)
                if not of_reference and (side, item.probe, *_key(m)) not in taken:
                    yield Unmatched(side=side, probe=item.probe, metric=m.metric, about=m.about)


def _notes_on_sides(
    backbones: tuple[str, str], pairs: Sequence[_Pair], differ: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """What a reader must know of both sides' evidence, the gravest first."""
    if backbones[0] == backbones[1]:
        yield (
            "both sides are the same backbone, so that what differs is how it was measured, "
            "or chance"
        )
    for probe, what in differ.items():
        if what:
            yield f"{probe} is not comparable, for these differ: {'; '.join(what)}"
    also: dict[str, list[str]] = {}
    for pair in pairs:
        for difference in _also_differing(pair):
            also.setdefault(difference, []).append(pair.probe)
    for difference, probes in also.items():
        yield f"compared all the same, though {difference}: {', '.join(probes)}"
    if pairs_apart := [pair.probe for pair in pairs if _has_other_reference(pair)]:
        yield (
            "what was measured against a reference is left out where the sides have different "
            f"ones: {', '.join(pairs_apart)}"
        )


def _notes_on_pairing(
    pairs: Sequence[_Pair], sources: Sequence[_Source], rows: Sequence[Row]
) -> Iterator[str]:
    """How many rows are not paired, and why."""
    unpaired = sum(not row.difference.paired for row in rows if row.difference)
    if unpaired and not sources:
        yield (
            f"{unpaired} of {len(rows)} rows are not paired, and their intervals wider than need "
            "be; give the candidate's plan the champion as its reference"
        )
    elif unpaired:
        yield (
            f"{unpaired} of {len(rows)} rows are not paired, and their intervals wider than need "
            "be: no probe measured their difference example by example"
        )
    if any(not _opened_alike(source, pair) for source in sources for pair in pairs):
        yield (
            "one side was the other's reference, opened with other settings (such as "
            "preprocessing) than its own evidence names; give the reference the settings of the "
            "backbone, and their difference is paired"
        )


def _opened_alike(source: _Source, pair: _Pair) -> bool:
    """Whether the reference of a source was run as the evidence of that backbone says."""
    reference = pair.champion if source.of_candidate else pair.candidate
    return source.evidence.settings.get("reference") == reference.settings.get("backbone")


def _also_differing(pair: _Pair) -> Iterator[str]:
    """What differs and lets numbers be compared."""
    one, other = pair
    if one.seed != other.seed:
        yield f"the seed is {one.seed} and was {other.seed}"
    for name in _changed(one.versions, other.versions):
        yield f"{name} is {one.versions.get(name)} and was {other.versions.get(name)}"
    for name in ("backbone", "batch_size"):
        if one.settings.get(name) != other.settings.get(name):
            yield f"settings of {name} differ{_inner(name, (one.settings, other.settings))}"


def _has_other_reference(pair: _Pair) -> bool:
    """Whether both sides hold numbers against references, and these are different ones."""
    return pair.candidate.reference != pair.champion.reference and all(
        any(needs_reference(pair.probe, m.metric) for m in item.measurements) for item in pair
    )
