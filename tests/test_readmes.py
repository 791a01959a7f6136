"""The READMEs agree with the project: links, make targets, modules and files that they name are there."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
OF_AN_EXAMPLE = {"mynet.py", "train.py", "submit.py", "test_train.py", "test_submit.py", "my.yaml", "job.yml"}
"""Files that a README tells its reader to write."""
OF_A_RUN = {"config.yaml", "hparams.yaml"}


@cache
def files() -> tuple[Path, ...]:
    """Return the project's files: those that git knows, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return tuple(ROOT / name for name in listed if (ROOT / name).exists())


def anchors(readme: Path) -> set[str]:
    """Return the names by which links reach the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", readme.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


READMES = [path for path in files() if path.suffix == ".md"]
every_readme = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.relative_to(ROOT).as_posix())


@every_readme
def test_every_link_leads_somewhere(readme: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", readme.read_text())):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (readme.parent / path).resolve() if path else readme
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@every_readme
def test_every_make_target_and_variable_is_in_the_makefile(readme: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^|: )(?:\w+=\S+ )*make ([a-z][a-z-]*)", readme.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for variable in re.findall(r"\bmake [a-z-]+ ([A-Z_0-9]+)=", readme.read_text()):
        assert re.search(rf"\$\({variable}\)|^{variable} ", makefile, re.MULTILINE), variable


@every_readme
def test_every_module_that_is_run_exists(readme: Path) -> None:
    for module in re.findall(r"-[mp] ((?:scripts|lightning_cifar)[\w.]*\w)", readme.read_text()):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists() or place.name == "NAME", module


@every_readme
def test_every_file_of_the_project_that_is_named_exists(readme: Path) -> None:
    named = set(re.findall(r"(?<![\w/.*…:])[\w./-]+\.(?:py|toml|yaml|yml)\b", readme.read_text()))
    for path in named - OF_AN_EXAMPLE - OF_A_RUN:
        there = any(file.as_posix().endswith("/" + re.sub(r"^(\.\.?/)+", "", path)) for file in files())
        assert there or "NAME" in path, path


def test_the_first_page_is_short_and_every_picture_is_used() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
    texts = "".join(readme.read_text() for readme in READMES)
    for picture in (ROOT / ".github" / "images").iterdir():
        assert picture.name in texts, picture
        assert picture.stat().st_size < 150_000, picture
