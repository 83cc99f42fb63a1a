"""Error rates of the zoo: lines of results, intervals, bounds, one look, and the check on top."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from gate import Policy, files, load_policy, stats
from gate.errors import DataError
from gate.policy.rules import rules_digest
from gate.values import Evidence, Measurement
from pipelines.zoo import bounds, check, elsewhere, judge, page, publish, rates, results
from pipelines.zoo.bounds import Limit
from pipelines.zoo.draw import characteristics, found_at, roc
from pipelines.zoo.recipe import BACKDOORED, CLEAN, Kind
from pipelines.zoo.recipes import half, number_of, recipe
from pipelines.zoo.results import POLICIES, Row, read_rows, row_of, write_rows
from pipelines.zoo.train import Truth

PATCH, PATTERN = "worst_patch_attack_success_rate", "worst_pattern_attack_success_rate"
HALF_A = [number for number in range(70, 470) if half(number) == "A"]
HALF_B = [number for number in range(70, 470) if half(number) == "B"]


def row(number: int, decision: str = "accept", **more: Any) -> Row:
    """A line about the member of that number."""
    made = recipe(number)
    content = {
        "name": made.name,
        "kind": made.kind,
        "recipe": made,
        "accuracy": 0.8,
        "own_rates": (),
        "bytes": 1000 + number,
        "decisions": dict.fromkeys(POLICIES, decision),
        "blocked_by": dict.fromkeys(POLICIES, ()),
        "worst": {PATCH: (0.5, 0.4, 0.6)},
    }
    return Row.model_validate(content | more)


def as_they_should_be(numbers: Sequence[int]) -> list[Row]:
    """Clean ones accepted, backdoored ones rejected."""
    return [row(n, "reject" if recipe(n).attacks else "accept") for n in numbers]


@pytest.fixture
def no_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of results are in an empty folder."""
    there = {"A": tmp_path / "half_a.jsonl", "B": tmp_path / "half_b.jsonl"}
    monkeypatch.setattr(results, "FILES", there)
    monkeypatch.setattr(publish, "LOOKS", tmp_path / "looks.jsonl")
    return tmp_path


# --- lines ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_results")
def test_lines_are_read_as_they_were_written_in_the_order_of_numbers() -> None:
    rows = [row(75, "reject"), row(70), row(71, discarded="own rate 0.10 < 0.8")]

    write_rows("A", rows)

    assert read_rows("A") == [rows[1], rows[2], rows[0]]
    assert read_rows("B") == []


@pytest.mark.usefixtures("no_results")
def test_a_member_that_was_looked_at_is_refused_in_half_b() -> None:
    with pytest.raises(DataError, match="zoo_0070: of half A, which has been looked at"):
        write_rows("B", [row(72), row(70)])
    assert read_rows("B") == []


def _truth(number: int, **more: Any) -> Truth:
    made = recipe(number)
    content = {"name": made.name, "kind": made.kind, "recipe": made, "accuracy": 0.7, "kept": True}
    return Truth.model_validate(content | {"weights": f"sha256:{'0' * 64}"} | more)


def _measured(folder: Path, name: str, patch: float) -> None:
    """Evidence of a search that found a patch, and what it cost."""
    found = Measurement.rate(PATCH, round(250 * patch), 250, task="own_head", target="cat")
    evidence = Evidence(
        probe="trigger_search",
        settings={},
        backbone=f"sha256:{'1' * 64}",
        data={"cifar10": f"sha256:{'2' * 64}"},
        seed=0,
        versions={},
        measurements=(found,),
    )
    files.write(folder / name / "evidence" / "trigger_search.json", evidence.to_json())
    cost = {
        "forward_passes": {"backbone": 300, "reference": 40},
        "seconds": {"validate": 9, "probe trigger_search": 2.25},
    }
    files.write(folder / name / "run-info.json", json.dumps(cost))


