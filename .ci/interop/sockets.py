"""python-socketio against the program: sockets.py PROGRAM

Its asynchronous client (aiohttp) keeps the order of events, so everything is
checked with that one; the threaded client (requests, websocket-client), which
does not, is checked for what arrives.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
import urllib.parse

import requests
import socketio

from server import Server

KEY = "interop"
MANY = 2000
WAIT = 20  # seconds; a client is let in only after its whole replay
TRANSPORTS = {"websocket": ["websocket"], "polling": ["polling"], "default": None}


def check(name, holds, seen=""):
    print("ok" if holds else "FAIL", "python-socketio", name, "" if holds else seen, flush=True)


async def until(condition):
    """Waits WAIT seconds for what the client is to see; says whether it did."""
    deadline = time.monotonic() + WAIT
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    return condition()


class Rest:
    """The HTTP side: posts messages and reads them back."""

    def __init__(self, url):
        self.url, self.session = url, requests.Session()
        self.session.headers["X-Session-API-Key"] = KEY

    def post(self, conversation, content):
        event = {"action": "message", "args": {"content": content}}
        answer = self.session.post(f"{self.url}/api/conversations/{conversation}/events", json=event, timeout=10)
        answer.raise_for_status()

    def messages(self, conversation):
        """[(id, content)] of all messages."""
        found, start = [], 0
        while True:
            answer = self.session.get(f"{self.url}/api/conversations/{conversation}/events",
                                      params={"start_id": start, "limit": 100}, timeout=10)
            answer.raise_for_status()
            page = answer.json()
            found += messages(page["events"])
            if not page["has_more"]:
                return found
            start = page["events"][-1]["id"] + 1


def messages(events):
    return [(e["id"], e["args"]["content"]) for e in events if e.get("action") == "message"]


class Listener:
    """Keeps the frames of a client that follows one conversation."""

    def __init__(self, client, url, conversation, **query):
        self.client, self.url = client, url
        self.query = {"conversation_id": conversation, "latest_event_id": -1, "session_api_key": KEY, **query}
        self.events, self.connects, self.refusals = [], 0, []
        client.on("oh_event", self.event)
        client.on("connect", self.connected)
        client.on("connect_error", self.refusals.append)

    def address(self):
        """Where to connect, and to reconnect: after the last event seen."""
        ids = [e["id"] for e in self.events if "id" in e and isinstance(e["id"], int)]
        self.query["latest_event_id"] = max(ids, default=-1)
        return self.url + "?" + urllib.parse.urlencode(self.query)

    def event(self, data):
        self.events.append(data)

    def connected(self):
        self.connects += 1

    def messages(self):
        return messages(self.events)

    def sees(self, content):
        return any(text == content for _, text in self.messages())

    def doubled(self):
        ids = [e["id"] for e in self.events if isinstance(e.get("id"), int)]
        return sorted({i for i in ids if ids.count(i) > 1})


def asynchronous():
    return socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.3, randomization_factor=0)


async def refused(url, transports, **query):
    """What a client is told that is not let in."""
    listener = Listener(asynchronous(), url, **query)
    try:
        await listener.client.connect(listener.address, transports=transports, wait_timeout=WAIT)
        return "it was let in"
    except socketio.exceptions.ConnectionError:
        return listener.refusals
    finally:
        await listener.client.disconnect()


async def follow(name, transports, server, restart):
    """Everything a client does with one conversation, over a restart."""
    rest = Rest(server.url)
    listener = Listener(asynchronous(), server.url, "many")
    await listener.client.connect(listener.address, transports=transports, wait_timeout=WAIT)
    stored = rest.messages("many")
    await until(lambda: len(listener.messages()) >= len(stored))
    check(f"{name}: replays {MANY} events in order", len(stored) >= MANY and listener.messages() == stored,
          f"{len(listener.messages())} of {len(stored)}")
    if transports is None:
        check(f"{name}: upgrades to websocket", listener.client.transport() == "websocket", listener.client.transport())

    rest.post("many", f"{name} by HTTP")
    check(f"{name}: an event that is added comes live", await until(lambda: listener.sees(f"{name} by HTTP")))

    acknowledged = await listener.client.call(
        "oh_user_action", {"action": "message", "args": {"content": f"{name} by socket"}}, timeout=10)
    check(f"{name}: oh_user_action is acknowledged", acknowledged is None, acknowledged)
    check(f"{name}: and comes back", await until(lambda: listener.sees(f"{name} by socket")))

    # Add events while the server goes down, then some more.
    def burst():
        try:
            for i in range(10_000):
                rest.post("many", f"{name} burst {i}")
        except requests.RequestException:
            pass

    posting = threading.Thread(target=burst)
    posting.start()
    await until(lambda: listener.sees(f"{name} burst 20"))
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(posting.join)
    server = await asyncio.to_thread(restart)
    await asyncio.to_thread(Rest(server.url).post, "many", f"{name} after the restart")
    check(f"{name}: comes back after a restart", await until(lambda: listener.connects == 2), listener.connects)
    rest = Rest(server.url)
    await asyncio.to_thread(rest.post, "many", f"{name} last")
    await until(lambda: listener.sees(f"{name} last"))
    stored = rest.messages("many")
    await until(lambda: len(listener.messages()) >= len(stored))
    check(f"{name}: resumes with nothing lost", listener.messages() == stored,
          f"not seen: {sorted(set(stored) - set(listener.messages()))[:5]}")
    check(f"{name}: resumes with nothing doubled", not listener.doubled(), listener.doubled()[:5])
    await listener.client.disconnect()
    return server


def threaded(name, transports, url):
    rest = Rest(url)
    listener = Listener(socketio.Client(), url, "many")
    listener.client.connect(listener.address, transports=transports, wait_timeout=WAIT)
    stored = rest.messages("many")
    complete = asyncio.run(until(lambda: sorted(listener.messages()) == stored))
    check(f"{name}, threads: replays all events", complete, f"{len(listener.messages())} of {len(stored)}")
    listener.client.call("oh_user_action", {"action": "message", "args": {"content": f"{name} thread"}}, timeout=10)
    check(f"{name}, threads: oh_user_action is acknowledged and comes back",
          asyncio.run(until(lambda: listener.sees(f"{name} thread"))))
    listener.client.disconnect()


async def main(program, data):
    server = Server(program, data, key=KEY)

    def restart():
        return Server(program, data, port=server.port, key=KEY)

    rest = Rest(server.url)
    for i in range(MANY):
        rest.post("many", str(i))
    for name, transports in TRANSPORTS.items():
        told = await refused(server.url, transports, conversation="")
        check(f"{name}: is told that no conversation is named", told == [{"message": "No conversation_id in query params"}], told)
        told = await refused(server.url, transports, conversation="many", session_api_key="wrong")
        check(f"{name}: is told that the key is wrong", told == [{"message": "invalid_session_api_key"}], told)
        server = await follow(name, transports, server, restart)
        await asyncio.to_thread(threaded, name, transports, server.url)
    server.stop()

    # Without settings no conversation is opened: the refusal carries data.
    with Server(program, key=KEY, flags=["--settings", "none"]) as bare:
        Rest(bare.url).post("c", "x")
        for name, transports in TRANSPORTS.items():
            told = await refused(bare.url, transports, conversation="c")
            check(f"{name}: a refusal has its data",
                  told == [{"message": "Settings not found", "data": {"msg_id": "CONFIGURATION$SETTINGS_NOT_FOUND"}}], told)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], tempfile.mkdtemp(dir=os.environ["INTEROP_TEMP"])))
