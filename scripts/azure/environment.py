"""The software of a job: packages, Python, image, and a name that changes only with them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from lightning_cifar.errors import UserError

PYTHON_VERSION = "3.11"
"""The Python of a job, as of the local .venv.

(SDK v1 would take 3.8 by default; azureml-core needs imghdr, which Python 3.13 no longer has.)
"""

CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi5.0-cuda12.6-ubuntu24.04:20251130.v1"
"""Base images that azureml-core 1.61 lists (azureml/_project/azureml_base_images.json).

With their tags, so that the same name means the same software tomorrow. PyTorch's wheels bring their own
CUDA; the image adds what else a GPU needs.
"""


@dataclass(frozen=True)
class EnvironmentSpec:
    """Which environment a job gets: exactly one of `requirements`, `conda` and `name`.

    Attributes:
        requirements: a pip requirements file.
        conda: a conda environment file.
        name, version: an environment of the workspace, registered or curated; version None: the newest.
        image: base image of the first two; None: by accelerator.
    """

    requirements: Path | None = None
    conda: Path | None = None
    name: str | None = None
    version: str | None = None
    image: str | None = None

    def base_image(self, gpu: bool) -> str:
        """Return the image that fits a job with or without a GPU."""
        return self.image or (GPU_IMAGE if gpu else CPU_IMAGE)

    def built_name(self, gpu: bool) -> str:
        """Return a name made of the hash of packages, Python and image: what is unchanged is never built twice."""
        lines = conda_text(self.conda) if self.conda else "\n".join(self.packages())
        digest = hashlib.sha256("\0".join([lines, PYTHON_VERSION, self.base_image(gpu)]).encode()).hexdigest()
        return f"lightning-cifar-{'gpu' if gpu else 'cpu'}-{digest[:12]}"

    def packages(self) -> list[str]:
        """Return the lines of the requirements file."""
        assert self.requirements is not None
        return requirement_lines(self.requirements)

    def check(self) -> None:
        """Read the file that it names.

        Raises:
            UserError: the file is missing or cannot be read as what it should be.
        """
        if not self.name:
            self.built_name(gpu=False)


def read_named(text: str) -> tuple[str, str | None]:
    """Split `NAME[:VERSION]`."""
    name, _, version = text.partition(":")
    if not name:
        raise UserError(f"--environment {text!r} has no name; write NAME or NAME:VERSION")
    return name, version or None


def requirement_lines(file: Path) -> list[str]:
    """Read a pip requirements file, without comments and blank lines.

    Raises:
        UserError: it is missing, or a line of it means nothing to a machine elsewhere.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    lines = []
    for number, raw in enumerate(_read(file).splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        if line.startswith(("-e", "--editable", "-r", "--requirement", "-c", "--constraint", ".", "/")):
            raise UserError(f"{file}, line {number}: {line!r} names a file of this machine; name a package instead")
        if not line.startswith("-"):
            try:
                Requirement(line)
            except InvalidRequirement:
                message = f"{file}, line {number}: {line!r} is no requirement of pip; write for instance torch==2.11.0"
                raise UserError(message) from None
        lines.append(line)
    if not lines:
        raise UserError(f"{file} names no package; a job needs those of the project's requirements.txt")
    return lines


def conda_text(file: Path) -> str:
    """Read a conda environment file.

    Raises:
        UserError: it is missing, no YAML, has no list of dependencies, or names no Python version.
    """
    import yaml

    text = _read(file)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no YAML ({' '.join(str(error).split())})") from None
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    if not isinstance(dependencies, list):
        raise UserError(f"{file} has no list called dependencies; conda env export writes such a file")
    if not any(isinstance(item, str) and re.match(r"python\s*[=<>~]", item) for item in dependencies):
        raise UserError(f"{file} names no Python version; add `- python={PYTHON_VERSION}` to its dependencies")
    return text


def _read(file: Path) -> str:
    """Return the text of a file.

    Raises:
        UserError: it is missing, is no text, or has a password in it.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{file} does not exist; name an existing file, or an --environment of the workspace") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}); it should be a text file") from None
    if found := re.search(r"://[^/\s@]+@", text):
        line = text.count("\n", 0, found.start()) + 1
        raise UserError(
            f"{file}, line {line} holds a user name or password that readers of the run would see; remove it"
        )
    return text
