"""The wheel and the sdist hold what the package needs, and each works from where it lies.

Nothing is fetched: the build backend must be installed, the dependencies too."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

pytest.importorskip("build", reason="building packages needs `build`")
pytest.importorskip("hatchling", reason="building packages without a network needs `hatchling`")

REPOSITORY = Path(__file__).parents[2]
GOOD = """\
model   m       = bundled("induction-2l")
dataset repeats = repeated_tokens(pairs=4)
metric  gap     = logit_diff()

step who = patch heads from repeats.corrupt into repeats.clean measure gap
"""
BAD = GOOD.replace("patch heads", "patch L7H0")
WHERE = """\
import json, interp_dsl
from interp_dsl.language.grammar import grammar_directory
print(json.dumps([interp_dsl.__file__, str(grammar_directory())]))
"""


@dataclass(frozen=True)
class Built:
    """The two packages, and the repository's files as they were before the build."""

    wheel: Path
    sdist: Path
    sources: frozenset[str]

    def below(self, folder: str) -> frozenset[str]:
        return frozenset(name for name in self.sources if name.startswith(f"{folder}/"))


@dataclass(frozen=True)
class Copy:
    """A copy of the package: the folder to import it from, the folder its grammar lies in."""

    path: Path
    grammar: Path
    elsewhere: Path

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Python in a folder that holds no package, with this copy alone on PYTHONPATH and a
        cache of its own, so that the grammar is read and not remembered."""
        env = {
            **os.environ,
            "PYTHONPATH": str(self.path),
            "XDG_CACHE_HOME": str(self.elsewhere / "cache"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONIOENCODING": "utf-8",
        }
        return _run(sys.executable, *arguments, cwd=self.elsewhere, env=env)


def _run(
    *command: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, encoding="utf-8", timeout=120
    )


def _done(ran: subprocess.CompletedProcess[str]) -> None:
    assert ran.returncode == 0, f"{ran.args}\n{ran.stdout}\n{ran.stderr}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder of this run of the tests, the same for all its workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "packages"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def built(shared: Path) -> Built:
    """The sdist, and the wheel built from that sdist; one worker builds, the others wait."""
    dist, listing = shared / "dist", shared / "sources.json"
    with FileLock(shared / "lock"):
        if not listing.exists():
            sources = _sources()
            command = ("-m", "build", "--no-isolation", "--outdir", str(dist), str(REPOSITORY))
            _done(_run(sys.executable, *command, cwd=shared))
            listing.write_text(json.dumps(sources))
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return Built(wheel, sdist, frozenset(json.loads(listing.read_text())))


def _sources() -> list[str]:
    folders = [REPOSITORY / name for name in ("interp_dsl", "grammar", "examples", "tests")]
    files = (p for folder in folders for p in folder.rglob("*") if p.is_file())
    names = (p.relative_to(REPOSITORY) for p in files)
    return [n.as_posix() for n in names if not any(re.match(r"\.|__pycache__", x) for x in n.parts)]


@pytest.fixture(scope="module")
def in_wheel(built: Built) -> frozenset[str]:
    with zipfile.ZipFile(built.wheel) as archive:
        return frozenset(archive.namelist())


@pytest.fixture(scope="module")
def in_sdist(built: Built) -> frozenset[str]:
    with tarfile.open(built.sdist) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    return frozenset(name.partition("/")[2] for name in names)


# ** what the packages hold **


def test_the_wheel_holds_every_file_of_the_package(built: Built, in_wheel: frozenset[str]) -> None:
    assert built.below("interp_dsl") <= in_wheel


@pytest.mark.parametrize(
    "name",
    [
        "interp_dsl/py.typed",
        "interp_dsl/grammar/interp.lark",
        "interp_dsl/grammar/lexical.lark",
        "interp_dsl/bundled/induction-2l/model.safetensors",
        "interp_dsl/bundled/ioi-3l/config.json",
        "interp_dsl/language/codes/E411.txt",
        "interp_dsl/cli/templates/induction.interp",
    ],
)
def test_the_wheel_holds(name: str, in_wheel: frozenset[str]) -> None:
    assert name in in_wheel


def test_the_wheel_holds_nothing_else(in_wheel: frozenset[str], in_sdist: frozenset[str]) -> None:
    package = {name for name in in_sdist if name.startswith("interp_dsl/")}
    grammar = {f"interp_dsl/{name}" for name in in_sdist if name.startswith("grammar/")}
    metadata = {name for name in in_wheel if ".dist-info/" in name}
    assert in_wheel - metadata == package | grammar
    assert not [name for name in in_wheel if name.endswith(".pyc")]


def test_the_wheel_names_its_command_and_its_licence(
    built: Built, in_wheel: frozenset[str]
) -> None:
    with zipfile.ZipFile(built.wheel) as archive:
        (points,) = (n for n in in_wheel if n.endswith(".dist-info/entry_points.txt"))
        assert "interp = interp_dsl.cli:main" in archive.read(points).decode()
    assert [name for name in in_wheel if name.endswith("/licenses/LICENSE")]


@pytest.mark.parametrize("folder", ["interp_dsl", "grammar", "examples", "tests"])
def test_the_sdist_holds_all_of(folder: str, built: Built, in_sdist: frozenset[str]) -> None:
    assert built.below(folder)
    assert built.below(folder) <= in_sdist


def test_the_sdist_can_be_built_from(in_sdist: frozenset[str]) -> None:
    assert {"pyproject.toml", "README.md", "LICENSE"} <= in_sdist


# ** each copy at work **


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    options = ("--no-deps", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet")
    command = ("-m", "pip", "install", *options, "--target", str(target), str(built.wheel))
    _done(_run(sys.executable, *command, cwd=target))
    return target


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built.sdist) as archive:
        archive.extractall(target, filter="data")
    (inner,) = target.iterdir()
    return inner


@pytest.fixture(scope="module", params=["wheel", "sdist", "checkout"])
def copy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "good.interp").write_text(GOOD, "utf-8")
    (elsewhere / "bad.interp").write_text(BAD, "utf-8")
    if request.param == "wheel":
        path: Path = request.getfixturevalue("installed")
        return Copy(path, path / "interp_dsl" / "grammar", elsewhere)
    path = request.getfixturevalue("unpacked") if request.param == "sdist" else REPOSITORY
    return Copy(path, path / "grammar", elsewhere)


def test_this_copy_is_imported_with_its_own_grammar(copy: Copy) -> None:
    ran = copy.python("-c", WHERE)
    _done(ran)
    module, grammar = (Path(found).resolve() for found in json.loads(ran.stdout))
    assert module == (copy.path / "interp_dsl" / "__init__.py").resolve()
    assert grammar == copy.grammar.resolve()


def test_this_copy_checks_files(copy: Copy) -> None:
    _done(copy.python("-m", "interp_dsl", "check", "good.interp"))
    ran = copy.python("-m", "interp_dsl", "check", "bad.interp")
    assert ran.returncode == 2
    assert "E201" in ran.stdout + ran.stderr


def test_this_copy_explains_codes(copy: Copy) -> None:
    ran = copy.python("-m", "interp_dsl", "explain", "E201")
    _done(ran)
    assert ran.stdout.startswith("E201")
