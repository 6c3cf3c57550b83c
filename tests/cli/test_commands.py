"""The commands that read and write text, and how faults end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from interp_dsl.cli import explain
from interp_dsl.language.codes import all_codes

Interp = Callable[..., tuple[int, str, str]]
GOOD = 'model m = bundled("ioi-3l")\n'
BAD = 'model m = bundeld("ioi-3l")\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_lists_the_commands(interp: Interp) -> None:
    code, out, err = interp("--help")
    assert (code, err) == (0, "")
    assert "  run " in out and "  doctor " in out
    assert interp()[0] == 2
    code, out, _ = interp("help", "show")
    assert code == 0 and "--metric" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "did you mean check?"),
        (["zzz"], "interp --help lists the commands"),
        (["ioi.interp"], "did you mean: interp run ioi.interp"),
        (["check"], "FILE"),
        (["show", "--frob"], "--frob"),
        (["show", "--top", "0"], "0 is no whole number above 0"),
        (["show", "--top", "few"], "few is no whole number above 0"),
    ],
)
def test_bad_usage_is_two(interp: Interp, arguments: list[str], said: str) -> None:
    code, out, err = interp(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_check_counts_and_codes(interp: Interp) -> None:
    Path("good.interp").write_text(GOOD)
    Path("bad.interp").write_text(BAD)
    assert interp("check", "good.interp") == (0, "", "good.interp: nothing to complain about\n")
    code, out, err = interp("check", "good.interp", "bad.interp")
    assert code == 2 and "did you mean" in out and err == "2 files: 1 error\n"
    code, out, err = interp("check", "bad.interp", "--format", "json")
    assert code == 2 and json.loads(out)[0]["severity"] == "error" and err == ""
    assert interp("check", "good.interp", "--format", "json")[1] == "[]\n"


def test_a_missing_file_is_three(interp: Interp) -> None:
    Path("ioi.interp").write_text(GOOD)
    for command in ("check", "plan", "run", "fmt"):
        code, out, err = interp(command, "oi.interp")
        assert (code, out) == (3, "")
        assert "E700" in err and "ioi.interp" in err
    Path("x.interp").write_bytes(b"\xff\xfe")
    assert interp("check", "x.interp")[0] == 3


def test_a_parameter_needs_a_value(interp: Interp) -> None:
    Path("good.interp").write_text(GOOD)
    code, _, err = interp("check", "good.interp", "-p", "size")
    assert code == 2 and "E704" in err


def test_fmt_writes_checks_and_prints(interp: Interp, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path("x.interp")
    path.write_text('model   m=bundled( "ioi-3l" )\n')
    path.chmod(0o640)
    code, out, err = interp("fmt", "--check", "x.interp")
    assert (code, out, err) == (1, "", "would format x.interp\n")
    code, out, _ = interp("fmt", "--diff", "x.interp")
    assert code == 0 and f"+{GOOD}" in out
    assert interp("fmt", "x.interp") == (0, "", "formatted x.interp\n")
    assert path.read_text() == GOOD
    assert path.stat().st_mode & 0o777 == 0o640
    assert interp("fmt", "--check", "x.interp") == (0, "", "")
    monkeypatch.setattr("sys.stdin", io.StringIO('model   m=bundled( "ioi-3l" )\n'))
    assert interp("fmt", "-") == (0, GOOD, "")


def test_fmt_goes_on_after_a_broken_file(interp: Interp) -> None:
    Path("bad.interp").write_text("step = patch\n")
    Path("good.interp").write_text('model   m=bundled( "ioi-3l" )\n')
    code, _, err = interp("fmt", "bad.interp", "good.interp")
    assert code == 2 and "error[E" in err and err.endswith("formatted good.interp\n")
    assert Path("good.interp").read_text() == GOOD


def test_fmt_leaves_a_link_a_link(interp: Interp) -> None:
    Path("real.interp").write_text('model   m=bundled( "ioi-3l" )\n')
    Path("link.interp").symlink_to("real.interp")
    assert interp("fmt", "link.interp")[0] == 0
    assert Path("link.interp").is_symlink()
    assert Path("real.interp").read_text() == GOOD


def test_explain_tells_of_a_code(interp: Interp) -> None:
    code, out, _ = interp("explain", "e701")
    assert code == 0 and out.startswith("E701: There is no such run\n\n")
    listed = interp("explain")[1].splitlines()
    assert [line.split()[0] for line in listed] == all_codes()
    code, _, err = interp("explain", "E7011")
    assert code == 2 and "did you mean E7" in err


@pytest.mark.parametrize("template", ["induction", "ioi", "file"])
def test_starters_check_clean_and_are_formatted(interp: Interp, template: str) -> None:
    code, out, _ = interp("new", "mine", "--template", template)
    assert code == 0 and out.startswith("mine.interp\n")
    assert interp("check", "mine.interp") == (0, "", "mine.interp: nothing to complain about\n")
    assert interp("fmt", "--check", "mine.interp")[0] == 0
    code, _, err = interp("new", "mine", "--template", template)
    assert code == 2 and "E709" in err


def test_a_checkpoint_starter_names_the_model(interp: Interp) -> None:
    assert "E711" in interp("new", "mine", "--template", "checkpoint")[2]
    Path("models/own").mkdir(parents=True)
    code, _, err = interp("new", "mine", "--template", "checkpoint", "--model", "models/own")
    assert code == 0 and err == "now: interp run mine.interp\n"
    assert 'checkpoint("models/own")' in Path("mine.interp").read_text()
    Path("sub").mkdir()
    _, _, err = interp("new", "sub/mine", "--template", "checkpoint", "--model", "models/own")
    assert err == "now: interp run sub/mine.interp --allow models/own\n"


def test_models_and_their_cards(interp: Interp) -> None:
    code, out, _ = interp("models")
    assert code == 0 and 'bundled("ioi-3l")' in out
    assert "measured:" in interp("models", "ioi-3l")[1]
    assert json.loads(interp("models", "ioi-3l", "--json")[1])["name"] == "ioi-3l"
    code, _, err = interp("models", "ioi-3")
    assert code != 0 and "E450" in err


def test_a_fault_of_ours_is_one_line(interp: Interp, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise RuntimeError("no such luck")

    monkeypatch.setattr(explain, "command", broken)
    code, out, err = interp("explain")
    assert (code, out) == (1, "")
    assert err.startswith("interp: RuntimeError: no such luck\n") and "--debug" in err
    assert "Traceback" not in err
    with pytest.raises(RuntimeError):
        interp("explain", "--debug")


def test_what_the_system_refuses_is_three(interp: Interp) -> None:
    Path("taken").touch()
    code, out, err = interp("new", "taken/x")
    assert (code, out) == (3, "")
    assert err.startswith("interp: [Errno") and "taken" in err and "fault" not in err


def test_ctrl_c_is_130(interp: Interp, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "command", stopped)
    assert interp("explain")[0] == 130
