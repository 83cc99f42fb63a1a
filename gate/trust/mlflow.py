"""Admitted -> an alias of the MLflow registry, and back. The only file that imports mlflow."""

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gate.errors import PromotionError, failing_as
from gate.files import read
from gate.trust.check import Admitted
from gate.trust.registry import require_extra, require_recorded, require_same

_DIGEST, _FILE = "gate.admission", "gate.admission_file"  # tags of a version
_EXPERIMENT, _NAME = "gate admissions", "admission.json"
_PLACE = re.compile(rf"runs:/[0-9a-f]{{32}}/{re.escape(_NAME)}")  # any other could be anybody's


def promote(
    admitted: Admitted, name: str, version: int, alias: str, dry_run: bool = False
) -> list[str]:
    """Point an alias to a version of a registered model, if that holds the artefact.

    Args:
        admitted: What the check let through. Its admission is kept as an artefact of a run, and the
            version is tagged with the digest of it and its place.
        name: The registered model.
        version: Its source must be the artefact, or a folder with the artefact alone.
        alias: What is to point there.
        dry_run: Do all but tag and point.

    Returns:
        What was done, a line each.

    Raises:
        PromotionError: The extra is missing, nothing says where the registry is, the version holds
            other bytes, or MLflow refuses.
    """
    _require_address(f"{name} v{version}")
    from mlflow import MlflowClient

    with failing_as(PromotionError, f"MLflow does not give {name} v{version}"):
        client = MlflowClient()
        _require_held(client, name, version, admitted)
    says = f"{alias} -> {name} v{version}: {admitted}; admission {admitted.admission}"
    if dry_run:
        return [f"would point {says}"]
    with (
        failing_as(PromotionError, f"MLflow does not point {alias} to {name} v{version}"),
        # the alias last: from there on it is deployed, and then it is marked already
        _marked(client, name, str(version), admitted),
    ):
        client.set_registered_model_alias(name, alias, str(version))
    return [says]


def _require_held(client: Any, name: str, version: int, admitted: Admitted) -> None:
    """Refuse a version whose source is not the artefact, or a folder with it alone."""
    from mlflow import artifacts

    with TemporaryDirectory(prefix="gate-") as place:
        # the source itself: a download of models:/ adds a file of its own
        source = client.get_model_version_download_uri(name, str(version))
        fetched = Path(artifacts.download_artifacts(source, dst_path=place))
        inside = sorted(fetched.iterdir()) if fetched.is_dir() else []
        if "." in admitted.files and len(inside) == 1 and inside[0].is_file():
            fetched = inside[0]
        do = "register what was admitted, and it alone, as a new version"
        require_same(fetched, admitted, f"{name} v{version}", do)


@contextmanager
def _marked(client: Any, name: str, version: str, admitted: Admitted) -> Iterator[None]:
    """Keep the admission, and name it on a version; all is as it was before, if the block fails."""
    before = client.get_model_version(name, version).tags
    with ExitStack() as undo:
        run = _kept(client, f"{name} v{version}", admitted.envelope)
        undo.callback(client.delete_run, run)
        for tag, value in ((_DIGEST, admitted.admission), (_FILE, f"runs:/{run}/{_NAME}")):
            if tag in before:
                undo.callback(client.set_model_version_tag, name, version, tag, before[tag])
            else:
                undo.callback(client.delete_model_version_tag, name, version, tag)
            client.set_model_version_tag(name, version, tag, value)
        yield
        undo.pop_all()  # the marks stay


def _kept(client: Any, title: str, envelope: bytes) -> str:
    """The run that an admission was made an artefact of.

    That of the version will not do: its artefact stands alone, so that it is what was admitted.
    """
    experiment = client.get_experiment_by_name(_EXPERIMENT)
    place = experiment.experiment_id if experiment else client.create_experiment(_EXPERIMENT)
    run: str = client.create_run(place, run_name=title).info.run_id
    client.log_text(run, envelope.decode(), _NAME)
    client.update_run(run, status="FINISHED")  # set_terminated prints where to look at it
    return run


def admission_of(name: str, alias: str) -> bytes:
    """The admission on whose strength an alias was pointed where it points.

    Args:
        name: The registered model.
        alias: Such as champion.

    Raises:
        PromotionError: Nothing says where the registry is, it has no such alias or does not answer,
            or the version was not promoted by gate, by an older one, or its admission was changed.
    """
    _require_address(f"{name}@{alias}")
    from mlflow import MlflowClient, artifacts

    with failing_as(PromotionError, f"MLflow does not give {name}@{alias}"):
        version = MlflowClient().get_model_version_by_alias(name, alias)
    title = f"{name} v{version.version}"
    recorded, place = version.tags.get(_DIGEST), version.tags.get(_FILE, "")
    if not recorded or not _PLACE.fullmatch(place):
        raise PromotionError(
            f"{title}, to which {alias} points, has no tags {_DIGEST} and {_FILE} that say which "
            "admission it was promoted on: it was not promoted by gate, or by one that did not "
            "keep it; give the admission's own file, or promote it again"
        )
    with (
        failing_as(PromotionError, f"MLflow does not give the admission of {title} ({place})"),
        TemporaryDirectory(prefix="gate-") as folder,
    ):
        fetched = Path(artifacts.download_artifacts(place, dst_path=folder))
        content = read(fetched, PromotionError)
    return require_recorded(content, recorded, f"the admission of {title}, {place},")


def _require_address(what: str) -> None:
    """Refuse to go on without the registry's address; nothing is imported of MLflow before."""
    require_extra("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise PromotionError(  # MLflow would make one in the working folder
            "MLFLOW_TRACKING_URI is not set, so nothing says which registry holds "
            f"{what}; set it to the registry's address"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import; gate sends nothing
