"""Pictures are read back: what stands where, over which name, in which colour."""

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import Evidence, Measurement, Verdict, cli, decide, files
from gate.errors import EvidenceError
from gate.probes import PROBES
from gate.reports import html, markdown, text
from gate.reports.pictures import DRAWINGS, pictures
from tests.builders import evidence, measurement, policy, rule
from tests.conftest import ROOT

DAY = date(2026, 1, 1)
BEFORE, AFTER = "#0072b2", "#d55e00"
SVG = "{http://www.w3.org/2000/svg}"
HREF = "{http://www.w3.org/1999/xlink}href"
Interval = tuple[float, float, float]

SHARES: dict[str, Interval] = {
    "rare": (0.05, 0.1, 0.2),
    "common": (0.5, 0.6, 0.65),
    "middling": (0.25, 0.3, 0.4),
}
ACCURACY: dict[str, dict[str, Interval]] = {
    "fine_tuned": {
        "rare": (0.2, 0.3, 0.45),
        "common": (0.9, 0.94, 0.96),
        "middling": (0.6, 0.7, 0.75),
    },
    "gla": {
        "rare": (0.55, 0.62, 0.7),
        "common": (0.8, 0.88, 0.92),
        "middling": (0.65, 0.72, 0.8),
    },
}
GROUPS: dict[str, dict[str, Interval]] = {  # as a probe may well order them
    "gla": {"tail": (0.6, 0.64, 0.7), "head": (0.8, 0.85, 0.9), "medium": (0.7, 0.74, 0.8)},
    "zero_shot": {"tail": (0.3, 0.35, 0.45), "head": (0.7, 0.71, 0.8), "medium": (0.4, 0.5, 0.55)},
}


def measured(metric: str, interval: Interval, **about: str) -> Measurement:
    low, value, high = interval
    sound = Measurement(metric=metric, value=value, low=low, high=high, n=100, unit="fraction")
    # any names: a measurement refuses some, and what draws them is safe without that
    return sound.model_copy(update={"about": dict(sorted(about.items()))})


def priors(shares: dict[str, Interval], task: str = "birds") -> list[Measurement]:
    return [measured("label_prior", i, task=task, **{"class": name}) for name, i in shares.items()]


def accuracies(by_method: dict[str, dict[str, Interval]], task: str = "birds") -> list[Measurement]:
    return [
        measured("class_accuracy", i, task=task, method=method, **{"class": name})
        for method, by_class in by_method.items()
        for name, i in by_class.items()
    ]


def groups(
    by_method: dict[str, dict[str, Interval]], split: str = "test", task: str = "birds"
) -> list[Measurement]:
    return [
        measured("group_accuracy", i, task=task, split=split, method=method, group=name)
        for method, by_group in by_method.items()
        for name, i in by_group.items()
    ]


def of_label_prior(*found: Iterable[Measurement]) -> Evidence:
    measurements = [m for some in found for m in some]
    return changed(evidence(probe="label_prior"), measurements=measurements)


def changed(found: Evidence, **changes: object) -> Evidence:
    """With whatever labels and probe, as a file may have them."""
    return Evidence.model_validate({**found.model_dump(by_alias=True), **changes})


def whole(task: str = "birds") -> Evidence:
    """Enough for three pictures."""
    return of_label_prior(
        priors(SHARES, task), accuracies(ACCURACY, task), groups(GROUPS, task=task)
    )


def many(classes: int) -> Evidence:
    names = [f"class {i}" for i in range(classes)]
    shares = {n: (0.5 / (i + 2), 1 / (i + 2), 1.5 / (i + 2)) for i, n in enumerate(names)}
    plain = {n: (0.2, 0.3 + i % 2 / 10, 0.5) for i, n in enumerate(names)}
    better = {n: (0.6, 0.7 + i % 3 / 20, 0.9 - i % 5 / 100) for i, n in enumerate(names)}
    return of_label_prior(priors(shares), accuracies({"fine_tuned": plain, "gla": better}))


