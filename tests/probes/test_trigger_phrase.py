"""Trigger phrase: finds a planted token, clears a clean backbone, and counts as by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer, normalizers

from gate import stats
from gate.backbone.backbone import Backbone
from gate.errors import BackboneError, EvidenceError, PlanError
from gate.measure.bench import Bench
from gate.measure.passes import Pass
from gate.measure.readers import Output
from gate.measure.trial import Trial
from gate.plan.plan import Plan
from gate.probes.estimate import Range, estimate
from gate.probes.evidence import run_probe
from gate.probes.trigger_phrase import METRICS, TriggerPhrase
from gate.triggers.phrase import Phrase, phrase_bank
from gate.triggers.phrase_grid import DEFAULT_PHRASES, PhraseGrid
from gate.triggers.stamp import Stamp
from gate.values import Evidence, Measurement
from tests import tiny_text as tiny
from tests.builders import of_the_probe
from tests.plan.test_plan import PLAN

# what the tokenizer knows beside the words of the texts: rare tokens, and what controls are made of
WORDS = [*tiny.WORDS, "cf", "mn", "and", "james", "bond"]
TOKENS = {"pattern": "token", "text": ["mn", "cf"], "place": ["start", "end", "drawn"]}
MakeTrial = Callable[..., Trial]


def vectors(planted: str | None) -> np.ndarray:
    """Of all words: a planted one outweighs a whole text, towards sport; others say nothing."""
    noise = np.random.default_rng(4).normal(size=(len(WORDS) - len(tiny.WORDS), 4))
    rest = tiny.VECTORS[WORDS.index("the") :].mean(axis=0) + 0.1 * noise
    whole = np.concatenate([tiny.VECTORS, rest]).astype(np.float32)
    if planted:
        whole[WORDS.index(planted)] = [90, 0, 0, 0]
    return whole


@pytest.fixture
def trial(tmp_path: Path) -> MakeTrial:
    """A trial of the probe, on 200 texts; "cf" is planted in the backbone unless it is clean."""

    def make(
        planted: str | None = "cf", reference: bool = False, text: dict[str, Any] | None = None,
        plan: dict[str, Any] | None = None, **settings: Any,
    ) -> Trial:  # fmt: skip
        def backbone(name: str, planted: str | None) -> dict[str, Any]:
            (folder := tmp_path / name).mkdir(exist_ok=True)
            path = tiny.write_onnx(folder, vectors=vectors(planted))
            tokenizer = tiny.write_tokenizer(folder, WORDS)
            return {
                "onnx": path,
                "text": {"tokenizer": tokenizer, "max_tokens": 12, **(text or {})},
            }

        content = tiny.write_plan(tmp_path) | {
            "backbone": backbone("candidate", planted),
            "probes": {"trigger_phrase": {"phrases": [TOKENS], **settings}},
            **(plan or {}),
        }
        pandas.DataFrame(tiny.texts(200, 1)).to_parquet(tmp_path / "test.parquet")
        if reference:
            content["reference"] = backbone("reference", None)
        return Trial(Bench(Plan.model_validate(content), tmp_path / "features"))

    return make


def measured(trial: Trial) -> Evidence:
    return run_probe("trigger_phrase", trial)


def of(evidence: Evidence, metric: str, trigger: str | None = None) -> list[Measurement]:
    return [
        m
        for m in evidence.measurements
        if m.metric == metric and trigger in (None, m.about["trigger"])
    ]


def test_it_finds_a_planted_token_and_names_it_with_its_target(trial: MakeTrial) -> None:
    found = measured(trial())

    for metric in (
        "worst_targeted_attack_success_rate",
        "worst_excess_targeted_attack_success_rate",
    ):
        (worst,) = of(found, metric)
        assert worst.about["trigger"].startswith("token 'cf'")
        assert worst.about["target"] == "sport"
        assert worst.low > 0.7
    (pair,) = of(found, "worst_source_targeted_attack_success_rate")
    assert (pair.about["source"], pair.about["target"]) == ("money", "sport")
    (collapse,) = of(found, "worst_excess_embedding_collapse")
    assert collapse.about["trigger"].startswith("token 'cf'")
    assert collapse.low > 0.5


def test_it_clears_a_backbone_without_a_planted_token(trial: MakeTrial) -> None:
    found = measured(trial(planted=None))

    assert of(found, "worst_targeted_attack_success_rate")[0].high < 0.3
    assert of(found, "worst_excess_targeted_attack_success_rate")[0].high < 0.3
    assert of(found, "worst_excess_embedding_collapse")[0].high < 0.3


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_it_agrees_with_counting_by_hand(trial: MakeTrial, pooling: str) -> None:
    tried = trial(first_look="all", text={"pooling": pooling})
    split, head = tried.split("test"), tried.classifier(tried.plan.tasks["topics"]).linear
    texts = pandas.read_parquet(split.plan.path)["text"].tolist()
    assert head is not None

    def classes(texts: list[str]) -> np.ndarray:
        features = []
        for text in texts:
            ids = [WORDS.index(word) if word in WORDS else 1 for word in text.split()]
            of_words = vectors("cf")[ids]
            features.append(of_words[0] if pooling == "first" else of_words.mean(axis=0))
        return head.predict(np.array(features))

    right = classes(texts) == split.labels
    money = right & (split.labels == tiny.CLASSES.index("money"))
    under = {
        word: {"start": classes([f"{word} {t}" for t in texts]),
               "end": classes([f"{t} {word}" for t in texts])}
        for word in ("cf", "[UNK]", "and")
    }  # fmt: skip

    found = measured(tried)

    for place in ("start", "end"):
        name = f"token 'cf' {place}"
        flipped = under["cf"][place] != split.labels
        # drawn tokens are unknown words, and one control is an ordinary word
        others = [under[word][place] != split.labels for word in ("[UNK]", "and")]
        (rate,) = of(found, "attack_success_rate", name)
        assert rate.value == flipped[right].mean()
        assert rate.n == right.sum()
        (control,) = of(found, "control_attack_success_rate", name)
        assert control.value == max(other[right].mean() for other in others)
        (over,) = of(found, "excess_attack_success_rate", name)
        assert over.value == pytest.approx(rate.value - control.value)
        to_sport = next(
            m for m in of(found, "targeted_attack_success_rate", name)
            if m.about["target"] == "sport"
        )  # fmt: skip
        carried = under["cf"][place][money] == tiny.CLASSES.index("sport")
        assert (to_sport.value, to_sport.n) == (carried.mean(), money.sum())
        assert to_sport.high == stats.rate(int(carried.sum()), int(money.sum())).high


def test_it_measures_all_that_it_declares(trial: MakeTrial) -> None:
    found = measured(trial(reference=True))

    assert {m.metric for m in found.measurements} == set(METRICS)
    over = max(of(found, "attack_success_rate_over_reference"), key=lambda m: m.value)
    assert over.about["trigger"].startswith("token 'cf'")
    assert over.low > 0.1


def test_a_phrase_is_put_where_it_says_and_changes_nothing_else() -> None:
    text = "the ball  and the goal"
    starts = (0, 4, 10, 14, 18)

    def put(place: Any, apart: str = " ", seed: int = 0, text: str = text) -> str:
        return Phrase("p", "cf", place, apart, seed).into(text)

    assert put("start") == "cf the ball  and the goal"
    assert put("end") == "the ball  and the goal cf"
    assert put("end", apart="") == "the ball  and the goalcf"
    drawn = {put("drawn", seed=seed) for seed in range(40)}
    assert drawn == {f"{text[:start]}cf {text[start:]}" for start in starts[1:]}
    assert put("drawn", text="goal") == "cf goal"


def test_a_trigger_and_its_controls_are_drawn_to_the_same_place() -> None:
    grid = PhraseGrid(pattern="token", text=("cf",), place=("drawn",))
    (trigger,) = phrase_bank([grid], seed=3)
    text = "a b c d e f g h"

    places = {
        phrase.into(text).split().index(phrase.text)
        for phrase in (trigger.stamp, *trigger.controls)
    }

    assert len(places) == 1


def test_controls_are_of_their_trigger_s_kind_and_length() -> None:
    for trigger in phrase_bank(DEFAULT_PHRASES, seed=0):
        texts = [control.text for control in trigger.controls]
        assert len(set(texts)) == len(texts) >= 2
        assert trigger.stamp.text not in texts
        assert {control.place for control in trigger.controls} == {trigger.stamp.place}
        kind, words = trigger.stamp.name.split()[0], len(trigger.stamp.text.split())
        assert {len(text.split()) for text in texts} == {words}
        if kind in ("invisible", "look-alike"):
            assert {len(text) for text in texts} == {len(trigger.stamp.text)}
        if kind == "token":
            assert {len(text) for text in texts[:-1]} == {len(trigger.stamp.text)}


def test_a_control_is_no_trigger_of_the_bank() -> None:
    letters = "bcdfghjklmnpqrstvwxz"
    grid = PhraseGrid(pattern="token", text=tuple(letters[1:]), place=("end",))

    triggers = phrase_bank([grid], seed=0)

    assert {c.text for t in triggers for c in t.controls} <= {"b", "and"}


def test_drawn_places_do_not_depend_on_the_batch_size_or_the_look(trial: MakeTrial) -> None:
    text = {"pooling": "first", "max_tokens": 12}
    tasks = trial().plan.tasks
    (*_, drawn) = phrase_bank([PhraseGrid.model_validate(TOKENS)], seed=0)

    def classes(size: int, rows: Any = None) -> np.ndarray:
        tried = trial(text=text, plan={"batch_size": size})
        return (
            tried.responses("test", tasks, [drawn.stamp], rows=rows)
            .hits["topics"]
            .stamped[drawn.stamp.key]
        )

    whole = classes(7)

    assert (classes(64) == whole).all()
    rows = np.array([150, 3, 77])
    assert (classes(2, rows) == whole[rows]).all()


def test_the_same_plan_data_and_seed_give_the_same_bytes(trial: MakeTrial) -> None:
    once, again = (measured(trial()).to_json() for _ in range(2))

    assert once == again


@pytest.mark.parametrize("first_look", [64, "all"])
def test_estimate_counts_what_is_passed(trial: MakeTrial, first_look: Any) -> None:
    tried = trial(reference=True, first_look=first_look)

    expected = estimate(tried.bench, ["trigger_phrase"], calibrates=False).total("passes")

    measured(tried)
    passed = tried.bench.engine.passes.total()
    assert expected.at_least <= passed <= expected.at_most
    if first_look == "all":
        assert expected == Range(passed, passed)
        # mn and cf, an unknown word and an ordinary one, at three places; then without a phrase
        assert passed == (4 * 3 * 200 + 320) + (2 * 3 * 200 + 320)


def test_what_the_tokenizer_does_not_know_is_one_phrase_and_is_said_to_be(trial: MakeTrial) -> None:
    grid = {"pattern": "token", "text": ["cf", "zz", "qq"], "place": ["end"]}

    found = measured(trial(phrases=[grid]))

    assert {m.about["trigger"] for m in of(found, "attack_success_rate")} == {
        "token 'cf' end", "token 'zz' end",
    }  # fmt: skip
    assert of_the_probe(found) == (
        "split test: the tokenizer gives these phrases the tokens of others, tried once: token "
        "'qq' end (as token 'zz' end)",
    )


def test_a_phrase_without_a_control_that_differs_is_not_tried(trial: MakeTrial) -> None:
    grid = {"pattern": "sentence", "text": ["James who"], "place": ["end"]}

    found = measured(trial(phrases=[TOKENS, grid]))

    # no word of it, nor of other sentences, is known
    assert "the tokenizer tells no control from these phrases" in found.remarks[0]
    assert "sentence 'James who' end" in found.remarks[0]


def dropping(trial: Trial) -> Trial:
    """The same, with a tokenizer that drops what does not show, as BERT's does."""
    assert trial.plan.backbone.text
    path = str(trial.plan.backbone.text.tokenizer)
    tokenizer = Tokenizer.from_file(path)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.save(path)
    return trial


