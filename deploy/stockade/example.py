# SPDX-License-Identifier: MIT
"""The worked example of an inventory, which ``stockade init`` writes."""

from __future__ import annotations

from pathlib import Path

from stockade.errors import InputError


def shipped() -> Path:
    """Return the folder of the example, installed or in a checkout."""
    here = Path(__file__).parent
    installed = here / "example"
    return installed if installed.is_dir() else here.parent.parent / "inventory"


def init(directory: Path | str) -> list[Path]:
    """Write the example into a directory, made if need be, and return the files written.

    Raises:
        InputError: the directory is not empty, is no directory, or cannot be written.
    """
    folder = Path(directory)
    source = shipped()
    written = []
    try:
        if folder.exists() and any(folder.iterdir()):
            remedy = "name a directory that is new or empty"
            raise InputError("there is something in it already", path=str(folder), remedy=remedy)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
                written.append(target)
    except OSError as exc:
        raise InputError(f"cannot be written: {exc.strerror}", path=str(folder)) from exc
    return written
