"""Word lists for the slots of templates: `where A, B in lists.names`."""

from __future__ import annotations

_LISTS = {
    "names": """
        Mary John Anna Paul Lucy Mark Emma Jack Sara Luke Adam Rosa Carl Jane Eric Kate Dean Beth
        Alan Ruth Hugo Lena Omar Ivan Neil Iris Seth Vera Noah Tom James Robert Michael William
        David Richard Joseph Thomas Charles Daniel Matthew Andrew Steven Kevin Brian George Edward
        Laura Sarah Karen Lisa Nancy Susan Jessica Helen Maria Amy Alice Peter Simon""",
    "places": """
        store garden station school park market office museum hotel house hospital restaurant
        library church beach bank farm theater airport bakery""",
    "objects": """
        book ring drink ball letter key map coin lamp computer basketball necklace bone kiss bottle
        camera watch hat ticket box""",
}


def lists() -> dict[str, tuple[str, ...]]:
    """Every word list by name; a word stands without a space in front."""
    return {name: tuple(words.split()) for name, words in _LISTS.items()}
