"""A run as one HTML page that needs nothing else: no network, no other file.

Every text of the run goes through `printable` and the template engine's escaping; styles and
scripts are in the page and known to its content security policy by their hashes, so that nothing
that a run's data could smuggle in would be executed."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from interp_dsl.plan.explain import explain
from interp_dsl.report.highlight import highlighted
from interp_dsl.report.prompts import kept_pairs
from interp_dsl.report.provenance import command, provenance
from interp_dsl.report.reading import Reading
from interp_dsl.report.steps import steps
from interp_dsl.runs.folder import RunFolder
from interp_dsl.runs.select import found_by
from interp_dsl.runs.text import printable, short_duration

SCRIPTS = ("page.js", "tables.js", "graph.js", "patterns.js", "features.js", "walk.js")


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and what was found; `line` of the experiment's text, None in another file."""

    text: str
    holds: bool
    found: str
    line: int | None


def page(folder: RunFolder) -> str:
    """The page of a run, finished or not."""
    reading = Reading(folder)
    style, scripts = _static("report.css"), [_static(name) for name in SCRIPTS]
    return (
        _environment()
        .get_template("page.html")
        .render(
            policy=_policy(style, scripts),
            style=Markup(style),
            scripts=[Markup(script) for script in scripts],
            run=folder.path.resolve().name,
            stem=folder.stem,
            status=folder.status,
            facts=_facts(reading),
            failures=reading.failures,
            notes=[event["text"] for event in reading.events if event["event"] == "note"],
            claims=_claims(reading),
            text=highlighted(reading.text) if reading.text else [],
            steps=steps(reading),
            pairs=kept_pairs(reading),
            plan=_plan(reading),
            provenance=provenance(reading),
            command=command(reading),
        )
    )


def _static(name: str) -> str:
    """A style or a script of the package."""
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")


def _policy(style: str, scripts: list[str]) -> str:
    """The content security policy: this style, these scripts, and nothing from anywhere."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    allowed = " ".join(map(digest, scripts))
    rules = ("default-src 'none'", f"style-src {digest(style)}", f"script-src {allowed}")
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters["picture"] = Markup
    return environment


def _shown(value: Any) -> Any:
    """Text from anywhere with every character visible; what the templates made stays."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _facts(reading: Reading) -> list[str]:
    """What the head of the page says: when, on what, how long."""
    manifest = reading.manifest
    created = str(manifest.get("created", ""))[:16].replace("T", " ")
    device = manifest.get("device")
    work = (manifest.get("seconds") or {}).get("work")
    took = f"{short_duration(work)} of work" if work is not None else ""
    return [fact for fact in (created, device and f"on {device}", took) if fact]


def _claims(reading: Reading) -> list[Claim]:
    name = _base(reading.manifest.get("file"))
    found = []
    for claim in reading.folder.claims:
        line = claim.get("line") if _base(claim.get("file")) == name else None
        found.append(Claim(str(claim["text"]), bool(claim["ok"]), found_by(claim), line))
    return found


def _base(path: object) -> str:
    """The last part of a path of whatever system the run was made on."""
    return str(path or "").replace("\\", "/").rpartition("/")[2]


def _plan(reading: Reading) -> str:
    """The plan as `interp plan` prints it, with what the tasks took."""
    if reading.plan is None:
        return ""
    took = {}
    for event in reading.events:
        if event["event"] == "task_finished":
            seconds = float(event["seconds"])
            took[event["task"]] = "taken over" if event["reused"] else short_duration(seconds)
    return explain(reading.plan, took)
