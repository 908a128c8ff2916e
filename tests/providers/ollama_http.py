"""A connection of the double of Ollama: JSON in one piece or a line at a time, and callers that leave."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any


class CallerLeft(Exception):
    """Nobody reads the answer any more."""


class Connection(BaseHTTPRequestHandler):
    """What is sent, on HTTP/1.1; ``is_streaming`` once a stream has begun."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    is_streaming = False

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def look_for_caller(self) -> None:
        """Raise ``CallerLeft`` where the other end is closed."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if readable and not self.connection.recv(1, socket.MSG_PEEK):
            raise CallerLeft

    def begin(self) -> None:
        """Begin a stream; until its first line it can still become an error with a status."""
        self.send_response(200)
        self.send_header("content-type", "application/x-ndjson")
        self.send_header("transfer-encoding", "chunked")

    def send_line(self, value: Any) -> None:
        """One JSON value of a stream, in a chunk of its own."""
        if not self.is_streaming:  # headers go with the first line, as they do in Go
            self.is_streaming = True
            self.end_headers()
        self.look_for_caller()
        content = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))

    def end(self) -> None:
        """End a stream in good order."""
        self.wfile.write(b"0\r\n\r\n")

    def send_json(self, value: Any, status: int = 200) -> None:
        """A whole answer."""
        headers = {"content-type": "application/json; charset=utf-8"}
        self.send_bytes(status, json.dumps(value, ensure_ascii=False).encode(), headers)

    def send_bytes(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer, whatever it is."""
        self._headers_buffer: list[bytes] = []  # of a stream that never began
        self.send_response(status)
        for name, value in ({"content-length": str(len(content))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
