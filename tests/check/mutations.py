"""Programs made wrong: tokens of valid ones dropped, doubled, swapped or replaced."""

from __future__ import annotations

from hypothesis import strategies as st

from interp_dsl.language.scan import tokens

from .cases import good_cases

REPLACEMENTS = (
    *("0", "1", "-1", "7", "1e300", "0.5", "50%", "2x", "99999999999999999999", '"text"', '""'),
    *("heads", "neurons", "L0H0", "L9H9", "L1.resid_pre", "L0.mlp[3]", '"blocks.0.hook_resid_pre"'),
    *("zero", "blocked", "true", "none", "all", "each", "last", "END", "S2", "lists.names"),
    *("clean", "corrupt", "kl", "kl()", "mean(ioi.clean)", "top(who, 2)", "together(heads)"),
    *("pairs(heads)", "windows(heads, 2)", "growing(heads)", "repeats", "ioi", "who", "m", "gap"),
    *("[1, 2]", "[]", "{}", "0..3", "3..0", "0..9 every 0", "a -> b", "(heads at END)", "x=3"),
    *("from", "where", "at", "under", "|", "-", "->", ".", ",", "(", ")", "in", "and", "not", "*"),
)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A valid program after one to four changes of its tokens."""
    text = draw(st.sampled_from(good_cases())).read_text("utf-8")
    for _ in range(draw(st.integers(1, 4))):
        found = list(tokens(text))
        if not found:
            break
        chosen = found[draw(st.integers(0, len(found) - 1))]
        other = found[draw(st.integers(0, len(found) - 1))]
        how = draw(st.sampled_from(("drop", "double", "copy", "replace", "replace")))
        new = {
            "drop": "",
            "double": f"{chosen.text} {chosen.text}",
            "copy": other.text,
            "replace": draw(st.sampled_from(REPLACEMENTS)),
        }[how]
        text = text[: chosen.start] + new + text[chosen.end :]
    return text