class Panel:
    """One pair of axes: what is drawn within it, and what its numbers say about a height."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float]] = []  # height on the page, number beside it
        self.paths: list[tuple[str, list[tuple[float, float]]]] = []
        self.marks: list[tuple[str, float, float]] = []

    def height(self, y: float) -> float:
        (y0, v0), (y1, v1) = self.ticks[0], self.ticks[-1]
        return round(v0 + (v1 - v0) * (y - y0) / (y1 - y0), 4)

    def intervals(self, colour: str) -> list[tuple[float, ...]]:
        """The heights marked in a colour at each place, from left to right: low, value, high."""
        at = defaultdict(list)
        for style, x, y in self.marks:
            if f": {colour}" in style:
                at[x].append(self.height(y))
        return [tuple(sorted(at[x])) for x in sorted(at)]

    def drawn(self, style: str) -> list[list[float]]:
        """Heights of the corners of each path in a style."""
        return [[self.height(y) for _, y in path] for found, path in self.paths if style in found]


class Picture:
    """An SVG, read back in the order in which it is drawn."""

    def __init__(self, svg: bytes) -> None:
        self.root = ElementTree.fromstring(svg)  # noqa: S314  # it is our own
        self.words: list[tuple[str, float, float]] = []
        self.keys: list[tuple[str, float, float]] = []  # outside of all axes: the legend's
        panels: defaultdict[str, Panel] = defaultdict(Panel)
        shapes: dict[str, list[tuple[float, float]]] = {}
        line = ("", 0.0)
        parents = {child: parent for parent in self.root.iter() for child in parent}
        for element in self.root.iter():
            style = element.get("style", "")
            clip = element.get("clip-path") or parents.get(element, element).get("clip-path")
            if element.tag == SVG + "path":
                path = corners(element.get("d", ""))
                shapes["#" + element.get("id", "")] = path
                if clip:
                    panels[clip].paths.append((style, path))
                else:
                    self.keys.append((style, *path[0]))
                if clip and "#dddddd" in style:
                    line = (clip, path[0][1])
            elif element.tag == SVG + "use":
                x, y = float(element.get("x", "")), float(element.get("y", ""))
                if clip and "opacity" in style:  # a band
                    shape = shapes[element.get(HREF, "")]
                    panels[clip].paths.append((style, [(x + a, y + b) for a, b in shape]))
                elif clip:
                    panels[clip].marks.append((style, x, y))
                else:
                    self.keys.append((style, x, y))
            elif element.tag == SVG + "text":
                says = element.text or ""
                *_, x, y = map(float, re.findall(r"-?[\d.]+", element.get("transform", "")))
                self.words.append((says, x, y))
                if re.fullmatch(r"\d\.\d+", says):
                    panels[line[0]].ticks.append((line[1], float(says)))
        self.panels = list(panels.values())

    @property
    def says(self) -> list[str]:
        return [says for says, _, _ in self.words]

    def key(self, of: str) -> str:
        """The style of what stands left of a word of the legend."""
        ((x, y),) = [(x, y) for says, x, y in self.words if says == of]
        return max((kx, style) for style, kx, ky in self.keys if kx < x and abs(ky - y) < 10)[1]

    def across(self, *names: str) -> list[str]:
        """Those of the names that are written, from left to right."""
        return [says for says, x, _ in sorted(self.words, key=lambda w: w[1]) if says in names]


def corners(d: str) -> list[tuple[float, float]]:
    """Ends of the straight lines of a path."""
    numbers = list(map(float, re.findall(r"-?\d+(?:\.\d+)?", d)))
    return list(zip(numbers[::2], numbers[1::2], strict=False))


@pytest.fixture(scope="module")
def three() -> dict[str, Picture]:
    return read(whole())


def read(found: Evidence) -> dict[str, Picture]:
    return {name: Picture(svg) for name, svg in pictures([found]).items()}


ORDER = ("common", "middling", "rare")


def test_each_picture_says_what_it_shows_and_how_sure_it_is(three: dict[str, Picture]) -> None:
    assert list(three) == ["birds-classes.svg", "birds-prior.svg", "birds-groups.svg"]
    for name, title, details in (
        (
            "birds-classes.svg",
            "birds: accuracy of each class, before and after generalized logit adjustment",
            "3 classes, largest estimated share q first; 95 % intervals",
        ),
        (
            "birds-prior.svg",
            "birds: label prior, the estimated share q of each class",
            "3 classes, largest share first; 95 % intervals",
        ),
        (
            "birds-groups.svg",
            "birds: accuracy in groups of classes, by method",
            "95 % intervals",
        ),
    ):
        assert title in three[name].says
        assert details in three[name].says


def test_classes_stand_in_the_order_of_their_share(three: dict[str, Picture]) -> None:
    assert three["birds-classes.svg"].across(*SHARES) == [*ORDER]
    assert three["birds-prior.svg"].across(*SHARES) == [*ORDER]


def test_accuracy_before_and_after_stands_over_its_class_with_both_ends(
    three: dict[str, Picture],
) -> None:
    picture = three["birds-classes.svg"]
    (panel,) = picture.panels

    assert panel.intervals(BEFORE) == [ACCURACY["fine_tuned"][name] for name in ORDER]
    assert panel.intervals(AFTER) == [ACCURACY["gla"][name] for name in ORDER]
    assert BEFORE in picture.key("before (fine-tuned)")
    assert AFTER in picture.key("after (GLA)")


def test_the_prior_has_both_ends_of_each_share_and_a_line_at_uniform(
    three: dict[str, Picture],
) -> None:
    picture = three["birds-prior.svg"]
    (panel,) = picture.panels

    assert panel.intervals(BEFORE) == [SHARES[name] for name in ORDER]
    assert panel.drawn("stroke-dasharray") == [pytest.approx([1 / 3, 1 / 3], abs=1e-4)]
    assert "uniform, 1/3" in picture.says


def test_bars_stand_by_group_from_head_to_tail_and_by_method_from_zero_shot_to_gla(
    three: dict[str, Picture],
) -> None:
    picture = three["birds-groups.svg"]
    (panel,) = picture.panels
    order = ("head", "medium", "tail")

    assert picture.across(*order) == [*order]
    for method, label in (("zero_shot", "zero-shot"), ("gla", "GLA")):
        colour = re.search(r"#\w+", picture.key(label))
        assert colour
        tops = [max(bar) for bar in panel.drawn(f"fill: {colour[0]}")]
        assert tops == [GROUPS[method][group][1] for group in order]
    assert panel.intervals("#444444") == [
        GROUPS[method][group][::2] for group in order for method in ("zero_shot", "gla")
    ]


def test_each_test_split_has_a_panel_of_its_own() -> None:
    shifted = {m: {g: (a / 2, b / 2, c / 2) for g, (a, b, c) in GROUPS[m].items()} for m in GROUPS}
    some = {"gla": shifted["gla"]}  # zero-shot was not tried on it

    picture = read(of_label_prior(groups(GROUPS), groups(some, "test_shifted")))["birds-groups.svg"]

    assert [word for word in picture.says if word.startswith("test split")] == [
        "test split test",
        "test split test_shifted",
    ]
    first, second = picture.panels
    assert [max(bar) for bar in first.drawn(f"fill: {AFTER}")] == [0.85, 0.74, 0.64]
    assert [max(bar) for bar in second.drawn(f"fill: {AFTER}")] == [0.425, 0.37, 0.32]
    assert len(first.intervals("#444444")) == 6
    assert len(second.intervals("#444444")) == 3


def test_groups_of_long_tailed_training_sets_stand_from_many_to_few() -> None:
    few_first = {"gla": dict.fromkeys(("few", "other", "medium", "many"), (0.4, 0.5, 0.6))}

    picture = read(of_label_prior(groups(few_first)))["birds-groups.svg"]

    assert picture.across("many", "medium", "few", "other") == ["many", "medium", "few", "other"]


def test_every_method_has_a_colour_of_its_own() -> None:
    methods = {
        "gla": "GLA",
        "wise_ft": "WiSE-FT",
        "plain_ensemble": "plain ensemble",
        "logit_adjustment": "logit adjustment",
        "fine_tuned": "fine-tuned",
        "debiased": "zero-shot, debiased",
        "zero_shot": "zero-shot",
    }

    found = of_label_prior(groups(dict.fromkeys(methods, GROUPS["gla"])))
    picture = read(found)["birds-groups.svg"]

    assert len({picture.key(label) for label in methods.values()}) == 7
    assert picture.says[-7:] == [*methods.values()][::-1]


def test_a_method_that_is_not_known_here_is_drawn_under_its_own_name() -> None:
    picture = read(of_label_prior(groups({"_new_one": GROUPS["gla"]})))["birds-groups.svg"]

    assert "#222222" in picture.key(" new one")
    (panel,) = picture.panels
    assert [max(bar) for bar in panel.drawn("fill: #222222")] == [0.85, 0.74, 0.64]


@pytest.mark.parametrize("classes", [40, 41, 1000])
def test_names_are_left_out_where_they_would_run_into_each_other(classes: int) -> None:
    for name, picture in read(many(classes)).items():
        named = [says for says in picture.says if re.fullmatch(r"class \d+", says)]

        assert len(named) == (40 if classes == 40 else 0), name
        assert any(f"{classes} classes, largest" in says for says in picture.says)


def test_many_classes_are_a_line_in_a_band() -> None:
    found = many(100)

    (panel,) = read(found)["birds-classes.svg"].panels

    for colour, method in ((BEFORE, "fine_tuned"), (AFTER, "gla")):
        shown = [m for m in found.measurements if m.about.get("method") == method]
        (line,) = panel.drawn(f"fill: none; stroke: {colour}")
        (band,) = panel.drawn(f"fill: {colour}; fill-opacity")
        assert line == pytest.approx([m.value for m in shown], abs=2e-4)
        assert set(band) == {end for m in shown for end in (m.low, m.high)}


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ([priors(SHARES)], ["prior"]),
        ([accuracies(ACCURACY)], []),  # without q, there is no order
        ([groups(GROUPS)], ["groups"]),
        ([priors(SHARES), accuracies({"gla": ACCURACY["gla"]})], ["classes", "prior"]),
        ([priors({"other": (0.1, 0.2, 0.3)}), accuracies(ACCURACY)], ["prior"]),
        ([[measured("total_variation_to_uniform", (0.1, 0.2, 0.3), task="birds")]], []),
        ([[measured("label_prior", (0.1, 0.2, 0.3))]], []),
        ([[measured("label_prior", (0.1, 0.2, 0.3), task="birds")]], []),
    ],
)
def test_evidence_that_lacks_something_gives_the_pictures_that_it_can(
    found: list[list[Measurement]], kinds: list[str]
) -> None:
    assert list(pictures([of_label_prior(*found)])) == [f"birds-{kind}.svg" for kind in kinds]


def test_what_was_not_measured_is_not_in_the_legend() -> None:
    found = of_label_prior(priors(SHARES), accuracies({"gla": ACCURACY["gla"]}))

    picture = read(found)["birds-classes.svg"]

    assert "after (GLA)" in picture.says
    assert "before (fine-tuned)" not in picture.says


def test_other_probes_give_no_pictures() -> None:
    same = changed(of_label_prior(priors(SHARES)), probe="clean_accuracy")

    assert pictures([same]) == {}
    assert list(pictures([same, of_label_prior(priors(SHARES))])) == ["birds-prior.svg"]


def test_each_task_has_its_own_numbers() -> None:
    other = {"rare": SHARES["common"], "common": SHARES["rare"]}

    shown = read(
        of_label_prior(
            priors(SHARES),
            groups(GROUPS),
            priors(other, "cars"),
            accuracies({"gla": ACCURACY["gla"]}, "cars"),
        )
    )

    assert list(shown) == [
        "birds-prior.svg",
        "birds-groups.svg",
        "cars-classes.svg",
        "cars-prior.svg",
    ]
    assert shown["birds-prior.svg"].across(*SHARES) == ["common", "middling", "rare"]
    assert shown["cars-prior.svg"].across(*SHARES) == ["rare", "common"]


def test_evidence_of_the_label_prior_twice_is_refused() -> None:
    with pytest.raises(EvidenceError, match="label_prior stands more than once; give that of one"):
        pictures([whole(), whole()])


def test_the_same_evidence_gives_the_same_bytes_whatever_the_machine_prefers(
    tmp_path: Path,
) -> None:
    (tmp_path / "matplotlibrc").write_text("axes.linewidth: 9\nsvg.fonttype: path\n")
    (tmp_path / "label_prior.json").write_text(whole().to_json())

    subprocess.run(
        [sys.executable, "-m", "gate", "plots", "label_prior.json", "--out", "plots"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
    )

    found = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert found == pictures([whole()])
    assert not [svg for svg in found.values() if re.search(rb"20\d\d-\d\d|metadata", svg)]


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    pictures([whole()])

    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["$x^2$", "$\\frac{$", "<script>x</script>", "]]>&amp;", "a--b"])
def test_a_name_is_drawn_letter_by_letter(name: str) -> None:
    shares = {name: SHARES["rare"], "other": SHARES["common"]}
    accuracy = {"gla": {name: (0.1, 0.2, 0.3)}}

    for picture in read(
        of_label_prior(priors(shares, name), accuracies(accuracy, name), groups(GROUPS, name, name))
    ).values():
        assert any(says.startswith(f"{name}: ") for says in picture.says)
        assert name in picture.says or f"test split {name}" in picture.says


ANY_NAME = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@settings(max_examples=25)
@given(ANY_NAME, ANY_NAME)
def test_no_name_breaks_a_picture_or_adds_to_it(task: str, name: str) -> None:
    found = of_label_prior(
        priors({name: SHARES["rare"]}, task), groups({"gla": {name: (0.1, 0.2, 0.3)}}, name, task)
    )

    for file, svg in pictures([found]).items():
        assert Path(file).name == file
        assert re.fullmatch(r"[\w.~=-]+", file, re.ASCII)
        tags = {element.tag.removeprefix(SVG) for element in Picture(svg).root.iter()}
        assert tags <= {"svg", "defs", "style", "g", "path", "use", "text", "clipPath", "rect"}


def test_a_long_name_is_cut() -> None:
    picture = read(of_label_prior(priors({"x" * 24: SHARES["rare"], "y" * 25: SHARES["common"]})))

    assert "x" * 24 in picture["birds-prior.svg"].says
    assert "y" * 23 + "…" in picture["birds-prior.svg"].says


def test_tasks_with_names_like_paths_stay_in_the_folder_and_apart() -> None:
    tasks = ["../../up", "a/b", "a=2Fb", "a%2Fb", "..", "", "ö"]

    names = list(pictures([of_label_prior(*(priors(SHARES, task) for task in tasks))]))

    assert names == [
        "..=2F..=2Fup-prior.svg",
        "a=2Fb-prior.svg",
        "a=3D2Fb-prior.svg",
        "a=252Fb-prior.svg",
        "..-prior.svg",
        "-prior.svg",
        "=C3=B6-prior.svg",
    ]


def judged(*found: Evidence) -> Verdict:
    return decide(policy(rule(probe="label_prior", metric="label_prior", at_most=1)), found, DAY)


def test_the_page_shows_every_picture_once() -> None:
    found = [whole()]

    page = html.render(judged(*found), found)

    for svg in pictures(found).values():
        assert page.count(svg[svg.index(b"<svg ") + 5 :].decode()) == 1
    assert "<?xml" not in page
    assert page.count("<!DOCTYPE") == 1


def test_no_two_pictures_of_a_page_share_an_id() -> None:
    found = [of_label_prior(*(whole(task).measurements for task in ("birds", "cars")))]

    page = html.render(judged(*found), found)

    ids = re.findall(r" id=\"([^\"]*)\"", page)
    assert len(ids) == len(set(ids)) > 6
    for svg in page.split("<svg")[1:]:
        own = set(re.findall(r" id=\"([^\"]*)\"", svg))
        assert set(re.findall(r"(?:xlink:href=\"|url\()#(\w+)", svg)) <= own


def test_text_and_markdown_show_no_picture() -> None:
    verdict = judged(whole())

    assert "<svg" not in text.render(verdict, [whole()])
    assert "<svg" not in markdown.render(verdict, [whole()])


def test_a_heat_map_has_each_trigger_at_its_row_and_column() -> None:
    rates = {
        "yellow square 5px top_left": 0.81,
        "yellow square 4px top_left": 0.12,
        "checkerboard 5px centre": 0.33,
        "sinusoid 28px centre 10%": 0.44,
    }
    found = evidence(
        *(
            measurement(rate, rate, rate, metric="targeted_attack_success_rate", trigger=name)
            for name, rate in rates.items()
        ),
        # less than the worst target of the same trigger, so it is not what the map shows
        measurement(
            0.02,
            0.02,
            0.02,
            metric="targeted_attack_success_rate",
            trigger="yellow square 5px top_left",
            target="other",
        ),
        probe="trigger_patch",
    )

    picture = Picture(pictures([found])["any-triggers.svg"])

    at = {word: (x, y) for word, x, y in picture.words}
    assert at.keys() >= {"0.81", "0.12", "0.33", "0.44", "5 px top left", "sinusoid 10%"}
    assert "0.02" not in at
    assert at["0.81"][1] == at["0.12"][1] < at["0.33"][1] < at["0.44"][1]
    assert at["0.12"][0] < at["0.81"][0] < at["0.33"][0] < at["0.44"][0]


def test_a_trigger_that_has_no_place_is_in_no_heat_map() -> None:
    found = evidence(
        measurement(metric="attack_success_rate", trigger="a phrase at the end"),
        probe="trigger_patch",
    )

    assert pictures([found]) == {}


def test_doses_stand_in_the_order_of_the_correlation_and_at_their_numbers() -> None:
    doses = {"0.9": 0.3, "0": 0.8, "0.5": 0.6}
    found = evidence(
        *(
            measurement(
                v - 0.1, v, v + 0.1, metric="conflicting_accuracy", correlation=dose, attribute="x"
            )
            for dose, v in doses.items()
        ),
        probe="spurious_attribute",
    )

    picture = Picture(pictures([found])["any-doses.svg"])

    (panel,) = (each for each in picture.panels if each.marks)
    assert panel.intervals(BEFORE) == [
        pytest.approx(each, abs=0.01)
        for each in ((0.7, 0.8, 0.9), (0.5, 0.6, 0.7), (0.2, 0.3, 0.4))
    ]


@pytest.mark.parametrize(
    ("probe", "metric", "label", "file"),
    [
        ("module_criticality", "accuracy_fall", "module", "any-modules.svg"),
        ("feature_reuse", "pretrained_accuracy", "block", "any-blocks.svg"),
        ("lineage", "layer_weight_alignment", "layer", "layers.svg"),
    ],
)
def test_anatomy_has_each_part_of_the_network_at_its_number(
    probe: str, metric: str, label: str, file: str
) -> None:
    parts = {"first": 0.2, "second": 0.6}
    about: list[tuple[dict[str, Any], float]] = [({label: p}, v) for p, v in parts.items()]
    found = evidence(
        *(measurement(v - 0.1, v, v + 0.1, metric=metric, **each) for each, v in about),
        probe=probe,
    )

    picture = Picture(pictures([found])[file])

    assert picture.across(*parts) == [*parts]
    (panel,) = picture.panels
    assert [each[1] for each in panel.intervals(BEFORE)] == pytest.approx([0.2, 0.6], abs=0.01)


def test_every_probe_that_is_drawn_is_one_of_the_table() -> None:
    assert {drawing.probe for drawing in DRAWINGS} <= PROBES.keys()


Gate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Gate:
    """Runs `gate plots` in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["gate", "plots", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@pytest.mark.parametrize("given_", ["evidence", "evidence/label_prior.json"])
def test_the_command_draws_from_a_folder_or_a_file(gate: Gate, tmp_path: Path, given_: str) -> None:
    files.write(tmp_path / "evidence" / "label_prior.json", whole().to_json())
    files.write(tmp_path / "evidence" / "clean_accuracy.json", evidence().to_json())

    code, out, err = gate(tmp_path / given_, "--out", tmp_path / "plots")

    assert (code, err) == (0, "")
    written = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
    assert written == pictures([whole()])
    assert out.splitlines() == [str(tmp_path / "plots" / name) for name in pictures([whole()])]


def test_nothing_to_draw_is_refused_and_leaves_nothing(gate: Gate, tmp_path: Path) -> None:
    files.write(tmp_path / "evidence" / "clean_accuracy.json", evidence().to_json())

    code, out, err = gate(tmp_path / "evidence", "--out", tmp_path / "plots")

    assert (code, out) == (3, "")
    assert "evidence: nothing to draw: no picture is of what it measured" in err
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "no evidence (*.json); run the probes first"), ("{}", "probe:")]
)
def test_evidence_that_is_none_is_refused(
    gate: Gate, tmp_path: Path, content: str | None, says: str
) -> None:
    if content:
        files.write(tmp_path / "evidence" / "label_prior.json", content)

    code, _, err = gate(tmp_path / "evidence", "--out", tmp_path / "plots")

    assert code == 3
    assert says in err
    assert not (tmp_path / "plots").exists()


def test_a_file_in_the_folders_place_is_said_in_a_line(gate: Gate, tmp_path: Path) -> None:
    files.write(tmp_path / "evidence" / "label_prior.json", whole().to_json())
    files.write(tmp_path / "plots", "mine")

    code, _, err = gate(tmp_path / "evidence", "--out", tmp_path / "plots")

    assert code == 3
    assert "cannot be written" in err
    assert (tmp_path / "plots").read_text() == "mine"
