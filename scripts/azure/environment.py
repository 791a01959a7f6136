"""Define the software of a job: packages, Python, image, and a name that is their hash."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement, Requirement

from lightning_cifar.errors import UserError

PYTHON_VERSION = "3.11"
"""Of a job, unless --python says otherwise; SDK v1 by itself would take 3.8."""

CPU_IMAGE = "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04:20251130.v1"
GPU_IMAGE = "mcr.microsoft.com/azureml/openmpi5.0-cuda12.6-ubuntu24.04:20251130.v1"
"""Base images that azureml-core 1.61 lists (azureml/_project/azureml_base_images.json).

With their tags, so that the same name means the same software tomorrow. PyTorch's wheels bring their own
CUDA; the image adds what else a GPU needs.
"""

_REGISTRIES = "azureml://registries/"
_ADDRESS = re.compile(rf"{_REGISTRIES}([^/]+)/environments/([^/]+)/(?:versions/([^/]+)|labels/latest)")
_OF_THIS_MACHINE = ("-e", "--editable", "-r", "--requirement", "-c", "--constraint")  # options that name files


@dataclass(frozen=True)
class EnvironmentSpec:
    """Which environment a job gets: exactly one of `name`, `packages` and `conda`.

    Attributes:
        name, version: an environment of the workspace, registered or curated; version None: the newest. Or the
            whole address of one in a registry, `azureml://registries/…`, without a version.
        packages: pip's requirements.
        conda: a conda environment file.
        image: base image of the last two; None: by accelerator.
        python: version of Python for `packages`; a conda file names its own.
    """

    name: str | None = None
    version: str | None = None
    packages: tuple[str, ...] = ()
    conda: Path | None = None
    image: str | None = None
    python: str = PYTHON_VERSION

    @property
    def in_registry(self) -> bool:
        """Whether it is one of a registry, which SDK v2 knows."""
        return self.name is not None and self.name.startswith(_REGISTRIES)

    def base_image(self, gpu: bool) -> str:
        """Return the image that fits a job with or without a GPU."""
        return self.image or (GPU_IMAGE if gpu else CPU_IMAGE)

    def built_name(self, gpu: bool) -> str:
        """Return a name made of the hash of packages, Python and image: what is unchanged is never built twice."""
        lines = conda_text(self.conda) if self.conda else "\n".join(self.packages)
        digest = hashlib.sha256("\0".join([lines, self.python, self.base_image(gpu)]).encode()).hexdigest()
        return f"lightning-cifar-{'gpu' if gpu else 'cpu'}-{digest[:12]}"


def read_named(text: str) -> tuple[str, str | None]:
    """Split `NAME[:VERSION]`; an address in a registry stays whole."""
    if text.startswith(_REGISTRIES):
        in_registry(text)
        return text, None
    name, _, version = text.partition(":")
    return name, version or None


def in_registry(address: str) -> tuple[str, str, str | None]:
    """Return registry, name and version (None: the latest) of an environment's address; a UserError for no address."""
    if found := _ADDRESS.fullmatch(address):
        return found[1], found[2], found[3]
    form = f"{_REGISTRIES}REGISTRY/environments/NAME/versions/VERSION, or …/labels/latest"
    raise UserError(f"{address} is no environment's address in a registry; write {form}")


def read_requirements(file: Path) -> tuple[str, ...]:
    """Read a pip requirements file; a UserError where a line of it means nothing to a machine elsewhere."""
    lines = []
    for number, raw in enumerate(_read(file).splitlines(), start=1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        if not line:
            continue
        if not line.startswith("-") or line.startswith(_OF_THIS_MACHINE):
            try:
                Requirement(line)
            except InvalidRequirement:
                raise UserError(f"{file}, line {number}: {line!r} names no package, as torch==2.11.0 does") from None
        lines.append(line)
    if not lines:
        raise UserError(f"{file} names no package; a job needs those of the project's requirements.txt")
    return tuple(lines)


def conda_text(file: Path) -> str:
    """Read a conda environment file; a UserError where it is no YAML or names no Python version."""
    text = _read(file)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not valid YAML: {error}") from None
    dependencies = content.get("dependencies") if isinstance(content, dict) else None
    if not any(isinstance(item, str) and re.match(r"python\s*[=<>~]", item) for item in dependencies or ()):
        raise UserError(f"{file} names no Python version; add `- python={PYTHON_VERSION}` to its dependencies")
    return text


def _read(file: Path) -> str:
    """Return the text of a file that has no password in it."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read ({error}); name a text file, or --environment") from None
    if found := re.search(r"://[^/\s@]+@", text):
        line = text.count("\n", 0, found.start()) + 1
        raise UserError(f"{file}, line {line}: readers of the run would see its user name or password; remove it")
    return text
