"""Runs agent.py, the example of an agent in another language."""

import json
import pathlib
import subprocess
import sys
import time
import urllib.request

from server import Server

with Server(sys.argv[1], flags=["--agent", "none"]) as server:
    events = f"{server.url}/api/conversations/python/events"

    def say(text):
        body = {"action": "message", "args": {"content": text}}
        urllib.request.urlopen(events, json.dumps(body).encode()).read()

    def answers():
        page = json.load(urllib.request.urlopen(f"{events}?limit=100"))["events"]
        return [(e["cause"], e["message"]) for e in page if e["source"] == "agent"]

    say("one")
    example = pathlib.Path(__file__).with_name("agent.py")
    agent = subprocess.Popen([sys.executable, example, server.url, "python"])
    say("two")
    want = [(0, "You said: one"), (1, "You said: two")]
    deadline = time.monotonic() + 10
    while sorted((c, m) for c, m in answers())[:2] != want and time.monotonic() < deadline:
        time.sleep(0.02)
    got = answers()
    agent.kill()
    agent.wait()
    texts = sorted(m for _, m in got)
    print("ok agent.py answers what was said before and after" if texts == ["You said: one", "You said: two"] else f"FAIL agent.py: {got}")
