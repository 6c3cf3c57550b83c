"""Prompt: tokens, effects, attention and top logits are those that the run has kept."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from interp_dsl.face import check
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.prompts import Prompt
from interp_dsl.runs.schema import score_table
from interp_dsl.tui.app import InterpApp
from interp_dsl.tui.place import Place
from interp_dsl.tui.screens.prompt import PromptScreen
from interp_dsl.tui.widgets.attention import Attention
from interp_dsl.tui.widgets.listing import Listing
from interp_dsl.tui.widgets.tokens import Tokens, visible, wrapped
from tests.tui import viewed
from tests.tui.made import HOSTILE
from tests.tui.screens import SIZES, after, driven, grid, typed
from tests.tui.test_grids import same
from tests.tui.viewed import CLEAN, CORRUPT, WORDS

App = InterpApp
P = Pilot[int]


def screen(app: App) -> PromptScreen:
    assert isinstance(app.screen, PromptScreen)
    return app.screen


def logits(app: App) -> list[tuple[str, ...]]:
    listing = app.screen.query_one("#next", Listing)
    return [listing.item(row).texts for row in range(listing.count)]


def paired(root: Path, **held: bool) -> RunFolder:
    """A run that has kept pairs, and the scores of a stream at labels."""
    folder = viewed.bare(root)
    folder.write_table("stream", score_table(viewed.stream()))
    viewed.write_pairs(folder, **held)
    return viewed.ended(folder, "stream")


def attended(app: App, name: str = "first") -> str:
    return str(app.screen.query_one(f"#{name} .said", Static).content)


def test_top_logits_of_both_sides_follow_the_token(place: Path) -> None:
    folder = paired(Path("runs"))
    held = folder.read_tensors("pairs.ioi")

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        for token in (9, 8, 7, 0):
            app.screen.query_one(Tokens)._go(token)
            await pilot.pause()
            for side, at in (("clean", 0), ("corrupt", 2)):
                ids = held[f"{side}.top_ids"][0, token].tolist()
                values = held[f"{side}.top_logits"][0, token].tolist()
                wanted = [
                    (visible(WORDS[i]), f"{v:+.2f}") for i, v in zip(ids, values, strict=True)
                ]
                assert [(row[at][2:], row[at + 1]) for row in logits(app)] == wanted
                signs = {row[at][2:]: row[at][0] for row in logits(app)}
                assert signs.get("·Mary", "✓") == "✓" and signs.get("·John", "✗") == "✗"
                assert all(s == " " for t, s in signs.items() if t not in ("·Mary", "·John"))

    driven(folder.path, drive)


@pytest.mark.parametrize("size", SIZES)
def test_attention_is_that_of_head_pair_and_token(size: str, place: Path) -> None:
    folder = paired(Path("runs"))
    held = folder.read_tensors("pairs.ioi")

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p", "n"])
        for layer, head, query in ((0, 0, 9), (2, 3, 7), (1, 2, 0)):
            screen(app).head = layer, head
            app.screen.query_one(Tokens).cursor = query
            screen(app)._show_all()
            await pilot.pause()
            shown = ["clean", "corrupt"] if size == "140x50" else ["clean"]
            for name, side in zip(("first", "second"), shown, strict=False):
                pattern = held[f"{side}.pattern.{layer}"][1, head, query]
                key = int(pattern.argmax())
                tokens = CLEAN[1] if side == "clean" else CORRUPT[1]
                names = visible(WORDS[tokens[query]]), visible(WORDS[tokens[key]])
                said = f"L{layer}H{head} on {side}  {names[0]} → {names[1]} {pattern[key]:.3f}"
                assert attended(app, name) == said
                grid_ = app.screen.query_one(f"#{name}", Attention).map.grid
                assert grid_ is not None
                np.testing.assert_array_equal(
                    grid_.values, held[f"{side}.pattern.{layer}"][1, head]
                )

    driven(folder.path, drive, SIZES[size])


def test_the_other_side_at_eighty_columns(place: Path) -> None:
    folder = paired(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p", "o"])
        assert attended(app).startswith("L0H0 on corrupt ")
        await typed(app, pilot, ["h", "right_curly_bracket", "o"])
        assert attended(app).startswith("L1H1 on clean ")
        await typed(app, pilot, ["H", "left_curly_bracket", "H"])
        assert attended(app).startswith("L2H3 on clean ")

    driven(folder.path, drive)


def test_what_was_not_recorded_is_said_with_a_line_that_would(place: Path) -> None:
    """The line is put behind the experiment, and the language's own checker takes it."""
    folder = paired(Path("runs"), patterns=False)
    folder.write_table("heads", score_table(viewed.heads()))

    async def drive(app: App, pilot: P) -> tuple[str, str]:
        await typed(app, pilot, ["p"])
        screen(app).head = 2, 1
        screen(app)._show_all()
        await pilot.pause()
        return grid(app), screen(app).remedy("corrupt")

    text, line = driven(folder.path, drive, (140, 50))
    assert line == "step seen_L2 = record patterns layers 2 of ioi.corrupt keep 8"
    assert "L2H1 on corrupt" in text
    shown = " ".join(row[48:96] for row in text.splitlines())
    assert line in re.sub(r"\s+", " ", shown)
    example = Path(__file__).parents[2] / "examples" / "ioi.interp"
    assert not [d for d in check(f"{example.read_text()}\n{line}\n") if d.severity == "error"]


