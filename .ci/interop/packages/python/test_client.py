"""The fixture under pytest, alone and with several workers."""

import datetime
import pathlib
import subprocess
import sys
import time
import urllib.request

import openhands_local as package
import pytest
from client import Client
from openhands_local import Error, Request, Server


def test_message_is_kept(openhands_local: Server) -> None:
    client = Client(openhands_local.url)
    conversation = client.create()
    client.say(conversation, "Hi")
    event = openhands_local.wait_for_event(conversation, source="user", args={"content": "Hi"})
    assert event["message"] == "Hi"
    openhands_local.wait_for_event(conversation, lambda e: "Hi" in e["message"], source="agent", start=event["id"] + 1)
    assert "Hi" in client.messages(conversation)
    requests = openhands_local.requests.wait(operation="AddEvent", status="2xx")
    assert [r["event_id"] for r in requests] == [event["id"]]
    assert '"Hi"' in requests[0]["request"]["body"]
    openhands_local.call("GET", "/api/conversations")
    with pytest.raises(Error):
        openhands_local.call("GET", "/api/conversation")
    for request in openhands_local.requests.find():
        assert not set(request) - set(Request.__annotations__)


@pytest.mark.parametrize("n", range(12))
def test_each_finds_it_empty(openhands_local: Server, n: int) -> None:
    client = Client(openhands_local.url)
    assert client.conversations() == 0
    assert [r["path"] for r in openhands_local.requests.find(method="GET", path="/api/*")] == ["/api/conversations"]
    client.create()
    assert client.conversations() == 1


def test_client_tries_again(openhands_local: Server) -> None:
    openhands_local.faults.add({"name": "busy", "match": {"operation": "AddEvent"}, "do": {"status": 503}, "times": 2})
    Client(openhands_local.url).say("hello", "Hi")
    assert openhands_local.faults.used("busy") == 2
    assert [r.get("status") for r in openhands_local.requests.find(operation="AddEvent")] == [503, 503, 200]


def test_faults_of_the_test_before_are_gone(openhands_local: Server) -> None:
    openhands_local.faults.preset("stays-starting")
    assert openhands_local.faults.all()
    openhands_local.reset()
    assert not openhands_local.faults.all()
    openhands_local.faults.preset("stays-starting")
    openhands_local.faults.clear()
    assert not openhands_local.faults.all()


def test_an_hour_passes_at_once(openhands_local: Server) -> None:
    clock = openhands_local.clock
    clock.freeze()
    clock.set(datetime.datetime(2030, 1, 1, tzinfo=datetime.timezone.utc))
    clock.advance("1h")
    clock.advance(datetime.timedelta(minutes=30))
    assert clock.now() == datetime.datetime(2030, 1, 1, 1, 30, tzinfo=datetime.timezone.utc)
    clock.resume()
    assert clock.now() > datetime.datetime(2030, 1, 1, 1, 30, tzinfo=datetime.timezone.utc)
    openhands_local.reset()
    assert clock.now().year < 2030
    clock.set("2031-01-01T00:00:00Z")
    clock.reset()
    assert clock.now().year < 2030


@pytest.mark.parametrize("again", [False, True])  # when what is in the worlds is gone
def test_worlds_do_not_see_each_other(openhands_local: Server, again: bool) -> None:
    one, two = openhands_local.world("one"), openhands_local.world("two")
    Client(one.url).say("hello", "Hi")
    assert one.wait_for_event("hello", message="Hi")["id"] == 0
    assert len(one.requests.find(operation="AddEvent")) == 1
    assert not two.requests.find(operation="AddEvent")
    assert [Client(server.url).conversations() for server in (one, two, openhands_local)] == [1, 0, 0]


def test_what_does_not_come_is_told(openhands_local: Server) -> None:
    Client(openhands_local.url).say("hello", "Hi")
    with pytest.raises(AssertionError, match=r"no event of hello with action='finish' within 1 s; there came: 0 user message"):
        openhands_local.wait_for_event("hello", action="finish", timeout=1)
    with pytest.raises(AssertionError, match="0 of 1 requests came"):
        openhands_local.requests.wait(operation="DeleteConversation", timeout=0.1)
    with pytest.raises(Error, match="GET /api/conversations/none/events answers 404") as refused:
        openhands_local.call("GET", "/api/conversations/none/events")
    assert refused.value.status == 404


def test_serve_with_a_key_and_flags(tmp_path: pathlib.Path) -> None:
    with package.serve(strict=True, key="secret", data=tmp_path / "data", allow_host=["a.example", "b.example"]) as server:
        assert server.call("GET", "/_local/info")["strict"] is True
        with pytest.raises(Error, match="401"):
            Server(server.url).call("GET", "/api/conversations")
        server.call("GET", "/api/conversations")
        with pytest.raises(Error, match="404"):
            server.wait_for_event("none")
    assert (tmp_path / "data" / "events.db").exists()
    with pytest.raises(OSError):
        urllib.request.urlopen(server.url)


def test_serve_that_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError, match="ended with 2"), package.serve(agent="nobody"):
        pass
    assert "nobody" in capfd.readouterr().err


def test_server_ends_with_its_process() -> None:
    script = "import openhands_local, os\nwith openhands_local.serve() as server:\n    print(server.url, flush=True)\n    os._exit(9)"
    ended = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert ended.returncode == 9
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(ended.stdout.strip() + "/alive").close()
        except OSError:
            return
        time.sleep(0.01)
    pytest.fail("the server outlives its process")


def test_no_go_here() -> None:
    assert subprocess.run(["go", "version"]).returncode == 127