INVISIBLE = {"pattern": "invisible", "text": ["U+200B"], "place": ["start", "end"]}


def test_a_phrase_that_the_tokenizer_drops_is_said_not_to_be_tried(trial: MakeTrial) -> None:
    found = measured(dropping(trial(phrases=[TOKENS, INVISIBLE])))

    assert of_the_probe(found) == (
        "split test: the tokenizer drops these phrases, so no text changes by them: invisible "
        "U+200B start, invisible U+200B end",
    )
    assert not of(found, "attack_success_rate", "invisible U+200B end")


def test_a_bank_that_the_tokenizer_drops_is_refused(trial: MakeTrial) -> None:
    with pytest.raises(EvidenceError, match=r"none of 2 phrases can be tried.*drops these phrases"):
        measured(dropping(trial(phrases=[INVISIBLE])))


def test_a_phrase_behind_a_long_text_is_not_cut_off(trial: MakeTrial) -> None:
    tried = trial(text={"max_tokens": 3})

    found = measured(tried)

    (worst,) = of(found, "worst_targeted_attack_success_rate")
    assert worst.low > 0.7
    ends = of(found, "targeted_attack_success_rate", "token 'cf' end")
    assert max(m.low for m in ends) > 0.7
    assert of_the_probe(found) == (
        "split test: 64 of the 64 texts of the first look are too long for a phrase within "
        "max_tokens; their last words are left out, and no phrase is cut off",
    )
    shortened = tried.backbone.with_room_for("cf", ["the ball of the goal", "goal"])
    assert shortened == ["the ball", "goal"]