def test_a_recording_stands_in_for_what_the_pairs_lack(place: Path) -> None:
    folder = paired(Path("runs"), patterns=False)
    held = viewed.recording([*CORRUPT, *CLEAN], 1)
    folder.write_tensors("seen", held)
    folder.finish_step("seen", "key")

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        screen(app).head = 1, 2
        screen(app)._show_all()
        await pilot.pause()
        pattern = held["L1H2.pattern"][2, 9]
        assert attended(app).endswith(f"{pattern.max():.3f}")
        assert screen(app).heads == [(1, head) for head in range(viewed.N_HEADS)]

    driven(folder.path, drive)


def test_effects_stand_under_their_tokens(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> str:
        app.place = Place("stream", "gap", "L2.resid_post", "END")
        await typed(app, pilot, ["p"])
        assert "L2.resid_post here -7.500, mean of 32" in grid(app)
        return grid(app)

    lines = driven(folder.path, drive, (140, 50)).splitlines()
    clean = next(line for line in lines if line.startswith(" clean "))
    values = next(line for line in lines if line.startswith(" effect "))
    for value, token in (("-1.50", "·John"), ("-7.50", "·to")):
        middle = values.index(value) + len(value) / 2
        assert abs(clean.rindex(token) + len(token) / 2 - middle) <= 1.5


def test_differences_are_marked_under_their_tokens(place: Path) -> None:
    lines = driven(paired(Path("runs")).path, after(["p"]), (140, 50)).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(" clean "))
    upper, marks, lower = lines[at : at + 3]
    assert marks.strip() == "≠"
    place_ = marks.index("≠")
    assert upper[: place_ + 4].split()[-1] == "·John" and lower[: place_ + 4].split()[-1] == "·Anna"


def test_a_head_chosen_elsewhere_is_the_one_shown(place: Path) -> None:
    folder = viewed.viewed(Path("runs"))

    async def drive(app: App, pilot: P) -> None:
        app.place = Place("noising", "gap", "L1H2", "END")
        await typed(app, pilot, ["p"])
        assert screen(app).head == (1, 2)
        overlay = screen(app).laid.layer
        assert (overlay.step, overlay.unit) == ("noising", "L1H2")

    driven(folder.path, drive)


def test_tokens_and_labels_cannot_fake_the_display(place: Path) -> None:
    folder = viewed.bare(Path("runs"))
    held = viewed.side("clean", CLEAN, 0) | viewed.side("corrupt", CORRUPT, 1)
    held["clean.label.[b]S"] = held.pop("clean.label.S1")
    words = [HOSTILE + word for word in WORDS]
    folder.write_tensors("pairs.ioi", held | viewed.vocabulary(words))
    text = driven(viewed.ended(folder).path, after(["p"]), (140, 50))
    assert "\x1b" not in text and "\u202e" not in text
    assert "[red]L0H0[/]" in text and "[b]S" in text


