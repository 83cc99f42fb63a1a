"""Checks on the table of each split. The only file that imports great_expectations and pandas."""

import os
from collections import Counter
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from pydantic import Field

from gate.data.near_duplicates import Pair
from gate.data.split import Split
from gate.errors import DataError
from gate.plan.plan import Plan
from gate.progress import Progress
from gate.values import Digest, Value

_PAIRS = 3  # of near duplicates that are named
_TOLERANCE = 0.1  # by how much a group of a balanced split may differ from the mean group


class Check(Value):
    """One expectation on one table, and what was found."""

    table: str
    says: str
    passed: bool
    found: str


class Validation(Value):
    """All checks on the splits of a plan."""

    data: dict[str, Digest]
    checks: tuple[Check, ...] = Field(min_length=1)
    remarks: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Check, ...]:
        """Those that did not pass."""
        return tuple(check for check in self.checks if not check.passed)


def validate(plan: Plan, splits: Mapping[str, Split], progress: Progress) -> Validation:
    """Hold Great Expectations against the table of each split that a task or a probe uses.

    Args:
        plan: Its tasks, and the probes that fit heads on splits of their own.
        splits: The used splits by name, opened.
        progress: Shows how far it is.

    Raises:
        DataError: A split cannot be read, or an expectation could not be evaluated.
    """
    digests = {}
    for split in splits.values():
        with progress(f"validate {split.name}", len(split), passes=0) as advance:
            digests[split.name] = split.digests
            advance(len(split))
    run = Suites()
    checks: list[Check] = []
    remarks: list[str] = []
    for split in splits.values():
        checks += run(f"{split.name}: {split.plan.kind}s", *_examples(split, digests[split.name]))
        for columns in dict.fromkeys(  # not a set: its order changes from run to run
            (split.plan.label, *some) for some in ((), split.plan.attributes)
        ):
            checks += run(f"{split.name}: groups by {', '.join(columns)}", *_groups(split, columns))
    for name, task in plan.tasks.items():
        kind = splits[task.test].plan.kind
        for fitted in filter(None, (task.train, *plan.probes.training_splits)):
            both = [digest for s in (fitted, task.test) for digest in set(digests[s])]
            together, says = f"{name}: {fitted} and {task.test} together", f"no {kind} is in both"
            if splits[fitted].plan == splits[task.test].plan:
                says += (
                    "; they are the same rows, so pick those of each by a column, such as where: "
                    "{split: 0} in the plan, or by shard"
                )
            apart = (says, "ExpectColumnValuesToBeUnique", {"column": kind})
            checks += run(together, {kind: both}, [apart])
            train, test = splits[fitted], splits[task.test]
            near = _Near(test, train, test.near_duplicates_of(train))
            checks.append(near.check(together, task.near_duplicates))
            if near.pairs and checks[-1].passed:
                remarks.append(f"{together}: {near}")
    data = {name: split.digest for name, split in splits.items()}
    return Validation(data=data, checks=tuple(checks), remarks=tuple(remarks))


class _Near(NamedTuple):
    """Test examples that nearly are a training example, and are not equal to one."""

    test: Split
    train: Split
    pairs: list[Pair]

    def __str__(self) -> str:
        kind, share = self.test.plan.kind, len(self.pairs) / len(self.test)
        said = (
            f"{len(self.pairs)} of {len(self.test)} {kind}s ({share:.1%}) of {self.test.name} "
            f"nearly are one of {self.train.name}"
        )
        if not self.pairs:
            return said
        shown = self.pairs[:_PAIRS]
        of_test = self.test.names(pair.test for pair in shown)
        of_train = self.train.names(pair.train for pair in shown)
        named = [f"{of_test[test]} and {of_train[train]}" for test, train in shown]
        return f"{said}, such as {'; '.join(named)}"

    def check(self, table: str, most: float) -> Check:
        """Whether they are no more than a share of the test examples."""
        kind = self.test.plan.kind
        return Check(
            table=table,
            says=f"at most {most:.1%} of the test {kind}s nearly are a training {kind} "
            "(near_duplicates in the plan)",
            passed=len(self.pairs) <= most * len(self.test),
            found=str(self),
        )


_Expectation = tuple[str, str, dict[str, Any]]


