"""Collect the snapshot of a job: the files that `.amlignore` lets through, counted before anything is sent.

The files are copied into a folder of their own, and that folder is sent: what is listed is what is sent, and
what must never leave this machine is not there to be sent, whatever `.amlignore` says.
"""

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lightning_cifar.errors import UserError

MAX_FILES, MAX_BYTES = 2000, 300 * 1024 * 1024
"""What Azure ML accepts for a snapshot (azureml/_restclient/constants.py)."""

NEVER = (
    *("config.json", ".azureml/", "aml_config/", ".env*", ".envrc", "*.publishsettings"),
    *(".git", ".git-credentials", ".gitconfig", ".netrc", "_netrc", ".pypirc", "pip.conf", ".npmrc", "kaggle.json"),
    *(".ssh/", ".azure/", ".aws/", ".config/gcloud/", ".kube/", ".docker/"),
    *("*.pem", "*.key", "*.pfx", "*.p12", "*.kdbx", "id_rsa*", "id_ed25519*", "id_ecdsa*"),
    *("*credentials*.json", "credentials", "secrets.*", "*service-principal*.json"),
)
"""Addresses and sign-in, in the syntax of .gitignore: these stay here even if `.amlignore` is edited."""


@dataclass(frozen=True)
class Snapshot:
    """The files that a job takes along.

    Attributes:
        root: the project.
        files: relative paths with `/`, sorted, and their sizes in bytes.
        withheld: files that `.amlignore` lets through but `NEVER` does not.
        added: files from elsewhere: paths in the snapshot to where they are.
    """

    root: Path
    files: dict[str, int]
    withheld: tuple[str, ...]
    added: dict[str, Path] = field(default_factory=dict)

    def __str__(self) -> str:
        withheld = f"; never sent: {', '.join(self.withheld[:10])}" if self.withheld else ""
        return f"{len(self.files)} files, {megabytes(self.size)}{withheld}"

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values()) + sum(path.stat().st_size for path in self.added.values())

    def check(self) -> None:
        """Raise a UserError that names what is largest, if the service would not accept the snapshot."""
        if self.size > MAX_BYTES:
            excess = f"{megabytes(self.size)}, more than the {MAX_BYTES >> 20} MB"
        elif len(self.files) > MAX_FILES:
            excess = f"{len(self.files)} files, more than the {MAX_FILES}"
        else:
            return
        sizes, counts = Counter[str](), Counter[str]()
        for path, size in self.files.items():
            sizes[path.partition("/")[0]] += size
            counts[path.partition("/")[0]] += 1
        largest = (sizes if self.size > MAX_BYTES else counts).most_common(5)
        names = ", ".join(f"/{name} ({megabytes(sizes[name])}, {counts[name]} files)" for name, _ in largest)
        raise UserError(f"the snapshot has {excess} that Azure ML accepts; add to .amlignore what can go: {names}")

    def copy_to(self, folder: Path) -> None:
        """Copy the files into an empty folder."""
        for path, file in ({path: self.root / path for path in self.files} | self.added).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, folder / path)


def take(root: Path) -> Snapshot:
    """List what a job takes along; a UserError where `.amlignore` is missing or leaves too little."""
    import pathspec

    ignore_file = root / ".amlignore"
    try:
        patterns = ignore_file.read_text(encoding="utf-8").splitlines()
        ignored = pathspec.PathSpec.from_lines("gitwildmatch", patterns)
    except FileNotFoundError:
        raise UserError(f"{ignore_file} is missing, so data would be sent; restore it from git") from None
    except ValueError as error:
        raise UserError(f"{ignore_file}: {error}; the syntax is that of .gitignore") from None
    never = pathspec.PathSpec.from_lines("gitwildmatch", NEVER)
    files: dict[str, int] = {}
    withheld: list[str] = []
    for folder, folders, names in os.walk(root):
        if "pyvenv.cfg" in names:  # a Python environment, by whatever name
            folders.clear()
            continue
        below = Path(folder).relative_to(root)
        entries = [(below / name).as_posix() for name in sorted(names) if Path(folder, name).is_file()]
        entries += [f"{(below / name).as_posix()}/" for name in sorted(folders)]
        entries = [path for path in entries if not ignored.match_file(path)]
        forbidden = {path for path in entries if never.match_file(path.lower())}
        withheld += sorted(forbidden)
        allowed = [path for path in entries if path not in forbidden]
        folders[:] = [Path(path).name for path in allowed if path.endswith("/")]
        files |= {path: (root / path).stat().st_size for path in allowed if not path.endswith("/")}
    if "lightning_cifar/__main__.py" not in files:
        raise UserError(f"the snapshot of {root} lacks lightning_cifar/__main__.py; see .amlignore")
    return Snapshot(root, dict(sorted(files.items())), tuple(withheld))


def megabytes(size: int) -> str:
    """Format a number of bytes for people."""
    return f"{size / 1024:.0f} kB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MB"
