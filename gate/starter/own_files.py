"""A plan and a policy that run, written from somebody's own model and data."""

import tempfile
from pathlib import Path
from typing import Literal

from gate import files, starter
from gate.errors import BackboneError, DataError
from gate.inspection.data import inspect_data
from gate.inspection.model import inspect_model
from gate.limits import Limits
from gate.starter.proposed import Asking, Proposal, propose
from gate.starter.shipped import Measured, Shipped, policy_files
from gate.starter.tried import tried


def own_files(
    folder: Path,
    model: Path,
    data: Path,
    test: Path | None,
    policy: Literal["research", "production"],
    ask: Asking,
) -> tuple[list[Path], list[str]]:
    """Write a plan and a policy with its tests and, in a DVC repository, stages.

    Args:
        folder: A new one in the working directory.
        model: The candidate.
        data: To train and test on; to train on alone, where ``test`` is given.
        test: To test on.
        policy: Which bounds to start from.
        ask: Answers questions; gives the guess where nobody is there.

    Returns:
        What was written, and what to do next, in lines.

    Raises:
        GateError: Something cannot be read or would not run; nothing is written then.
    """
    starter.require_free(folder)
    proposal = _proposed(model, data, test, ask)
    texts, line = _tried(folder, proposal, policy)
    plan = f"{folder}/plan.yaml"
    steps = [
        line,
        f"look at what {plan} says of guesses, then:",
        f"  gate run {plan} --policy {folder}/policy.yaml --out out",
        "no DVC repository here; for stages of DVC: dvc init, then the same with a new folder",
    ]
    if starter.in_repository():
        places = {"data": proposal.data[0], **({"test": test} if test else {})}
        texts = {"dvc.yaml": starter.stages(folder.name, model, places), **texts, **starter.IGNORED}
        steps[-1] = f"  or: dvc repro {folder}/dvc.yaml:report"
    return starter.put(folder, texts), steps


def _proposed(model: Path, data: Path, test: Path | None, ask: Asking) -> Proposal:
    """What a plan may be.

    Raises:
        GateError: The model or the data cannot be read or are refused; says what inspect says.
    """
    facts = inspect_model(model, Limits())
    if facts.refused:
        raise BackboneError(f"{model}: {facts.refused[0]}")
    found = {"data": (data, inspect_data(data))}
    if test:
        found["test"] = (test, inspect_data(test))
    for path, each in found.values():
        if each.facts.refused:
            raise DataError(f"{path}: {each.facts.refused[0]}")
    return propose(facts, model, found, ask)


def _tried(folder: Path, proposal: Proposal, bounds: Shipped) -> tuple[dict[str, str], str]:
    """Texts of a plan that was tried and of its policy, and what the plan costs.

    Triggers are searched for by gradient only where there is one and it does not take long.
    """
    name, no_search = folder.name, proposal.search_obstacle
    with tempfile.TemporaryDirectory(prefix="gate-") as place:
        plan = Path(place, "plan.yaml")
        files.write(plan, proposal.plan(name, searches=not no_search))
        trial = tried(plan, Limits())
        no_search = no_search or trial.no_search
        text = proposal.plan(
            name,
            searches=not no_search,
            no_search="" if proposal.texts else no_search,
            slow=trial.slow,
        )
        line = trial.line
        if trial.slow:
            files.write(plan, text)
            line = tried(plan, Limits()).line
    probes = proposal.probes(searches=not no_search)
    if proposal.texts:
        bounds = "text"
    elif bounds == "production" and proposal.attributes:
        bounds = "production_groups"
    measured = Measured(frozenset(probes), len(proposal.classes), proposal.of_a_class)
    return {"plan.yaml": text, **policy_files(bounds, name, measured)}, line