def _examples(split: Split, digests: list[str]) -> tuple[dict[str, Any], list[_Expectation]]:
    kind = split.plan.kind
    table = {
        kind: digests,
        split.plan.label: [split.classes[k] for k in split.labels],
        **{name: values.tolist() for name, values in split.attributes.items()},
    }
    classes = {"column": split.plan.label, "value_set": list(split.classes)}
    expectations: list[_Expectation] = [
        (f"has a column {column!r}", "ExpectColumnToExist", {"column": column}) for column in table
    ]
    expectations += [
        (f"has {kind}s", "ExpectTableRowCountToBeBetween", {"min_value": 1}),
        ("every label is a class", "ExpectColumnValuesToBeInSet", classes),
        (f"every class has {kind}s", "ExpectColumnDistinctValuesToContainSet", classes),
        (f"no {kind} stands twice", "ExpectColumnValuesToBeUnique", {"column": kind}),
    ]
    expectations += [
        (f"{name} is never empty", "ExpectColumnValuesToNotBeNull", {"column": name})
        for name in split.attributes
    ]
    return table, expectations


def _groups(split: Split, columns: tuple[str, ...]) -> tuple[dict[str, Any], list[_Expectation]]:
    """A table of groups, groups without an image included, and what is expected of their sizes."""
    labels = [split.classes[k] for k in split.labels]
    values = [labels, *(split.attributes[name].tolist() for name in columns[1:])]
    sizes = dict.fromkeys(product(*(sorted(set(column)) for column in values)), 0)
    sizes |= Counter(zip(*values, strict=True))
    least = split.plan.minimum_group
    bounds: dict[str, Any] = {"column": "size", "min_value": least}
    expectations = [
        (f"every group has at least {least} images", "ExpectColumnMinToBeBetween", bounds)
    ]
    if set(columns) == {split.plan.label, *split.plan.balanced} and split.plan.balanced:
        mean = sum(sizes.values()) / len(sizes)
        low, high = mean * (1 - _TOLERANCE), mean * (1 + _TOLERANCE)
        says = f"group sizes are within {_TOLERANCE:.0%} of their mean {mean:.1f}, as claimed"
        bounds = {"column": "size", "min_value": low, "max_value": high}
        expectations.append((says, "ExpectColumnValuesToBeBetween", bounds))
    table = {"group": [", ".join(group) for group in sizes], "size": list(sizes.values())}
    return table, expectations


class Suites:
    """Great Expectations, started once."""

    def __init__(self) -> None:
        os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
        import great_expectations

        self._gx = great_expectations
        context: Any = great_expectations.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}
        self._source: Any = context.data_sources.add_pandas("gate")

    def __call__(
        self, name: str, table: dict[str, Any], expectations: list[_Expectation]
    ) -> list[Check]:
        """Hold expectations against one table; refuses where nothing would be checked."""
        import pandas

        # Great Expectations passes an empty suite, and most expectations on an empty table
        if not expectations or not len(next(iter(table.values()), ())):
            raise DataError(f"validate: {name}: an empty table or suite checks nothing")
        made = [
            getattr(self._gx.expectations, kind)(**arguments, meta={"says": says})
            for says, kind, arguments in expectations
        ]
        batch = (
            self._source.add_dataframe_asset(name)
            .add_batch_definition_whole_dataframe("all")
            .get_batch(batch_parameters={"dataframe": pandas.DataFrame(table)})
        )
        suite = self._gx.ExpectationSuite(name=name, expectations=made)
        outcome: Any = batch.validate(suite, result_format="BASIC")
        results = outcome.to_json_dict()["results"]
        if len(results) != len(made):
            raise DataError(f"validate: {name}: {len(results)} of {len(made)} checks were made")
        return [self._check(name, result) for result in results]

    @staticmethod
    def _check(name: str, result: dict[str, Any]) -> Check:
        says = result["expectation_config"]["meta"]["says"]
        # a check that could not be made is an error and not a failure
        if _raised(result["exception_info"]):
            raise DataError(f"validate: {name}: {says!r} could not be checked: {result}")
        found = result["result"]
        shown = found.get("observed_value", found.get("unexpected_count", ""))
        if examples := found.get("partial_unexpected_list"):
            shown = f"{found['unexpected_count']} unexpected, such as {examples[0]}"
        return Check(table=name, says=says, passed=bool(result["success"]), found=str(shown))


def _raised(information: dict[str, Any]) -> bool:
    """Great Expectations nests this by metric where several were computed."""
    if "raised_exception" in information:
        return bool(information["raised_exception"])
    return any(inner.get("raised_exception") for inner in information.values())
