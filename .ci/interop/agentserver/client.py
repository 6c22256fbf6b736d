"""RemoteConversation of openhands-sdk against the agent server's line: client.py PROGRAM

The client reads each event with its own models, and logs one that it cannot read:
such a line is a failure. It has no call that lists conversations, so that is asked
with the HTTP client of its workspace.
"""

import logging
import os
import pathlib
import socket
import struct
import sys
import threading
import time

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENHANDS_SUPPRESS_BANNER": "1"}  # else it asks the network

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import httpx
from openhands.sdk import LLM, Agent, RemoteConversation, RemoteWorkspace
from openhands.sdk.conversation.exceptions import ConversationRunError
from openhands.sdk.event import ActionEvent, ConversationStateUpdateEvent, MessageEvent, ObservationEvent, PauseEvent, UserRejectObservation
from openhands.sdk.security.confirmation_policy import AlwaysConfirm, NeverConfirm

from server import Server

KEY = "interop"


def check(name, holds, seen=""):
    print(f"ok openhands-sdk: {name}" if holds else f"FAIL openhands-sdk: {name}: {seen}", flush=True)


def until(condition):
    """Waits 20 seconds for a condition; says whether it came."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class Problems(logging.Handler):
    """Keeps what the client logs as an error."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.told = []

    def emit(self, record):
        self.told.append(f"{record.getMessage()} {record.exc_info and record.exc_info[1]}")


class Proxy:
    """A line to the server that can be cut."""

    def __init__(self, port):
        self.far, self.lines = port, []
        self.near = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.near.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.near.accept()
            far = socket.create_connection(("127.0.0.1", self.far))
            self.lines.append((near, far))
            for one, other in (near, far), (far, near):
                threading.Thread(target=self.carry, args=(one, other), daemon=True).start()

    def carry(self, one, other):
        try:
            while some := one.recv(65536):
                other.sendall(some)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was cut

    def cut(self):
        for line in self.lines:
            for end in line:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed
        self.lines.clear()


def text(event):
    return "".join(part.text for part in event.llm_message.content)


def of(events, kind):
    return [e for e in events if isinstance(e, kind)]


def statuses(seen):
    return [e.value for e in of(seen, ConversationStateUpdateEvent) if e.key == "execution_status"]


def status(seen, wanted):
    return until(lambda: statuses(seen)[-1:] == [wanted])


def new(workspace, seen, **more):
    agent = Agent(llm=LLM(model="openai/none", api_key="k", usage_id="agent"), tools=[])
    return RemoteConversation(agent, workspace, callbacks=[seen.append], visualizer=None, **more)


