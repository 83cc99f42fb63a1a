"""The section of a model card, as huggingface_hub reads it."""

from datetime import date

from gate import Verdict, decide
from gate.reports import model_card
from gate.reports.attachments import Attachments
from tests.builders import evidence, policy, rule
from tests.reports import validators


def test_the_hub_reads_the_worst_number_of_each_rule(
    everything: Verdict, beside: Attachments
) -> None:
    card = validators.model_card(model_card.render(everything, (), beside))

    assert card.data.model_name == "resnet 50"
    read = {each.metric_name: each for each in card.data.eval_results}
    assert list(read) == ["clean_accuracy.accuracy (task bad)", "warns (task good)"]
    worst = read["clean_accuracy.accuracy (task bad)"]
    assert (worst.task_type, worst.dataset_name) == ("feature-extraction", "bad")
    assert (worst.metric_type, worst.metric_value) == ("accuracy", 0.2)
    assert worst.metric_args == {
        "low": 0.1,
        "high": 0.3,
        "n": 100,
        "about": "task bad",
        "wanted": "at least 0.8",
        "outcome": "fail",
    }


def test_the_metadata_stays_the_same_when_the_hub_writes_it(
    everything: Verdict, beside: Attachments
) -> None:
    card = validators.model_card(model_card.render(everything, (), beside))

    again = validators.model_card(str(card))

    assert again.data.eval_results == card.data.eval_results
    assert again.text.strip() == card.text.strip()


def test_people_read_every_rule_the_decision_and_the_day(
    everything: Verdict, beside: Attachments
) -> None:
    text = validators.model_card(model_card.render(everything, (), beside)).text

    assert "**REJECT** under policy `test` v1: 6 findings" in text
    assert "Reached on 2026-01-02." in text
    assert "| clean_accuracy.accuracy (task bad) | fail | 0.200 | 0.100 .. 0.300 | 100 |" in text
    assert "| absent | missing |  |  |  | at least 0.8 |" in text
    assert everything.policy.digest in text


def test_a_verdict_without_numbers_has_no_metadata() -> None:
    nothing = policy(rule(where={"task": "other"}))

    shown = model_card.render(decide(nothing, [evidence()], date(2026, 1, 1)))

    assert shown.startswith("## Safety gate")
