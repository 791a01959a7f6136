"""What becomes of pictures, tables, texts and files, before anything is sent."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from lightning_cifar import AzureMLLogger
from lightning_cifar.azure.backends import MAX_CELL_LENGTH
from lightning_cifar.azure.outbox import files_folder
from lightning_cifar.azure.studio import artifact_name, save_image, table_entry


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (torch.full((3, 2, 2), 0.5, dtype=torch.bfloat16), (128, 128, 128)),
        (torch.full((1, 2, 2), 0.5, requires_grad=True), 128),
        (torch.ones(2, 2, dtype=torch.bool), 255),
        (np.zeros((2, 2), bool), 0),
        (np.full((2, 2), 300), 255),
        (torch.full((2, 2), -5), 0),
        (torch.tensor([[float("nan"), 2.0], [0.0, 1.0]]), 0),
        (np.full((2, 2, 3), 7, np.uint8), (7, 7, 7)),
        (np.full((2, 5, 1), 7, np.uint8)[::-1], 7),
        (Image.new("RGB", (2, 2), (1, 2, 3)), (1, 2, 3)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_every_kind_of_image_becomes_a_png(tmp_path, image, pixel):
    save_image(image, tmp_path / "i.png")
    save_image(str(tmp_path / "i.png"), tmp_path / "copy.png")
    for name in ("i.png", "copy.png"):
        with Image.open(tmp_path / name) as saved:
            assert (saved.format, saved.getpixel((0, 0))) == ("PNG", pixel)


CELLS = st.one_of(
    st.floats(), st.integers(), st.integers(min_value=10**310), st.booleans(), st.none(), st.text(max_size=1200),
    st.floats(width=32).map(np.float32), st.integers(0, 9).map(torch.tensor), st.just(torch.zeros(2)),
)  # fmt: skip


@given(
    st.lists(st.tuples(CELLS, st.floats(-1e9, 1e9), st.floats()), min_size=1, max_size=8),
    st.none() | st.integers(0, 99),
)
def test_a_tables_columns_have_one_type_each_and_only_values_that_json_knows(rows, step):
    entry = table_entry("t", ("a", "number", "b"), rows, step)
    assert entry["columns"] == ["a", "number", "b"] + (step is not None) * ["step"]
    for column in zip(*json.loads(json.dumps(entry["rows"], allow_nan=False)), strict=True):
        assert len({type(cell) for cell in column}) == 1
        assert all(math.isfinite(cell) if isinstance(cell, float) else len(cell) <= MAX_CELL_LENGTH for cell in column)
    assert [row[1] for row in entry["rows"]] == [row[1] for row in rows]
    assert all(row[3:] == ([] if step is None else [float(step)]) for row in entry["rows"])


@given(st.text(max_size=50), st.none() | st.integers(0, 10**6))
@example("../../etc/passwd", None)
def test_an_artifacts_name_has_plain_characters_only_and_stays_in_its_folder(text, step):
    name = artifact_name(f"images/{text}", step, ".png")
    assert not set(name) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/")
    assert name.startswith("images") and ".." not in Path(name).parts and not Path(name).is_absolute()


def test_studios_types_are_recorded_with_prefix_step_and_files(recorded):
    logger = AzureMLLogger(prefix="run")
    logger.log_image("curve", matplotlib.figure.Figure())
    for step in (3, 3):
        logger.log_image("some/samples", [torch.ones(3, 4, 5), np.zeros((4, 5), np.uint8)], step=step)
    for step in (3, 4, None):
        logger.log_confusion_matrix("confusion", [[2, 0], [1, 3]], ["cat", "dog"], step=step)
    frame = SimpleNamespace(columns=("name", "acc"), to_numpy=lambda: np.array([["cat", 0.5]], dtype=object))
    logger.log_table("classes", dataframe=frame, step=3)
    media = recorded.entries("media")
    assert [(entry["image"], entry["path"]) for entry in media if "image" in entry] == [
        ("run-curve", "images/curve.png"),
        ("run-some/samples", "images/some/samples-step-3-0.png"),
        ("run-some/samples", "images/some/samples-step-3-1.png"),
        ("run-some/samples", "images/some/samples-step-3-0-v1.png"),
        ("run-some/samples", "images/some/samples-step-3-1-v1.png"),
    ]
    names = [entry["confusion_matrix"] for entry in media if "confusion_matrix" in entry]
    assert names == ["run-confusion", "run-confusion-step-4", "run-confusion-v2"]
    assert all(content.startswith(b"\x89PNG") for content in recorded.files().values())
    columns = ["name", "acc", "step"]
    assert recorded.entries() == [{"table": "run-classes", "columns": columns, "rows": [["cat", 0.5, 3.0]]}]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("image", [torch.zeros(5, 2, 2)], "Got 5 channels"),
        ("image", [np.zeros(4)], "Got 1 dimensions"),
        ("table", [["a"]], "'x' needs columns and data, or a dataframe"),
        ("table", [[f"c{i}" for i in range(16)], [range(16)]], "has 16 columns, Azure ML takes 15"),
        ("table", [["a", "b"], [[1, 2], [3]]], "rows that are not as long as its 2 columns"),
        ("confusion_matrix", [[[1, 2]], ["cat"]], "for 1 class names"),
    ],
)
def test_what_studio_could_not_show_is_refused(recorded, method, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(AzureMLLogger(), f"log_{method}")("x", *arguments)
    assert not recorded.entries() and not recorded.entries("media")


def test_a_file_is_recorded_as_it_is_now_unless_the_platform_uploads_it(recorded):
    logger = AzureMLLogger()
    for path in ("config.yaml", "outputs/best.ckpt", "logs/deep/a.txt"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("now")
        logger.log_artifact(path)
    Path("config.yaml").write_text("later")
    logger.log_artifact("config.yaml")
    assert recorded.files() == {"config.yaml": b"now", "config-v1.yaml": b"later"}


def test_a_picture_that_cannot_be_written_is_warned_of_and_the_training_goes_on(recorded):
    logger = AzureMLLogger()
    logger.log_image("black", np.zeros((4, 4)))
    (record,) = recorded.paths("media")
    (files_folder(record) / "images" / "white.png").mkdir()
    with pytest.warns(UserWarning, match="cannot record 'images/white.png'"):
        logger.log_image("white", np.ones((4, 4)))
    logger.log_metrics({"a": 1.0}, 0)
    assert len(recorded.entries("media")) == 1 and recorded.points() == [("a", 0, 1.0)]


@pytest.mark.filterwarnings("ignore:AzureMLLogger")
def test_what_would_be_the_51st_name_is_not_recorded(recorded):
    logger = AzureMLLogger()
    logger.log_metrics({f"m{i}": 1.0 for i in range(50)}, 0)
    logger.log_image("late", np.ones((4, 4)))
    logger.log_table("late", ["a"], [[1]])
    logger.log_confusion_matrix("late", [[1]], ["cat"])
    logger.log_hyperparams({"a": 1})
    assert len(recorded.entries()) == 50 and not recorded.paths("media")
    Path("note.txt").write_text("needs no name")
    logger.log_artifact("note.txt")
    assert list(recorded.files()) == ["note.txt"]