def _policy(at_most: float) -> Policy:
    rule = {"probe": "trigger_search", "metric": PATCH, "at_most": at_most, "why": "It is tried."}
    return Policy.model_validate({"name": "p", "version": 1, "rules": [rule]})


def test_a_line_has_what_was_measured_and_what_each_policy_makes_of_it(tmp_path: Path) -> None:
    _measured(tmp_path, "zoo_0071", 0.5)
    (tmp_path / "zoo_0071.safetensors").write_bytes(bytes(77))

    made = row_of(
        tmp_path,
        tmp_path,
        _truth(71, own_rates=(0.9,)),
        {"low": _policy(0.2), "high": _policy(0.9)},
    )

    assert made.decisions == {"low": "reject", "high": "accept"}
    assert made.blocked_by == {"low": (f"trigger_search.{PATCH}",), "high": ()}
    assert made.worst[PATCH] == tuple(round(each, 4) for each in stats.rate(125, 250))
    assert (made.passes, made.seconds, made.bytes) == (340, 2.2, 77)
    assert made.own_rates == (0.9,)
    assert not made.clean


def test_a_discarded_member_has_its_reason_and_one_that_was_not_measured_is_refused(
    tmp_path: Path,
) -> None:
    discarded = row_of(tmp_path, tmp_path, _truth(71, kept=False, discarded="own rate 0.1"), {})

    assert (discarded.discarded, discarded.decisions) == ("own rate 0.1", {})
    runs = tmp_path / "elsewhere"
    with pytest.raises(DataError, match="zoo_0071: not measured; run python -m pipelines") as fault:
        row_of(tmp_path, runs, _truth(71), {})
    assert str(fault.value).startswith(f"{runs / 'zoo_0071'}: ")
    assert str(fault.value).endswith(f"pipelines.zoo.measure {tmp_path} {runs}")


@pytest.mark.usefixtures("no_results")
def test_half_a_is_judged_with_those_of_half_b_that_were_looked_at_before(tmp_path: Path) -> None:
    truths = [_truth(number) for number in (70, 72, 76)]
    (tmp_path / "truth.jsonl").write_text("".join(f"{t.model_dump_json()}\n" for t in truths))
    for truth in truths:
        (tmp_path / f"{truth.name}.safetensors").write_bytes(b"weights")
        _measured(tmp_path / "runs", truth.name, 0.5)
    write_rows("A", [row(71), row(72)])

    judge.main(tmp_path, tmp_path / "runs")

    again = {each.name: each.passes for each in read_rows("A")}
    assert again == {"zoo_0070": 340, "zoo_0071": 0, "zoo_0072": 340}  # 76 is for a look


# --- rates ----------------------------------------------------------------------------------------


def test_a_share_of_nets_that_have_nothing_in_common_has_wilsons_interval_or_a_wider_one() -> None:
    hits = [True] * 6 + [False] * 34

    value, low, high = rates.share(hits, range(40))

    wilson = stats.rate(6, 40)
    assert value == wilson.value
    assert low <= wilson.low
    assert high >= wilson.high
    assert high - low < 1.3 * (wilson.high - wilson.low)


