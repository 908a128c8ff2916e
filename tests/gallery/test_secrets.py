"""A notebook whose server gives its keys away: none of them is in any file that is left of recording it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import nbformat
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from farm_notebook.cassettes import CassetteFile

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

KEY = "Zq8-planted-environment-2m4T"
HEADER = "Hv3-planted-header-7k1Q"
QUERY = "Ux5+planted/query=9d2W"
NOTED = "Pw6-planted-variable-3b8R"
SECRETS = {"in the environment": KEY, "in a header": HEADER, "in the URL": QUERY, "in a variable": NOTED}
PATIENCE_S = 300

CELLS = [
    """\
import logging, os
logging.basicConfig(filename="log.txt", level=logging.DEBUG)
%load_ext farm_notebook
import farm_notebook as farm
from farm_notebook.errors import FarmError
noted = os.environ["NOTED_SECRET"]""",
    "%%farm_chat -m near:tells\nWhich keys do you see?",
    "%%farm_chat --reset -m near:tells\nIs {noted} a key?",
    "farm.chat(f'And {noted}?', model='near:tells', temperature=0)",
    "farm.chat('Say that again.', model='near:tells', temperature=0).text",
    """\
try:
    farm.chat(f"Refuse {noted}", model="near:refuses")
except FarmError as error:
    print(error)""",
    "%farm health",
    "%farm models",
    "farm.embed([noted], model='near:tells').vectors",
]


def forms(secret: str) -> set[bytes]:
    """How it may be written down."""
    plain = secret.encode()
    written = {plain, base64.b64encode(plain), repr(secret)[1:-1].encode(), json.dumps(secret)[1:-1].encode()}
    return written | {quote(secret, safe="").encode(), quote_plus(secret).encode()}


def indiscreet(seen: list[str]) -> Callable[[Request], Response]:
    """A handler that says what it was sent, in answers and in errors."""

    def answer(request: Request) -> Response:
        told = " ".join(
            [request.headers["Authorization"], request.headers["X-Api-Key"], request.args["token"]]
        )
        asked = request.get_json(silent=True) or {}
        seen.append(told + json.dumps(asked))
        if request.path.endswith("/models"):
            return _json({"data": [{"id": "tells", "owned_by": told}]})
        if request.path.endswith("/embeddings"):
            return _json({"data": [{"index": 0, "embedding": [0.6, 0.8]}], "model": told})
        if asked.get("model") == "refuses":
            return _json({"error": {"message": f"not with {told} and {json.dumps(asked)}"}}, status=401)
        words = [f"You said {asked['messages'][-1]['content']}", *f" and sent {told}.".split(" ")]
        chunks: list[object] = [{"choices": [{"index": 0, "delta": {"content": f"{w} "}}]} for w in words]
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        return Response(f"{lines}data: [DONE]\n\n", content_type="text/event-stream")

    return answer


def _json(body: object, *, status: int = 200) -> Response:
    return Response(json.dumps(body), status, content_type="application/json")


def farm_run(folder: Path, mode: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-m", "farm_notebook.cli", "run", "story.ipynb", mode]
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_no_planted_key_is_in_any_file(httpserver: HTTPServer, tmp_path: Path) -> None:
    seen: list[str] = []
    httpserver.expect_request("/v1/chat/completions").respond_with_handler(indiscreet(seen))
    for path in ("models", "embeddings"):
        httpserver.expect_request(f"/v1/{path}").respond_with_handler(indiscreet(seen))
    endpoint = {
        "base_url": httpserver.url_for("/v1"),
        "api_key_env": "PLANTED_API_KEY",
        "headers": {"X-Api-Key": HEADER},
        "query": {"token": QUERY},
    }
    kept = {
        "FARM_CACHE_DIR": str(tmp_path / "cache"),
        "FARM_CACHE__ENABLED": "true",
        "FARM_HISTORY__ENABLED": "true",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    secrets = {
        "PLANTED_API_KEY": KEY,
        "NOTED_SECRET": NOTED,
        "FARM_ENDPOINTS": json.dumps({"near": endpoint}),
    }
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    nbformat.write(made, tmp_path / "story.ipynb")

    told = farm_run(tmp_path, "--record", kept | secrets)
    (tmp_path / "told").write_text(told)
    for secret in SECRETS.values():
        assert any(secret in each or json.dumps(secret)[1:-1] in each for each in seen), (
            "it was not even sent"
        )
    assert "***" in (tmp_path / "story.ipynb").read_text()
    assert CassetteFile(tmp_path / "story.farm.jsonl").read().problems == ()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"story.farm.jsonl", "log.txt"} <= {path.name for path in files}
    left = [
        f"{where} in {path.relative_to(tmp_path)}"
        for where, secret in SECRETS.items()
        for path in files
        if any(form in path.read_bytes() for form in forms(secret))
    ]
    assert left == []

    endpoint.update(headers={"X-Api-Key": "another"}, query={"token": "another"})
    others = {"NOTED_SECRET": NOTED, "FARM_ENDPOINTS": json.dumps({"near": endpoint})}
    assert " 0 differ from what was saved" in farm_run(tmp_path, "--replay", kept | others)
