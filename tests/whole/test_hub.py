"""A model of the hub that the cache lacks: brought before the check, or said to be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

import interp_dsl
from interp_dsl.language.diagnostics import InterpError
from interp_dsl.models.files import DESCRIPTION, has_weights
from interp_dsl.plan.tasks import Sweep
from interp_dsl.plan.units import expand
from tests.models.checkpoints import tiny

TEXT = """dataset d = prompts { clean "When Mary" corrupt "When John" answer " Anna" wrong " Paul" }
step who = patch heads from d.corrupt into d.clean measure logit_diff()
"""


class Hub:
    """Stands in for the hub: has one model at one commit, and counts what it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []

    def snapshot_download(
        self, name: str, *, revision: str, cache_dir: Path, allow_patterns: list[str]
    ) -> str:
        self.asked.append((name, revision))
        if name != "someone/tiny":
            raise OSError(f"404: no {name}")
        repository = cache_dir / "models--someone--tiny"
        snapshot = repository / "snapshots" / "abc"
        snapshot.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / revision).write_text("abc")
        for pattern in allow_patterns:
            if (self.folder / pattern).is_file():
                shutil.copy(self.folder / pattern, snapshot)
        return str(snapshot)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    stand_in = Hub(tiny("opt"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", stand_in.snapshot_download)
    return stand_in


def test_a_plan_brings_configuration_and_tokenizer_and_no_weights(hub: Hub, tmp_path: Path) -> None:
    text = f'model m = pretrained("someone/tiny", revision="v1")\n{TEXT}'
    interp_dsl.check(text)
    assert hub.asked == [], "a check uses no network"
    (sweep,) = (t for t in interp_dsl.plan(text).tasks if isinstance(t, Sweep))
    assert len(expand(sweep.intervention.units, lambda step: [], 8)) == 2 * 4
    assert interp_dsl.check(text) == []
    assert hub.asked == [("someone/tiny", "v1")], "what is cached is not asked for again"
    (snapshot,) = tmp_path.glob("hf/hub/*/snapshots/abc")
    assert not has_weights(snapshot)
    assert {p.name for p in snapshot.iterdir()} <= set(DESCRIPTION)


def test_models_of_imported_files_and_of_parameters_are_brought(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "models.interp").write_text('param name = "x"\nmodel m = pretrained(name)\n')
    (tmp_path / "x.interp").write_text(f'import "models.interp"\n{TEXT}')
    interp_dsl.plan(tmp_path / "x.interp", {"name": "someone/tiny"})
    assert hub.asked == [("someone/tiny", "main")]


def test_a_hub_that_does_not_answer_is_no_error_once_the_configuration_is_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'model m = pretrained("someone/tiny")\n'
    interp_dsl.plan(text)
    (found,) = tmp_path.glob("hf/hub/*/snapshots/abc/tokenizer.json")
    found.unlink()
    monkeypatch.setattr(hub, "folder", tmp_path / "gone")
    interp_dsl.plan(text)
    assert len(hub.asked) == 2, "a tokenizer that is not there is asked for"


def test_a_hub_without_the_model_is_the_environments_fault(hub: Hub) -> None:
    with pytest.raises(InterpError) as caught:
        interp_dsl.plan('model m = pretrained("someone/absent")\n')
    assert caught.value.exit_code == 3
    (found,) = caught.value.diagnostics
    assert found.code == "E456" and found.notes[0] == "404: no someone/absent"


@pytest.mark.parametrize("command", ["run", "test", "plan"])
def test_offline_the_remedies_are_named(command: str, tmp_path: Path) -> None:
    (tmp_path / "x.interp").write_text(f'model m = pretrained("gpt2")\n{TEXT}')
    done = subprocess.run(
        [sys.executable, "-m", "interp_dsl", command, "x.interp"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 3, done.stderr
    assert "error[E456]" in done.stderr and "x.interp:1:11" in done.stderr
    for remedy in ("cache", "HF_HOME", 'checkpoint("folder")'):
        assert remedy in done.stderr
    assert not (tmp_path / "runs").exists()
