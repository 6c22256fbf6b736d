"""What a test does with a server."""

from __future__ import annotations

import datetime
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypedDict

Event = dict[str, Any]
"""An event as the API tells it."""

# What is asked of a server of this machine goes through no proxy.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Error(Exception):
    """An answer that is a refusal."""

    def __init__(self, asked: str, status: int, body: str) -> None:
        super().__init__(f"{asked} answers {status}: {body}")
        self.status = status
        self.body = body


class Message(TypedDict, total=False):
    """One half of a Request."""

    headers: dict[str, list[str]]
    body: str  # the first 32 KiB
    encoding: str  # "base64" where the body is no UTF-8
    bytes: int
    cut: bool
    withheld: bool  # it holds keys


class Refusal(TypedDict, total=False):
    """Why a request was not done."""

    loc: str
    msg: str
    error: str


class Request(TypedDict, total=False):
    """A request or message of a socket, and what became of it: an entry of /_local/requests."""

    seq: int
    id: str
    connection: str
    start: str
    ms: float
    transport: str
    sent: bool  # a message of the server's
    method: str
    world: str
    path: str
    query: str
    line: str  # of contract; none is OpenHands 0.53.0's
    operation: str
    conversation: str
    status: int
    event_id: int  # -1 for none
    lenient: list[str]
    refusal: Refusal
    hint: str  # what a request for an unknown path probably meant
    fault: str
    waits: str
    request: Message
    response: Message
    evidence: dict[str, Any]  # where the answer was recorded
    successor: dict[str, Any]  # what replaces the call in later contracts


class Server:
    """A server that runs: one of serve, or any whose address is given."""

    def __init__(self, url: str, *, key: str = "") -> None:
        self.url = url.rstrip("/")
        """The base of all paths, without a slash at the end."""
        self.requests = Requests(self)
        self.faults = Faults(self)
        self.clock = Clock(self)
        self._key = key
        self._headers = {"X-Session-API-Key": key} if key else {}

    def call(self, method: str, path: str, body: object = None, *, timeout: float = 30) -> Any:
        """Send a request with a JSON body, and return the answer's. A refusal is an Error."""
        data, headers = None, self._headers
        if body is not None:
            data, headers = json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}
        try:
            with _open(urllib.request.Request(self.url + path, data, headers, method=method), timeout=timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            raise Error(f"{method} {path}", e.code, e.read().decode()) from None
        return json.loads(text) if text else None

    def reset(self) -> None:
        """Begin anew: no conversations, settings, clock and faults as at the start, no requests."""
        self.call("POST", "/_local/reset")
        self.requests.clear()

    def world(self, name: str) -> Server:
        """Return a server of its own within this one, made by its first request: for tests that run at once."""
        return Server(f"{self.url}/_local/worlds/{name}", key=self._key)

    def wait_for_event(
        self, conversation: str, match: Callable[[Event], bool] | None = None, /, *, timeout: float = 10, start: int = 0, **fields: Any
    ) -> Event:
        """Return a conversation's first event, from start on, that has all fields and that match agrees to.

        Of a field that is an object, what is named has to be in it: ``args={"command": "make"}``. An
        AssertionError tells what came within timeout seconds instead.
        """
        base = urllib.parse.urlsplit(self.url)
        path = f"{base.path}/_local/conversations/{urllib.parse.quote(conversation, safe='')}/stream?start_id={start}"
        connection = http.client.HTTPConnection(base.netloc, timeout=timeout)
        deadline = time.monotonic() + timeout
        seen = []
        try:
            connection.request("GET", path, headers=self._headers)
            socket, answer = connection.sock, connection.getresponse()
            if answer.status != 200:
                raise Error(f"GET {path}", answer.status, answer.read().decode())
            while (left := deadline - time.monotonic()) > 0:
                socket.settimeout(left)
                line = answer.readline()
                if not line:
                    break
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line.removeprefix(b"data: "))
                if _has(event, fields) and (match is None or match(event)):
                    return dict(event)
                seen.append(f"{event.get('id')} {event.get('source')} {event.get('action') or event.get('observation')}")
        except TimeoutError:
            pass
        finally:
            connection.close()
        wanted = ", ".join(f"{k}={v!r}" for k, v in fields.items()) or "what was asked for"
        raise AssertionError(f"no event of {conversation} with {wanted} within {timeout} s; there came: {', '.join(seen) or 'none'}")


def _has(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(k in value and _has(value[k], v) for k, v in wanted.items())
    return bool(value == wanted)


class Requests:
    """What was asked: the latest requests, and messages of sockets both ways.

    A query has operation, conversation, status ("422" or "4xx"), method, path ("/api/*") and after.
    """

    def __init__(self, server: Server) -> None:
        self._server = server

    def find(self, **query: str | int) -> list[Request]:
        """Return those that match, in their order."""
        return self._ask(query)

    def wait(self, min: int = 1, *, timeout: float = 10, **query: str | int) -> list[Request]:
        """Return those that match once there are min of them; an AssertionError tells what came instead."""
        try:
            return self._ask({**query, "min": min, "wait": f"{timeout}s"}, timeout + 5)
        except Error as e:
            if e.status != 404:
                raise
            raise AssertionError(json.loads(e.body)["detail"]) from None

    def clear(self) -> None:
        """Forget them."""
        self._server.call("DELETE", "/_local/requests")

    def _ask(self, query: Mapping[str, str | int], timeout: float = 30) -> list[Request]:
        page = self._server.call("GET", "/_local/requests?" + urllib.parse.urlencode(query), timeout=timeout)
        requests: list[Request] = page["requests"]
        return requests


class Faults:
    """What goes wrong on purpose: rules as POST /_local/faults takes them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def add(self, *rules: Mapping[str, Any]) -> None:
        """Add rules, all or none: {"name": …, "match": {…}, "do": {…}, "times": …}."""
        self._server.call("POST", "/_local/faults", list(rules))

    def preset(self, *names: str) -> None:
        """Add rules by name: those of GET /_local/faults/presets."""
        self.add(*({"preset": name} for name in names))

    def all(self) -> list[dict[str, Any]]:
        """Return all rules, with how often each was offered and used."""
        rules: list[dict[str, Any]] = self._server.call("GET", "/_local/faults")["faults"]
        return rules

    def used(self, name: str) -> int:
        """Return how often a rule was used."""
        return sum(rule["used"] for rule in self.all() if rule["name"] == name)

    def clear(self) -> None:
        """Take all out."""
        self._server.call("DELETE", "/_local/faults")


class Clock:
    """What the times of events, the pace of agents and all that waits go by."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def now(self) -> datetime.datetime:
        """Return its time."""
        return datetime.datetime.fromisoformat(self._server.call("GET", "/_local/clock")["now"])

    def freeze(self) -> None:
        """Stop it: nothing comes due any more."""
        self._move("freeze", True)

    def resume(self) -> None:
        """Let it go on from there."""
        self._move("resume", True)

    def advance(self, by: str | datetime.timedelta) -> None:
        """Move it on, by "1h30m" or so: what is due in this time has happened when this returns."""
        self._move("advance", by if isinstance(by, str) else f"{by.total_seconds()}s")

    def set(self, to: str | datetime.datetime) -> None:
        """Set it: to a later time is an advance. Without a zone it is the server's."""
        self._move("set", to if isinstance(to, str) else to.isoformat(timespec="seconds"))

    def reset(self) -> None:
        """Make it what it was at the start."""
        self._server.call("DELETE", "/_local/clock")

    def _move(self, how: str, to: str | bool) -> None:
        self._server.call("POST", "/_local/clock", {how: to})
