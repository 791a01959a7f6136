"""The software of a job, built as Azure ML does: an environment with what the run definition names, and no more."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.emulator.node import DataError


def build(definition: dict[str, Any], folder: Path) -> str:
    """Make a virtual environment of a definition's Python and pip packages; return its interpreter.

    Raises:
        DataError: it names more than Python and pip's packages, or one of these cannot be had.
    """
    conda = ((definition.get("environment") or {}).get("python") or {}).get("condaDependencies") or {}
    wanted = conda.get("dependencies") or []
    names = dict(str(one).partition("=")[::2] for one in wanted if isinstance(one, str))
    version = names.get("python", "").lstrip("=")
    if not version or names.keys() - {"python", "pip"}:
        raise DataError("the job's environment cannot be built here: only Python and what pip installs can be")
    folder.parent.mkdir(parents=True, exist_ok=True)
    packages = folder.with_name("requirements.txt")
    packages.write_text("\n".join(line for one in wanted if isinstance(one, dict) for line in one["pip"]))
    python = sys.executable if version == f"{sys.version_info.major}.{sys.version_info.minor}" else f"python{version}"
    interpreter = str(folder / "bin" / "python")
    if uv := shutil.which("uv"):
        make = [uv, "venv", "--quiet", "--python", python, str(folder)]
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", interpreter]
    else:
        make = [python, "-m", "venv", str(folder)]
        install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in (make, [*install, "-r", str(packages)]):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = " ".join((getattr(error, "stderr", "") or str(error)).split())
            raise DataError(f"the environment of Python {version} cannot be built: {said}") from error
    return interpreter
