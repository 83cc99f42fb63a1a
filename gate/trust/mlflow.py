"""Admitted -> an alias of the MLflow registry. The only file that imports mlflow."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gate.errors import PromotionError, failing_as
from gate.trust.check import Admitted
from gate.trust.registry import require_extra, require_same

_MARK = "gate.admission"


def promote(
    admitted: Admitted, name: str, version: int, alias: str, dry_run: bool = False
) -> list[str]:
    """Point an alias to a version of a registered model, if that holds the artefact.

    Args:
        admitted: What the check let through; the version is tagged with its digests.
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
    require_extra("mlflow")
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise PromotionError(  # MLflow would make one in the working folder
            "MLFLOW_TRACKING_URI is not set, so nothing says which registry holds "
            f"{name} v{version}; set it to the registry's address"
        )
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import; gate sends nothing
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
        _marked(client, name, str(version), admitted.admission),
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
def _marked(client: Any, name: str, version: str, admission: str) -> Iterator[None]:
    """Name the admission on a version; as it was before, if the block fails."""
    before = client.get_model_version(name, version).tags.get(_MARK)
    with ExitStack() as undo:
        if before is None:
            undo.callback(client.delete_model_version_tag, name, version, _MARK)
        else:
            undo.callback(client.set_model_version_tag, name, version, _MARK, before)
        client.set_model_version_tag(name, version, _MARK, admission)
        yield
        undo.pop_all()  # the mark stays
