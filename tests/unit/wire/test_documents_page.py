"""The page about the documents shows documents that are good, and names every key."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from kubesprint.adapters.wire.policies import PolicySpec
from kubesprint.adapters.wire.profiles import Point
from kubesprint.adapters.wire.queues import Job
from kubesprint.apps.documents import load_policy, load_profiles, load_queue

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "documents.md").read_text()
LOADERS = {"SprintPolicy": load_policy, "JobQueue": load_queue, "WorkloadProfile": load_profiles}


@pytest.mark.parametrize("kind", LOADERS)
def test_the_example_of_each_kind_is_good(kind: str, tmp_path: Path) -> None:
    (example,) = re.findall(rf"```yaml\n([^`]*kind: {kind}\n[^`]*)```", PAGE)
    (tmp_path / "work").mkdir()
    (tmp_path / "here").mkdir()
    file = tmp_path / "here" / "example.yaml"
    file.write_text(example)
    assert LOADERS[kind](file).warnings == ()


@pytest.mark.parametrize(("model", "prefix"), [(PolicySpec, ""), (Job, ""), (Point, "points[].")])
def test_every_key_has_a_row(model: type[BaseModel], prefix: str) -> None:
    rows = re.findall(r"^\| `([^`]+)`", PAGE, flags=re.MULTILINE)
    keys = [f"{prefix}{field.alias}" for field in model.model_fields.values()]
    assert [key for key in keys if not any(row == key or row.startswith(f"{key}.") for row in rows)] == []