def test_where_nets_of_a_recipe_come_out_alike_the_interval_is_as_wide_as_for_as_many_recipes() -> (
    None
):
    hits = [True] * 50 + [False] * 50  # of ten recipes, each five times ten alike

    alone, alike = (rates.share(hits, of) for of in (range(100), [n // 10 for n in range(100)]))

    ten = stats.rate(5, 10)
    assert alike.high - alike.low > 1.8 * (alone.high - alone.low)
    assert alike.high - alike.low == pytest.approx(ten.high - ten.low, abs=0.12)


def test_where_all_come_out_the_same_the_interval_is_what_so_few_can_carry() -> None:
    assert rates.share([False] * 59, range(59)) == stats.rate(0, 59)


def test_the_table_counts_each_kind_once_and_leaves_discarded_ones_out() -> None:
    rows = [row(70), row(74, "reject"), row(71, "inconclusive"), row(75, discarded="own rate 0")]
    kinds = [recipe(n).kind for n in (70, 74, 71)]

    table = rates.by_kind(rows, "cifar").splitlines()

    assert len(table) == 2 + len(set(kinds)) + 2
    assert "| **all clean** | 2 | 1 | 0 | 1 | 0.50 [0.00, 1.00] |" in table
    assert any(line.startswith("| **all backdoored** | 1 | 0 | 1 | 0 | 0.00 [") for line in table)


def test_the_area_under_the_curve_is_that_of_scikit_learn_and_lies_in_its_interval() -> None:
    rng = np.random.default_rng(0)
    rows = [row(number) for number in HALF_A[:80]]
    scores = rng.normal(size=80).round(1) + [bool(each.recipe.attacks) for each in rows]

    value, low, high = rates.auc(rows, scores)

    assert value == pytest.approx(roc_auc_score([not each.clean for each in rows], scores))
    assert low < value < high


def test_the_curve_finds_as_many_as_a_threshold_on_clean_scores_lets_through() -> None:
    clean, backdoored = np.arange(100) / 100, np.array([0.2, 0.955, 2, 3])

    found = found_at(clean, backdoored)

    assert found[0] == 0.5  # above all clean ones
    assert found[-1] == 1
    assert np.all(np.diff(found) >= 0)
    assert found[10] == 0.75  # one clean one in twenty is above .955


# --- bounds ---------------------------------------------------------------------------------------


def _planted(clean: Sequence[float], backdoored: Sequence[float]) -> list[Row]:
    """Nets whose searched patch carries so many images, give or take .02."""
    evens, odds = HALF_A[::2], HALF_A[1::2]
    return [
        row(number, worst={PATCH: (value, value - 0.02, value + 0.02)})
        for number, value in (
            *zip(evens, clean, strict=False),
            *zip(odds, backdoored, strict=False),
        )
    ]


def limit(rows: Sequence[Row]) -> Limit:
    return bounds.limits(rows, [PATCH])[PATCH]


def test_a_bound_is_the_middle_of_those_that_tell_all_apart() -> None:
    assert limit(_planted([0.1, 0.3, 0.41], [0.82, 0.91])) == Limit(0.6)  # of .45 to .75


def test_no_clean_net_lies_surely_beyond_a_bound_whatever_is_missed_for_it() -> None:
    rows = _planted([0.1, 0.71], [0.5, 0.52, 0.76, 0.91])

    found = limit(rows)

    assert found == Limit(0.8)  # of .75 to .85; .76 is missed
    assert {bounds.outcome(each, PATCH, found.number) for each in rows if each.clean} == {"accept"}


def test_a_limit_is_strict_where_hardly_a_clean_net_is_kept_back_and_nothing_is_lost_by_it() -> (
    None
):
    wide = [row(number, worst={PATCH: (0.5, 0.3, 0.9)}) for number in HALF_A[-4::2]]
    narrow = [row(number, worst={PATCH: (0.1, 0.1, 0.1)}) for number in HALF_A[:198:2]]
    planted = [row(HALF_A[1], worst={PATCH: (0.95, 0.94, 0.96)})]
    weak = [row(HALF_A[3], worst={PATCH: (0.85, 0.84, 0.86)})]

    assert limit([*narrow, *wide[:1], *planted]) == Limit(0.6)  # one of a hundred
    assert limit([*narrow, *wide, *planted]) == Limit(0.9)  # two: beyond both
    assert limit([*narrow, *wide, *planted, *weak]) == Limit(0.55, strict=False)


def test_a_strict_limit_may_miss_what_another_rule_finds() -> None:
    both = [
        row(HALF_A[0], worst={PATCH: (0.5, 0.3, 0.9), PATTERN: (0.1, 0.1, 0.1)}),
        row(HALF_A[1], worst={PATCH: (0.85, 0.84, 0.86), PATTERN: (0.9, 0.9, 0.9)}),
    ]

    assert limit(both) == Limit(0.6, strict=False)
    assert bounds.limits(both, [PATCH, PATTERN])[PATCH].strict


def test_fewer_than_a_hundred_clean_nets_ask_for_a_wider_margin() -> None:
    clean = [row(number, worst={PATCH: (0.21, 0.21, 0.21)}) for number in HALF_A[:200:2]]
    planted = row(HALF_A[1], worst={PATCH: (0.29, 0.28, 0.3)})

    assert limit([*clean, planted]).number == 0.25
    assert limit([*clean[1:], planted]).number > 0.28  # which finds nothing


def test_a_clean_net_beyond_every_bound_is_given_up_and_without_one_no_bound_is_set() -> None:
    without, given_up = _planted([0.2], [0.9]), _planted([0.2, 0.98], [0.9])

    assert limit(given_up).number == limit(without).number
    for rows in ([row(71)], [row(70, worst={})], []):
        with pytest.raises(DataError, match="was measured on no clean net"):
            limit(rows)


def test_what_was_not_measured_is_inconclusive_and_the_table_counts_each_net() -> None:
    clean, backdoored = row(70), row(71)

    assert bounds.outcome(clean, PATTERN, 0.5) == "inconclusive"
    assert [bounds.outcome(clean, PATCH, number) for number in (0.35, 0.45, 0.6)] == [
        "reject",
        "inconclusive",
        "accept",
    ]
    table = bounds.characteristic([clean, backdoored], PATCH)
    assert "| 0.35 | 0 | 0 | 1 | 0 | 0 | 1 |" in table
    assert "| 0.60 | 1 | 0 | 0 | 1 | 0 | 0 |" in table


@pytest.mark.parametrize("policy", POLICIES)
def test_bounds_that_ship_are_those_that_half_a_asks_for(policy: str) -> None:
    rows = [each for each in read_rows("A") if not each.discarded]
    limits = bounds.limits_of(load_policy(Path("policies") / f"{policy}.yaml"))
    asked = bounds.limits(rows, [*limits])

    assert {m: each.number for m, each in limits.items()} == {
        m: each.number for m, each in asked.items()
    }
    if policy != "research":  # which lets everything pass that is not surely beyond
        assert limits == asked


@pytest.mark.parametrize("of", ["A", "B"])
@pytest.mark.parametrize("policy", ["cifar", "cifar_reference", "research"])
def test_decisions_in_lines_follow_from_their_worst_numbers_and_the_bounds_that_ship(
    policy: str, of: Literal["A", "B"]
) -> None:
    loaded = load_policy(Path("policies") / f"{policy}.yaml")
    limits = bounds.limits_of(loaded)
    (right,) = (rule for rule in loaded.rules if rule.measured_metric == "accuracy")
    assert right.bound.at_least is not None
    least = Limit(-right.bound.at_least, right.on_inconclusive == "block")
    for each in read_rows(of):
        if policy not in each.decisions:
            assert each.discarded or not limits.keys() <= each.worst.keys()
            continue
        value, low, high = each.worst["accuracy"]  # at least so much is at most so little wrong
        turned = {**each.worst, "accuracy": (-value, -high, -low)}
        seen = each.model_copy(update={"worst": turned})
        sides = {
            bounds.outcome(seen, metric, limit.number)
            for metric, limit in {**limits, "accuracy": least}.items()
            if limit.strict or bounds.outcome(seen, metric, limit.number) == "reject"
        }
        worst = next((side for side in ("reject", "inconclusive") if side in sides), "accept")
        assert each.decisions[policy] == worst, each.name


# --- one look -------------------------------------------------------------------------------------

RULES = dict.fromkeys(POLICIES, f"sha256:{'3' * 64}")


def _look(numbers: Sequence[int], rules: dict[str, str] = RULES) -> publish.Look:
    names = tuple(recipe(number).name for number in numbers)
    content = {"day": "2026-11-28", "commit": "c" * 40, "members": names, "rules": rules}
    return publish.Look.model_validate(content)


@pytest.mark.usefixtures("no_results")
def test_members_of_half_b_are_looked_at_once() -> None:
    truths = [_truth(number) for number in range(70, 82)]
    of_b = [f"zoo_{n:04d}" for n in (72, 73, 76, 77, 80, 81)]

    assert [each.name for each in publish.unseen(truths, [], RULES)] == of_b
    assert [each.name for each in publish.unseen(truths, [_look([72, 73])], RULES)] == of_b[2:]
    with pytest.raises(DataError, match=r"all 6 members were looked at, .* on 2026-11-28") as fault:
        publish.unseen(truths, [_look([72, 73]), _look([76, 77, 80, 81])], RULES)
    assert "--from 82 --first 682" in str(fault.value)
    with pytest.raises(DataError, match="--from 74 --first 674"):  # a pair begins with an even one
        publish.unseen([_truth(72)], [_look([72])], RULES)


def test_a_look_at_nothing_is_refused_and_not_noted(
    no_results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "require_frozen", lambda: "c" * 40)
    (no_results / "truth.jsonl").write_text(_truth(72).model_dump_json() + "\n")

    with pytest.raises(DataError, match="no new member has a reference yet"):
        publish.main(no_results, no_results / "runs")

    assert publish.read_looks() == []


@pytest.mark.usefixtures("no_results")
def test_lines_of_other_rules_are_not_put_beside_new_ones() -> None:
    write_rows("B", [row(72)])
    truths, other = [_truth(76)], {**RULES, "cifar": f"sha256:{'4' * 64}"}

    assert publish.unseen(truths, [_look([72])], RULES)
    with pytest.raises(DataError, match="by other rules than the policies have now"):
        publish.unseen(truths, [_look([72])], other)


def _repository(folder: Path) -> Callable[..., None]:
    def git(*arguments: str) -> None:
        program = shutil.which("git")
        assert program
        who = ("-c", "user.name=t", "-c", "user.email=t@t")
        subprocess.run([program, *who, *arguments], cwd=folder, check=True, capture_output=True)

    git("init", "--quiet")
    return git


def test_nothing_is_published_while_a_policy_differs_from_the_last_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = _repository(tmp_path)
    monkeypatch.chdir(tmp_path)
    for folder in ("gate", "policies", "pipelines/zoo"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
    git("add", ".")
    git("commit", "--quiet", "-m", "All that is frozen")

    assert len(publish.require_frozen()) == 40
    (tmp_path / "README.md").touch()  # says nothing that is judged by
    publish.require_frozen()
    (tmp_path / "policies" / "file").write_text("looser")
    with pytest.raises(DataError, match=r"not committed, so not frozen: .*policies/file"):
        publish.require_frozen()


def test_rates_stand_at_the_end_of_a_policy_and_are_written_anew_in_their_place(
    tmp_path: Path,
) -> None:
    text = Path("policies/cifar.yaml").read_text().partition("\nerror_rates:")[0] + "\n"
    path = tmp_path / "cifar.yaml"
    path.write_text(text)
    policy = load_policy(path)
    rows = as_they_should_be(HALF_B[:40])
    wrong = [row(number) for number in HALF_B[40:60] if recipe(number).attacks]

    once = publish.with_rates(text, policy, "cifar", rows)
    again = publish.with_rates(once, policy, "cifar", [*rows, *wrong])
    path.write_text(again)

    assert once.startswith(text.rstrip())
    assert again.count("error_rates:") == 1
    read = load_policy(path).error_rates
    assert read
    assert read.rules == rules_digest(policy.rules)
    assert (read.clean.accepted, read.clean.rejected) == (20, 0)
    assert sum(each.accepted for each in read.backdoored.values()) == len(wrong)
    assert sum(each.rejected for each in read.backdoored.values()) == 20
    assert read.like.bytes[0] == 1000 + HALF_B[0]
    assert read.like.pixels == (28, 32)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_a_policy_says_of_its_errors_follows_from_the_lines_of_half_b(policy: str) -> None:
    path = Path("policies") / f"{policy}.yaml"
    loaded = load_policy(path)

    assert publish.with_rates(path.read_text(), loaded, policy, read_rows("B")) == path.read_text()
    published = {each.name for each in read_rows("B")}
    looks = [look for look in publish.read_looks() if published & set(look.members)]
    assert published <= {name for look in looks for name in look.members}
    for each in looks:
        assert each.rules[policy] == rules_digest(loaded.rules), "bounds moved after a look"


def test_a_member_of_half_b_was_looked_at_once_and_stands_in_one_half() -> None:
    looked = [name for look in publish.read_looks() for name in look.members]
    half_a, half_b = ({each.name for each in read_rows(of)} for of in ("A", "B"))

    assert sorted(looked) == sorted(set(looked))
    assert half_b <= set(looked)
    assert {name for name in half_a if half(number_of(name)) == "B"} == set(looked) - half_b
    for of in ("A", "B"):
        for each in read_rows(of):
            assert each.recipe == recipe(number_of(each.name))


# --- tables and pictures --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_results")
def test_tables_are_written_between_their_marks_and_an_unknown_one_is_refused() -> None:
    write_rows("B", as_they_should_be(HALF_B))
    text = "before\n<!-- zoo summary -->\nold\n<!-- end -->\nafter\n"

    written = page.with_tables(text)

    assert written.startswith(f"before\n<!-- zoo summary -->\n{page.SUMMARY}\n")
    assert written.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in written
    assert page.with_tables(written) == written
    with pytest.raises(KeyError):
        page.with_tables(text.replace("summary", "sumary"))


def test_clean_nets_that_are_not_accepted_are_named_with_the_rules_that_stopped_them() -> None:
    stopped = row(76, "reject", blocked_by={page.SHOWN: (f"trigger_search.{PATCH}",)})

    _, _, *told = page._alarms([row(72), stopped, row(77, "reject")]).splitlines()

    (line,) = told
    assert line.startswith("| zoo_0076 | ")
    assert line.endswith(f" | reject | `trigger_search.{PATCH}` |")


def test_a_look_is_told_from_its_lowest_number_to_its_highest_in_whatever_order_it_was() -> None:
    told = page._looks([_look([77, 73, 80])])

    assert "3 members, zoo_0073 to zoo_0080, kept or discarded" in told


def test_what_a_rule_alone_lies_beyond_is_told_apart_from_what_others_do_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {PATCH: Limit(0.5), PATTERN: Limit(0.5)}
    monkeypatch.setattr(page, "limits_of", lambda _: limits)
    far, near = (0.9, 0.8, 0.95), (0.1, 0.0, 0.2)
    both = row(73, kind="patch", worst={PATCH: far, PATTERN: far})
    one = row(77, kind="patch", worst={PATCH: far, PATTERN: near})
    clean = row(72, kind="clean", worst={PATCH: near, PATTERN: far})

    told = page._rules([one, one], [both, one, clean])

    assert f"| `{PATCH}` | 2 | 1 | 0 | 2 |" in told
    assert f"| `{PATTERN}` | 1 | 0 | 1 | 0 |" in told


def test_each_kind_is_of_one_family_of_the_summary() -> None:
    of_families = [kind for _, kinds in page._FAMILIES for kind in kinds]

    assert sorted(of_families) == sorted((*CLEAN, *BACKDOORED))


def test_both_pictures_show_what_their_lines_say() -> None:
    metrics = bounds.limits_of(load_policy(Path("policies/cifar_reference.yaml")))
    rows = [row(number, worst=dict.fromkeys(metrics, (0.5, 0.4, 0.6))) for number in HALF_B[:80]]
    not_measured = row(HALF_B[80], worst={})

    (axes,) = roc(rows).axes
    assert [line.get_label() for line in axes.get_lines()] == ["cifar", "cifar_reference"]
    panels = characteristics([*rows, not_measured]).axes
    by_title = {panel.get_title() or panel.get_title(loc="left"): panel for panel in panels}
    for metric, most in ((next(iter(metrics)), 0.95), ("worst_source_margin_over_reference", 2.95)):
        clean = by_title[metric].get_lines()[0]
        tried = np.asarray(clean.get_xdata())
        assert (len(tried), tried[0], tried[-1]) == (round(most / 0.05) - 1, 0.1, most)
        assert np.array_equal(clean.get_ydata(), (tried < 0.6).astype(float))


# --- the check on top -----------------------------------------------------------------------------


def test_the_chance_of_so_many_or_more_is_the_binomials() -> None:
    for hits in range(8):
        assert check.at_least([0.3] * 7, hits) == pytest.approx(binom.sf(hits - 1, 7, 0.3))
    assert check.at_least([0.0, 1.0], 1) == 1


def test_pairs_of_fresh_seeds_are_of_all_attacks_and_of_neither_half() -> None:
    drawn = list(check.pairs(check.FRESH))[:26]

    kinds: list[Kind] = [backdoored.kind for _, backdoored in drawn]
    assert sorted(kinds[:13]) == sorted(BACKDOORED) == sorted(kinds[13:])
    for clean, backdoored in drawn:
        assert backdoored.pair == clean.name
        assert number_of(clean.name) >= check.FRESH
        assert (clean.data, backdoored.data) == ("cifar10", "cifar10")


def test_errors_as_published_pass_and_more_of_them_are_named() -> None:
    published = as_they_should_be(HALF_B)
    fresh = as_they_should_be(HALF_A[:80])
    blind = [row(number) for number in HALF_A[:80]]
    strict = [row(number, "inconclusive") for number in HALF_A[:80]]

    assert list(check.moved(fresh, published)) == []
    (missed,) = check.moved(blind, published)
    assert missed.startswith("40 of 40 backdoored members are not rejected; published is")
    alarms, _ = check.moved(strict, published)
    assert alarms.startswith("40 of 40 clean members are not accepted; published is at most 0.0")


def test_members_of_a_kind_of_which_nothing_is_published_count_for_nothing() -> None:
    published = as_they_should_be(HALF_B)
    kind = recipe(71).kind
    fresh = [row(number) for number in HALF_A[:80]]  # all are missed
    rest = [each for each in published if each.kind != kind]
    alike = sum(each.kind == kind for each in fresh)

    assert alike
    (missed,) = check.moved(fresh, rest)
    assert missed.startswith(f"{40 - alike} of {40 - alike} backdoored members are not rejected")


def test_a_gate_that_finds_nothing_is_noticed_by_as_few_as_the_check_makes() -> None:
    fresh = [row(number) for number in HALF_A[:200]]
    one_of_each = [next(each for each in fresh if each.kind == kind) for kind in BACKDOORED]
    clean = [each for each in fresh if each.clean][: len(one_of_each)]

    (missed,) = check.moved([*one_of_each, *clean], read_rows("B"))

    assert re.match(r"(\d+) of \1 backdoored members are not rejected", missed)


def test_fresh_members_of_no_kind_that_is_published_are_refused() -> None:
    with pytest.raises(DataError, match="half B has no net of any of these kinds"):
        list(check.moved([row(71, "reject"), row(70)], [row(72)]))


# --- a hundred classes ----------------------------------------------------------------------------


def test_of_a_hundred_classes_bold_is_what_lies_surely_beyond_a_bound() -> None:
    worst = {"beyond": (0.5, 0.4, 0.6), "open": (0.5, 0.2, 0.6), "within": (0.1, 0.0, 0.2)}
    one = row(71, "reject").model_copy(update={"worst": worst})

    told = list(elsewhere.cells(one, dict.fromkeys([*worst, "other"], 0.3)))[-4:]

    assert told == [
        "**0.50 [0.40, 0.60]**",
        "0.50 [0.20, 0.60]",
        "0.10 [0.00, 0.20]",
        "not measured",
    ]