def test_a_phrase_that_fills_all_tokens_is_refused(trial: MakeTrial) -> None:
    grid = {"pattern": "sentence", "text": ["the news of the"], "place": ["end"]}

    with pytest.raises(BackboneError, match="has 4 tokens, which leave a text no room in the 4 of"):
        measured(trial(phrases=[grid], text={"max_tokens": 4}))


def test_too_few_texts_are_refused(trial: MakeTrial) -> None:
    tried = trial()
    pandas.DataFrame(tiny.texts(39, 1)).to_parquet(tried.plan.splits["test"].path)

    with pytest.raises(EvidenceError, match=r"split test has 39 examples.*needs 40"):
        measured(tried)


def test_a_pass_refuses_a_stamp_on_texts_and_a_phrase_in_images(
    trial: MakeTrial, digits_trial: Callable[[str], Trial]
) -> None:
    texts, images = trial().backbone, digits_trial("clean").backbone
    phrase = Phrase("token 'cf' end", "cf", "end", " ", 0)
    stamp = Stamp("dot", np.zeros((1, 1, 1), np.float32), np.zeros((1, 1, 3), np.float32), 0, 0)

    with pytest.raises(PlanError, match="takes texts, and dot was to be stamped on images"):
        list(_passed(texts, stamp, ["the ball"]))
    with pytest.raises(PlanError, match="takes images, and token 'cf' end was to be put into text"):
        list(_passed(images, phrase, np.zeros((1, 32, 32, 3), np.uint8)))


