"""Text of the hub: runs that ask a server on this machine, which answers as the hub does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = b"\n".join(
    json.dumps({"text": f"def f{i}(self):\n    return {i} + self.x"}).encode() for i in range(40)
)


class Hub(BaseHTTPRequestHandler):
    """Has one dataset, `someone/code`, of one file at one commit."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/train.jsonl") and path.startswith(
            f"/datasets/someone/code/resolve/{COMMIT}"
        ):
            self.file()
        elif re.match(rf"/api/datasets/someone/code/tree/{COMMIT}$", path):
            entry = {"type": "file", "path": "train.jsonl", "size": len(ROWS), "oid": "a" * 40}
            self.answer(200, json.dumps([entry]).encode())
        elif re.match(rf"/api/datasets/someone/code(/revision/(v1|{COMMIT}))?$", path):
            self.answer(200, json.dumps({"id": "someone/code", "sha": COMMIT}).encode())
        elif "/someone/code/" in path:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def file(self) -> None:
        first, last = 0, len(ROWS) - 1
        if asked := re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        about = {"ETag": '"a"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        about["Content-Range"] = f"bytes {first}-{last}/{len(ROWS)}"
        self.answer(206 if asked else 200, ROWS[first : last + 1], about)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(folder: Path, dataset: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    (folder / "rows.jsonl").write_bytes(ROWS)
    (folder / "x.interp").write_text(
        f'model m = bundled("text-1l-512")\ndataset text = {dataset}\n'
        'dataset same = corpus("rows.jsonl", n=6, context=32)\n'
        "step a = evaluate m on text measure loss()\nstep b = evaluate m on same measure loss()\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "interp_dsl", "run", "x.interp", "--out", "out"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={
            **os.environ,
            "HF_HOME": str(folder / "hf"),
            "HF_ENDPOINT": endpoint,
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_OFFLINE": "0",
        },
    )


def test_text_of_the_hub_is_that_of_its_files_and_the_run_keeps_the_commit(
    tmp_path: Path, endpoint: str
) -> None:
    done = run(tmp_path, 'hub("someone/code", n=6, context=32, revision="v1")', endpoint)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    same, found = manifest["data"]["same"], manifest["data"]["text"]
    assert found == {
        **same,
        "dataset": "someone/code",
        "config": "default",
        "split": "train",
        "revision": COMMIT,
    }
    assert same["n"] == 6 and len(same["fingerprint"]) == 64


def test_a_dataset_that_the_hub_lacks_is_the_environments_fault(
    tmp_path: Path, endpoint: str
) -> None:
    done = run(tmp_path, 'hub("someone/absent", n=6)', endpoint)
    assert done.returncode == 3
    assert "error[E446]: someone/absent can't be read" in done.stderr
    assert "in `text`, x.interp:2:16" in done.stderr
