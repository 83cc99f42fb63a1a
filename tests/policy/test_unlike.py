"""How a candidate is unlike the backbones of published error rates."""

from typing import Any

import pytest

from gate import Evidence, decide
from gate.policy.unlike import unlike
from gate.values import Like
from tests.builders import evidence, measurement, policy
from tests.policy.error_rates import CLASSES, accuracies, like, rates
from tests.policy.test_error_rates import TODAY

LIKE = Like.model_validate(rates()["like"])


def test_of_a_candidate_that_is_like_them_nothing_is_said() -> None:
    assert unlike(LIKE, like()) == ()


@pytest.mark.parametrize("ends", [(28, 6, 52_000), (32, 10, 1_720_000)])
def test_the_least_and_the_most_are_alike(ends: tuple[int, int, int]) -> None:
    side, classes, size = ends
    found = like({"preprocessing": {"size": side}}, size, [f"{k}" for k in range(classes)])

    assert unlike(LIKE, found) == ()


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            like({"preprocessing": {"size": 224}}),
            "it takes images of 224 pixels a side, and they take images of 28 to 32 pixels a side",
        ),
        (
            like({"text": {"max_tokens": 9}, "preprocessing": None}),
            "it takes texts, and they take images of 28 to 32 pixels a side",
        ),
        (
            like({"preprocessing": {"size": True}}),
            "what images it takes is not known, and they take images of 28 to 32 pixels a side",
        ),
        (
            like({"preprocessing": {"size": [32]}}),
            "what images it takes is not known, and they take images of 28 to 32 pixels a side",
        ),
        (
            like({"preprocessing": "32", "text": "x"}),
            "what images it takes is not known, and they take images of 28 to 32 pixels a side",
        ),
        (
            like(classes=CLASSES[:5]),
            "its task digits has 5 classes, and their tasks have 6 to 10 classes",
        ),
        (
            like(classes=[f"class {k}" for k in range(1_000)]),
            "its task digits has 1,000 classes, and their tasks have 6 to 10 classes",
        ),
        (
            like()[1:],
            "how many classes its task digits has is not known, "
            "and their tasks have 6 to 10 classes",
        ),
        (
            like(size=97_000_000),
            "its files have 97,000,000 bytes, and those of the others 52,000 to 1,720,000",
        ),
        (
            like(size=None),
            "how many bytes its files have is not known, "
            "and those of the others 52,000 to 1,720,000",
        ),
        (
            like(first_look=128),
            "trigger_patch ran on it with other settings than its defaults (first_look), "
            "and on them with its defaults",
        ),
    ],
)
def test_what_is_unlike_or_not_known_is_said(found: list[Evidence], says: str) -> None:
    assert unlike(LIKE, found) == (says,)


def test_tasks_that_are_chosen_are_no_other_setting() -> None:
    assert unlike(LIKE, like(tasks=["digits"])) == ()


def test_of_evidence_that_says_nothing_all_is_said_not_to_be_known() -> None:
    found = [evidence(measurement(metric="attack_success_rate"), probe="trigger_patch")]

    said = unlike(LIKE, found)

    assert len(said) == 4
    assert all("not known" in sentence for sentence in said)


def test_each_task_is_counted_for_itself() -> None:
    counts = {"few": 3, "enough": 8, "many": 11}
    more = [m for task, k in counts.items() for m in accuracies(task, [f"{i}" for i in range(k)])]
    clean, triggers = like()
    content = clean.model_dump()
    content["measurements"] = [*content["measurements"], *(m.model_dump() for m in more)]

    said = unlike(LIKE, [Evidence.model_validate(content), triggers])

    assert [sentence.partition(",")[0] for sentence in said] == [
        "its task few has 3 classes",
        "its task many has 11 classes",
    ]


def test_one_number_is_told_as_one() -> None:
    same: dict[str, Any] = {"pixels": [32, 32], "classes": [6, 6], "bytes": [9, 9]}

    said = unlike(Like.model_validate(same), like({"preprocessing": {"size": 28}}))

    assert "they take images of 32 pixels a side" in said[0]
    assert "those of the others 9" in said[1]


def test_a_verdict_says_it_beside_its_rates_and_only_there() -> None:
    found = like(size=1)

    published = decide(policy(error_rates=rates()), found, TODAY)
    bare = decide(policy(), found, TODAY)

    assert published.unlike == unlike(LIKE, found) != ()
    assert (bare.error_rates, bare.unlike) == (None, ())