def talk(workspace):
    seen = []
    conversation = new(workspace, seen)
    check("create: it is idle", conversation.state.execution_status == "idle", conversation.state.execution_status)
    check("create: the agent is the one that was sent", conversation.state.agent.llm.model == "openai/none", conversation.state.agent)
    conversation.send_message("hello")
    conversation.run(timeout=20)
    said = [(e.source, text(e)) for e in of(seen, MessageEvent)]
    check("run: what is said comes by the socket", said == [("user", "hello"), ("agent", "You said: hello")], said)
    check("run: it is finished", conversation.state.execution_status == "finished", conversation.state.execution_status)

    conversation.set_confirmation_policy(AlwaysConfirm())
    check("confirm: the policy is told", until(lambda: isinstance(conversation.state.confirmation_policy, AlwaysConfirm)))
    conversation.send_message("remove a.txt")
    conversation.run(timeout=20)
    call = of(seen, ActionEvent)[-1]
    check("confirm: the call waits", conversation.state.execution_status == "waiting_for_confirmation", conversation.state.execution_status)
    check("confirm: the call is told", (call.tool_name, call.action and call.action.data) == ("remove", {"path": "a.txt"}), call)
    conversation.run(timeout=20)
    check("confirm: the call goes on", [o.action_id for o in of(seen, ObservationEvent)] == [call.id], seen)
    conversation.send_message("remove b.txt")
    conversation.run(timeout=20)
    conversation.reject_pending_actions("not now")
    call = of(seen, ActionEvent)[-1]
    check("confirm: the call is rejected", until(lambda: [(o.action_id, o.rejection_reason) for o in of(seen, UserRejectObservation)] == [(call.id, "not now")]), seen)
    conversation.run(timeout=20)
    check("confirm: the agent knows", text(of(seen, MessageEvent)[-1]) == "b.txt stays.", seen)
    conversation.set_confirmation_policy(NeverConfirm())

    conversation.send_message("never ends")
    conversation.run(blocking=False)
    check("pause: it runs", status(seen, "running"), statuses(seen))
    conversation.pause()
    check("pause: it is paused", status(seen, "paused") and until(lambda: of(seen, PauseEvent)), statuses(seen))

    conversation.send_message("fail")
    try:
        conversation.run(timeout=20)
        check("run: an error of the agent is raised", False)
    except ConversationRunError as e:
        check("run: an error of the agent is raised", "no credit is left" in str(e), e)

    attached = RemoteConversation.attach(workspace, conversation.id, visualizer=None)
    ids = [[e.id for e in c.state.events if getattr(e, "key", "") != "full_state"] for c in (conversation, attached)]
    check("attach: it has the same events", ids[0] == ids[1], ids)
    attached.close()
    conversation.set_title("Files")
    check("title: it is kept", conversation.state.refresh_from_server()["title"] == "Files")
    return conversation


def reconnect(workspace, proxy):
    seen = []
    conversation = new(workspace, seen)
    conversation.send_message("count")
    conversation.run(blocking=False)
    until(lambda: len(of(seen, ActionEvent)) >= 3)
    before = len(of(seen, ActionEvent))
    full = [e for e in seen if getattr(e, "key", "") == "full_state"]
    proxy.cut()
    check("reconnect: the connection is lost in mid-stream", before < 15, before)
    back = until(lambda: len([e for e in seen if getattr(e, "key", "") == "full_state"]) > len(full))
    check("reconnect: it comes back in mid-stream", back and statuses(seen)[-1] == "running", statuses(seen))
    check("reconnect: it goes on to the end", status(seen, "finished"), statuses(seen))
    for name, events in ("callbacks", seen), ("events", list(conversation.state.events)):
        thoughts = [e.action.thought for e in of(events, ActionEvent)]
        check(f"reconnect: {name}: nothing is lost or doubled, all in order", thoughts == [str(i + 1) for i in range(20)], thoughts)
        check(f"reconnect: {name}: to the last word", text(of(events, MessageEvent)[-1]) == "Counted.")
        ids = [e.id for e in events]
        check(f"reconnect: {name}: no event is doubled", len(set(ids)) == len(ids), [i for i in ids if ids.count(i) > 1])
    return conversation


problems = Problems()
logging.getLogger().handlers = [problems]
with Server(sys.argv[1], key=KEY, flags=["--line", "agent", "--agent", f"script:{HERE / 'agent.yaml'}"]) as server:
    workspace = RemoteWorkspace(host=server.url, api_key=KEY, working_dir="project")
    check("server: it is alive", workspace.alive)
    check("server: its version is that of the client", workspace.get_server_info()["version"] == "1.58.2")
    first = talk(workspace)
    proxy = Proxy(server.port)
    second = reconnect(RemoteWorkspace(host=proxy.url, api_key=KEY, working_dir="project"), proxy)
    check("every event is one that the client can read", not problems.told, problems.told)

    listed = [c["id"] for c in workspace.client.get("/api/conversations/search").raise_for_status().json()["items"]]
    check("list: both are there", listed == [str(second.id), str(first.id)], listed)
    second.close()
    first.delete_on_close = True
    first.close()
    try:
        RemoteConversation.attach(workspace, first.id, visualizer=None)
        check("delete: it is gone", False)
    except httpx.HTTPStatusError as e:
        check("delete: it is gone", e.response.status_code == 404, e)
