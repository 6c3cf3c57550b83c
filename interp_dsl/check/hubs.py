"""Names of Hugging Face datasets: of the hub, or of folders."""

from __future__ import annotations

import re
from typing import Any

from interp_dsl.check.paths import inside
from interp_dsl.check.scope import Scope
from interp_dsl.language.source import Span

_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)


def hub_name(spec: dict[str, Any], span: Span, scope: Scope) -> str:
    """`owner/name` as it stands, the path of a folder (`./stories`) as an absolute one."""
    name: str = spec["name"]
    if name.startswith((".", "/", "~")):
        if "revision" in spec:
            raise scope.reject("E306", "a folder has no revisions", span, help="leave out revision")
        return str(inside(name, span, scope))
    if not _NAME.fullmatch(name):
        raise scope.reject(
            "E300",
            "a dataset of the hub is named `owner/name`",
            span,
            help=f'a folder beside this file is hub("./{name}", …)',
        )
    return name
