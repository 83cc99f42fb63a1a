"""Files that tests read back."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from gate.label_prior import array_files


def write_array(path: Path, name: str, array: np.ndarray) -> Path:
    """Write an array under that name, as the file's ending says."""
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        array_files.write(path, {name: array})
    return path


def write_file(folder: Path, name: str, content: object) -> Path:
    """Write text, bytes or arrays as they are, be they right or wrong."""
    path = folder / name
    if isinstance(content, bytes | str):
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    elif path.suffix == ".safetensors":
        save_file(content, path)  # type: ignore[arg-type]  # a test's own case
    elif path.suffix == ".npz":
        np.savez(path, **content)  # type: ignore[arg-type]  # a test's own case
    else:
        np.save(path, content)  # type: ignore[arg-type]  # a test's own case
    return path
