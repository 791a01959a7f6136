"""The table of recipes is made from the runs' own result files."""

import json

import pytest

from lightning_cifar.errors import UserError
from scripts import recipes

RUN = {
    "recipe": "quick",
    "network": "AirbenchNet",
    "parameters": 1234567,
    "epochs": 5,
    "test_acc": 0.9,
    "seconds": 90.0,
    "images_per_second": 1000.0,
    "peak_memory_mb": 2000,
    "device": "cpu",
    "machine": "AMD EPYC",
    "threads": 2,
    "versions": {"torch": "2.15.0"},
    "command": ["python", "-m", "lightning_cifar", "fit", "--data.source", "my images"],
}


@pytest.fixture
def readme(tmp_path, monkeypatch):
    copy = tmp_path / "README.md"
    copy.write_text(recipes.README.read_text())
    monkeypatch.setattr(recipes, "README", copy)
    return copy


def test_runs_become_rows_with_mean_and_deviation(tmp_path, readme, capsys):
    for number, accuracy in enumerate([0.90, 0.92, None]):
        folder = tmp_path / "results" / f"version_{number}"
        folder.mkdir(parents=True)
        (folder / "summary.json").write_text(json.dumps(RUN | {"test_acc": accuracy}))
    before = readme.read_text()
    assert recipes.main(["--results", str(tmp_path / "results")]) == 0
    text = readme.read_text()
    assert "| `quick` | AirbenchNet, 1,234,567 | 5 | 91.0% ± 1.4% (n = 2) | 1.5 min | 1,000 | 2,000 MB |" in text
    assert "| AMD EPYC, 2 threads, torch 2.15.0 | `fit --data.source 'my images'` |" in text
    assert text.splitlines()[:5] == before.splitlines()[:5] and text.splitlines()[-1] == before.splitlines()[-1]
    recipes.main(["--results", str(tmp_path / "results")])
    assert readme.read_text() == text, "made twice, the table is the same"
    capsys.readouterr()
    recipes.main([])
    assert "91.0% ± 1.4%" in capsys.readouterr().out


def test_rows_of_other_recipes_and_machines_stay(tmp_path, readme):
    readme.write_text("".join(recipes.split_readme(readme.read_text())[::2]))
    for name, change in {
        "cpu": {},
        "gpu": {"device": "NVIDIA H200", "seconds": 4.5, "test_acc": 0.91},
        "default": {"recipe": "default"},
        "newer": {"versions": {"torch": "2.16.0"}, "test_acc": 0.92},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(RUN | change))
        recipes.main(["--results", str(tmp_path / name)])
    rows = [line for line in recipes.split_readme(readme.read_text())[1].splitlines() if line.startswith("| `")]
    assert [recipes.key(row) for row in rows] == [
        ("airbench94", ""),
        ("debug", ""),
        ("default", "AMD EPYC, 2 threads"),
        ("quick", "NVIDIA H200"),
        ("quick", "AMD EPYC, 2 threads"),
        ("resnet18", ""),
    ]
    assert "of one batch only" in rows[1] and rows[5].startswith("| `resnet18` | | | not measured |")
    assert "91.0% (n = 1) | 4.5 s" in rows[3] and "92.0%" in rows[4] and "torch 2.16.0" in rows[4]


def test_without_a_run_the_table_stays(tmp_path, readme):
    before = readme.read_text()
    with pytest.raises(UserError, match=r"no run of a recipe below .*: train one"):
        recipes.main(["--results", str(tmp_path)])
    assert readme.read_text() == before