def test_a_prompt_alone_has_one_row(place: Path) -> None:
    folder = viewed.bare(Path("runs"))
    held = viewed.side("corp", CLEAN, 0, patterns=False)
    folder.write_tensors("pairs.corp", held | viewed.vocabulary())
    folder.write_table("heads", score_table(viewed.heads()))

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        assert "≠" not in grid(app) and "corrupt" not in grid(app)
        assert screen(app).remedy("corp").endswith(" of corp keep 8")

    driven(viewed.ended(folder, "heads").path, drive, (140, 50))


def test_a_run_without_pairs_says_so(place: Path) -> None:
    folder = viewed.ended(viewed.bare(Path("runs")))
    assert "no prompts are kept yet" in driven(folder.path, after(["p"]))


def test_pairs_of_several_datasets(place: Path) -> None:
    folder = paired(Path("runs"))
    held = viewed.side("clean", [[1, 2, 3]] * 3, 4, patterns=False)
    held |= {name: at * 0 for name, at in held.items() if ".label." in name}
    folder.write_tensors("pairs.short", held | viewed.vocabulary())

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p", "n", "s"])
        pairs = screen(app).pairs
        assert pairs is not None and pairs.dataset == "short"
        await typed(app, pilot, ["n", "n", "n"])
        assert screen(app).example == 1

    driven(folder.path, drive)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys"), [("first", []), ("pair", ["n", "left", "left"]), ("other", ["o", "h"])]
)
def test_grid(
    name: str, keys: list[str], size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    folder = viewed.viewed(Path("runs"))
    same(driven(folder.path, after(["p", *keys]), SIZES[size]), f"prompt-{name}-{size}", request)


@pytest.mark.parametrize("size", SIZES)
def test_grid_of_what_is_not_recorded(
    size: str, place: Path, request: pytest.FixtureRequest
) -> None:
    folder = paired(Path("runs"), patterns=False, texts=False)
    folder.write_table("heads", score_table(viewed.heads()))
    same(driven(folder.path, after(["p"]), SIZES[size]), f"prompt-absent-{size}", request)


# ---- rows of tokens


def test_columns_are_wrapped_and_none_is_lost() -> None:
    assert wrapped([4, 4, 4, 9], 9) == [range(0, 2), range(2, 3), range(3, 4)]
    assert wrapped([], 9) == []
    assert [c for line in wrapped([3] * 50, 20) for c in line] == list(range(50))


def test_a_token_shows_its_borders() -> None:
    assert visible(" to") == "·to" and visible("\n") == "⏎" and visible("to") == "to"


def test_tokens_are_walked_by_keys_and_chosen_by_the_mouse(place: Path) -> None:
    """Forty tokens in several lines: down goes to the token below, clicks go where they point."""
    folder = viewed.bare(Path("runs"))
    held = viewed.side("clean", [list(range(1, 11)) * 4] * 2, 0, patterns=False)
    held |= {name: at * 0 for name, at in held.items() if ".label." in name}
    folder.write_tensors("pairs.long", held | viewed.vocabulary())

    async def drive(app: App, pilot: P) -> None:
        await typed(app, pilot, ["p"])
        tokens = app.screen.query_one(Tokens)
        await typed(app, pilot, ["home"])
        assert tokens.cursor == 0
        await typed(app, pilot, ["right", "right", "left", "down"])
        below = tokens.cursor
        assert tokens._block_of(below) == 1 and abs(tokens._left(below) - tokens._left(1)) <= 4
        await typed(app, pilot, ["up", "end"])
        assert tokens.cursor == 39
        await typed(app, pilot, ["home"])
        for column in (3, 7):
            x = tokens._margin + tokens._left(column) + 1
            await pilot.click(tokens, offset=(x, 0))
            assert tokens.cursor == column

    driven(viewed.ended(folder).path, drive)


def test_prompts_are_plain_data() -> None:
    prompt = Prompt("clean", np.array([1, 2]), ("a", "b"), {"S": (0, 1), "T": (0, 2)}, 1)
    assert [prompt.label_at(i) for i in range(2)] == ["S,T", "T"]
