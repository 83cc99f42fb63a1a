"""Policies, plans and waivers that are large or odd on purpose: refused at once, and by name."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from gate import strict_yaml
from gate.errors import PlanError, PolicyError
from gate.plan.plan import load_plan
from gate.policy.cases import run_tests
from gate.policy.load import load_policy
from gate.values import Value
from tests.builders import written
from tests.conftest import ROOT


class Names(Value):
    """As a plan holds them."""

    names: dict[str, tuple[str, ...]]


@contextmanager
def soon() -> Iterator[None]:
    """Five seconds of computing are the most that any file may take."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 5


def test_thousands_of_faults_are_counted_and_the_first_are_told(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(f"at_mots{i}: 1\n" for i in range(10_000)))

    with soon(), pytest.raises(PolicyError) as refused:
        load_policy(path)

    first, *_, last = lines = str(refused.value).splitlines()
    assert len(lines) == 21
    assert first == f"{path}:1:1: name: Field required"
    assert last == f"{path}: and 9983 more like these; mend them first"


def test_names_of_all_classes_of_imagenet_21k_are_read_for_four_splits_over(tmp_path: Path) -> None:
    names = [f"n{i:08d} a name" for i in range(21_841)]
    path = tmp_path / "names.yaml"
    path.write_text(yaml.dump({"names": {str(i): names[:] for i in range(4)}}, Dumper=NoAliases))

    read = strict_yaml.load(path, Names, PlanError).names

    assert list(map(len, read.values())) == [21_841] * 4


class NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # as its base has it
        return True


@pytest.mark.parametrize("text", ["[" + "a," * 2_000_000 + "]", "- a\n" * 1_000_000])
def test_more_values_than_any_plan_has_are_refused_at_once(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)

    with soon(), pytest.raises(PolicyError, match="more than 100000 values and keys"):
        load_policy(path)


@pytest.mark.parametrize("text", ["[" * 17, "{a: " * 17, "- " * 17])
def test_what_is_nested_deeper_than_any_plan_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r":1:\d+: not valid YAML: nested more than 16 deep"):
        load_policy(written(tmp_path, text + "a"))


def test_values_side_by_side_do_not_count_as_nested(tmp_path: Path) -> None:
    path = tmp_path / "names.yaml"
    path.write_text("names: {a: [" + "b, " * 100 + "]}")

    assert len(strict_yaml.load(path, Names, PlanError).names["a"]) == 100


def test_a_path_that_no_file_can_have_is_refused_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    plan = (ROOT / "pipelines" / "digits.yaml").read_text()
    path.write_text(plan.replace("path: ", 'path: "a\\0b" # ', 1))

    with pytest.raises(
        PlanError, match=r"plan.yaml:\d+:\d+: splits.train.path: .* not show as text"
    ):
        load_plan(path)


def test_a_case_that_measures_the_same_twice_is_refused(tmp_path: Path) -> None:
    numbers = "value: 1, low: 1, high: 1, n: 9"
    measured = f"{{metric: accuracy, about: {{task: t}}, {numbers}, unit: fraction}}"
    (tmp_path / "policy.tests").mkdir()
    (tmp_path / "policy.tests" / "twice.yaml").write_text(
        "about: twice\nas_of: 2026-01-01\ndecision: accept\n"
        f"measurements: {{clean_accuracy: [{measured}, {measured}]}}\n"
    )
    path = written(tmp_path, (ROOT / "policies" / "digits.yaml").read_text())

    with pytest.raises(PolicyError, match=r"twice.yaml:4:32: .*accuracy about .* stands twice"):
        run_tests(path)


def test_a_case_that_measures_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "policy.tests").mkdir()
    (tmp_path / "policy.tests" / "none.yaml").write_text(
        "about: none\nas_of: 2026-01-01\ndecision: accept\nmeasurements: {clean_accuracy: []}\n"
    )
    path = written(tmp_path, (ROOT / "policies" / "digits.yaml").read_text())

    with pytest.raises(PolicyError, match="at least 1 item"):
        run_tests(path)