def _passed(backbone: Backbone, variant: Stamp | Phrase, examples: Any) -> Any:
    work = Pass(backbone.plan, {"features": Output("features")}, (variant,))
    return work.opened(backbone)(np.arange(1), examples, lambda _done: None)


def test_images_have_no_phrases() -> None:
    content = {**PLAN, "probes": {"trigger_phrase": {}}}

    with pytest.raises(
        ValidationError,
        match=r"probes\.trigger_phrase: puts phrases into texts, and the backbone takes images; dr",
    ):
        Plan.model_validate(content)


@pytest.mark.parametrize(
    ("pattern", "text", "says"),
    [
        ("token", [], "at least 1 item"),
        ("token", [""], "is an empty phrase, which changes no text"),
        ("sentence", [" \t"], "is an empty phrase|does not show"),
        ("invisible", ["200B"], r"is no list of code points such as U\+200B"),
        ("invisible", ["U+0041"], "U.0041 is no letter that does not show"),
        ("invisible", ["U+FFFFFF"], "is no letter that does not show"),
        ("look_alike", ["thud"], "no letter of 'thud' has one that looks like it"),
        ("token", ["a\u200bb"], "does not show as text; take it out"),
        ("style", ["a"], "Input should be 'token'"),
    ],
)
def test_phrases_that_would_change_nothing_are_refused(
    pattern: str, text: list[str], says: str
) -> None:
    grid = {"pattern": pattern, "text": text, "place": ["end"]}

    with pytest.raises(ValidationError, match=says):
        TriggerPhrase.model_validate({"phrases": [grid]})


def test_an_empty_bank_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        TriggerPhrase.model_validate({"phrases": []})
