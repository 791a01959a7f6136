"""What a job takes along: the files that `.amlignore` lets through, counted before anything is sent.

The files are copied into a folder of their own, and that folder is sent: what is listed is what is sent, and
what must never leave this machine is not there to be sent, whatever `.amlignore` says.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_cifar.errors import UserError

if TYPE_CHECKING:
    from pathspec import PathSpec

MAX_FILES, MAX_BYTES = 2000, 300 * 1024 * 1024
"""What Azure ML accepts for a snapshot (azureml/_restclient/constants.py)."""

NEVER = (
    *("config.json", ".azureml/", "aml_config/", ".env*", ".envrc", "*.publishsettings"),
    *(
        ".git",
        ".git-credentials",
        ".gitconfig",
        ".netrc",
        "_netrc",
        ".pypirc",
        "pip.conf",
        ".npmrc",
        "kaggle.json",
    ),
    *(".ssh/", ".azure/", ".aws/", ".config/gcloud/", ".kube/", ".docker/"),
    *("*.pem", "*.key", "*.pfx", "*.p12", "*.kdbx", "id_rsa*", "id_ed25519*", "id_ecdsa*"),
    *("*credentials*.json", "credentials", "secrets.*", "*service-principal*.json"),
)
"""Addresses and sign-in, in the syntax of .gitignore: these stay here even if `.amlignore` is edited."""

_SHOWN = 5


@dataclass(frozen=True)
class Snapshot:
    """The files that a job takes along.

    Attributes:
        root: the project.
        files: relative paths with `/`, sorted, and their sizes in bytes.
        withheld: files that `.amlignore` lets through but `NEVER` does not.
    """

    root: Path
    files: dict[str, int]
    withheld: tuple[str, ...]

    @property
    def size(self) -> int:
        """All bytes."""
        return sum(self.files.values())

    def check(self) -> None:
        """Compare with the limits of the service.

        Raises:
            UserError: over a limit; says what is largest and how to leave it out.
        """
        if self.size <= MAX_BYTES and len(self.files) <= MAX_FILES:
            return
        if self.size > MAX_BYTES:
            excess, weights = (
                f"{megabytes(self.size)}, more than the {MAX_BYTES >> 20} MB",
                Counter(self.files),
            )
        else:
            excess, weights = (
                f"{len(self.files)} files, more than the {MAX_FILES}",
                Counter(dict.fromkeys(self.files, 1)),
            )
        remedies = ", ".join(f"{what} → /{path}" for path, what in self._largest(weights))
        raise UserError(
            f"the snapshot has {excess} that Azure ML accepts; largest: {remedies}. "
            f"Add the lines for what the job does not need to .amlignore"
        )

    def _largest(self, weights: Counter[str]) -> list[tuple[str, str]]:
        """Name the top-level folders and files that weigh most, then what weighs most in them."""
        folders: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for path, size in self.files.items():
            parts = path.split("/")
            for place in {"/".join(parts[:1]), "/".join(parts[:2])}:
                name = place if place == path else f"{place}/"
                folders[name] += weights[path]
                counts[name] += 1
                sizes[name] += size
        return [
            (
                name,
                f"{megabytes(sizes[name])} in {counts[name]} files" if name.endswith("/") else megabytes(sizes[name]),
            )
            for name, _ in folders.most_common(_SHOWN)
        ]

    def copy_to(self, folder: Path) -> None:
        """Copy the files into an empty folder."""
        for path in self.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.root / path, folder / path)


def take(root: Path) -> Snapshot:
    """List what a job takes along.

    Raises:
        UserError: `.amlignore` is missing or cannot be read, or nothing is left.
    """
    import pathspec

    ignore_file = root / ".amlignore"
    try:
        patterns = ignore_file.read_text(encoding="utf-8").splitlines()
        ignored = pathspec.PathSpec.from_lines("gitwildmatch", patterns)
    except FileNotFoundError:
        raise UserError(
            f"{ignore_file} is missing, so data and environments would be sent; restore it from git"
        ) from None
    except ValueError as error:
        raise UserError(f"{ignore_file}: {error}; the syntax is that of .gitignore") from None
    never = pathspec.PathSpec.from_lines("gitwildmatch", NEVER)
    files, withheld = {}, []
    for path in _walk(root, ignored, never):
        if never.match_file(path.lower()):
            withheld.append(path)
        else:
            files[path] = (root / path).stat().st_size
    if "lightning_cifar/__main__.py" not in files:
        raise UserError(
            f"the snapshot of {root} lacks lightning_cifar/__main__.py; run from the project, see .amlignore"
        )
    return Snapshot(root, files, tuple(withheld))


def _walk(root: Path, ignored: "PathSpec", never: "PathSpec") -> Iterator[str]:
    """Yield the paths that are not ignored; forbidden folders as such, Python environments not at all."""
    for folder, folders, names in os.walk(root):
        if "pyvenv.cfg" in names:
            folders.clear()
            continue
        base = Path(folder).relative_to(root).as_posix()
        prefix = "" if base == "." else f"{base}/"
        open_folders = sorted(f"{prefix}{name}/" for name in folders if not ignored.match_file(f"{prefix}{name}/"))
        forbidden = [path for path in open_folders if never.match_file(path.lower())]
        yield from forbidden
        folders[:] = [Path(path).name for path in open_folders if path not in forbidden]
        for name in sorted(names):
            if Path(folder, name).is_file() and not ignored.match_file(f"{prefix}{name}"):
                yield f"{prefix}{name}"


def megabytes(size: int) -> str:
    """Write a number of bytes for people."""
    return f"{size / 1024:.0f} kB" if size < 1 << 20 else f"{size / (1 << 20):.1f} MB"
