"""One node of a job: its folders, its data, and the command line of its processes."""

import os
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.emulator.messages import RefusalError
from scripts.emulator.routes import blobs, datastores
from scripts.emulator.state import State

_VARIABLE = "AZUREML_DATAREFERENCE_"
# What becomes artifacts of the run.
UPLOADED = ("outputs", "logs")

# The job's interpreter may be the emulator's own, whose site-packages may know the checkout: installed with
# `pip install --editable`. A job in the cloud has only its snapshot: what leads elsewhere is taken out.
_SITE = '''\
"""Leaves only the standard library, installed packages, and the job's own folder importable."""
import sys

roots = tuple({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, %r})
sys.path[:] = [entry for entry in sys.path if not entry or entry.startswith(roots)]
sys.meta_path[:] = [one for one in sys.meta_path if "__editable__" not in getattr(one, "__module__", "")]
for name in [name for name in sys.path_importer_cache if "__editable__" in name]:
    del sys.path_importer_cache[name]
sys.path_hooks[:] = [one for one in sys.path_hooks if "__editable__" not in getattr(one, "__module__", "")]
'''


class DataError(Exception):
    """The run definition asks for what is not there or cannot be run."""


@dataclass
class Node:
    """A node's folders below `root`: `work` (the snapshot; where the command runs), `home`, `data`.

    `read_only` holds what is to be mounted: target to source.
    """

    rank: int
    root: Path
    read_only: dict[Path, Path] = field(default_factory=dict)
    work: Path = field(init=False)
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        self.work, self.home = self.root / "wd", self.root / "home"

    def prepare(self, snapshot: dict[str, bytes], python: str = sys.executable) -> None:
        """Make the folders, unpack the snapshot, and make `python` the interpreter of its processes."""
        self.root.mkdir(mode=0o700, parents=True)
        for name in ("wd", "home", "bin", "site", "data"):
            (self.root / name).mkdir()
        for path, content in snapshot.items():
            file = self.work / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        for name in UPLOADED:
            (self.work / name).mkdir(exist_ok=True)
        (self.root / "site" / "sitecustomize.py").write_text(_SITE % str(self.root))
        for name in ("python", "python3"):
            wrapper = self.root / "bin" / name
            # Not a link: a virtual environment's interpreter would no longer know its packages.
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(python)} "$@"\n')
            wrapper.chmod(0o755)

    def environment(self, inherited: dict[str, str]) -> dict[str, str]:
        """Return the variables that make processes use this node's folders, added to those of the run."""
        return inherited | {
            "PATH": os.pathsep.join([str(self.root / "bin"), inherited["PATH"]]),
            "PYTHONPATH": str(self.root / "site"),
            "PWD": str(self.work),
        }

    def provide(self, state: State, references: dict[str, Any]) -> dict[str, str]:
        """Provide data references (mount, download or upload) and return their variables."""
        return {_VARIABLE + name: str(self._provide(state, name, one)) for name, one in references.items()}

    def _provide(self, state: State, name: str, reference: dict[str, Any]) -> Path:
        path = (reference.get("pathOnDataStore") or "").strip("/")
        try:
            container = datastores.container_of(state, reference["dataStoreName"])
        except RefusalError as error:
            raise DataError(error.message) from error
        target = self.root / "data" / name
        with state.lock:
            mounted = state.mounts.get(container, {}).get(path)
        if mounted is not None and mounted.is_dir():
            target.mkdir()
            self.read_only[target] = mounted
            return target
        found = blobs.names(state, container)
        prefix = path + "/" if path else ""
        inside = [blob for blob in found if blob.startswith(prefix)]
        if not inside and reference.get("mode") == "download":
            raise DataError(f"no files at {path!r} of datastore {reference['dataStoreName']!r}")
        target.mkdir()
        for blob in inside:
            file = target / blob[len(prefix) :]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(blobs.read(state, container, blob))
            file.chmod(0o444)
        return target

    def command(self, definition: dict[str, Any], data: dict[str, str]) -> list[str]:
        """Return the command line that the run definition asks for.

        A command goes through a shell, which puts variables in; in a script's arguments only data references
        are replaced, as Azure ML does.
        """
        if command := definition.get("command"):
            return ["bash", "-c", command]
        script = definition.get("script")
        if not script:
            raise DataError("the run definition has neither a command nor a script")
        arguments = [str(argument) for argument in definition.get("arguments") or []]
        for name in sorted(data, key=len, reverse=True):
            arguments = [argument.replace(f"${name}", data[name]) for argument in arguments]
        return ["python", script, *arguments]
