"""An agent in twenty lines: it answers what the user says.

Run it with the server's address and a conversation:

    python3 agent.py http://localhost:3000 hello
"""

import json
import sys
import urllib.request

base = f"{sys.argv[1]}/_local/conversations/{sys.argv[2]}"
for line in urllib.request.urlopen(f"{base}/stream"):
    if not line.startswith(b"data: "):
        continue
    event = json.loads(line[6:])
    if event["source"] == "user" and event.get("action") == "message":
        answer = {"source": "agent", "cause": event["id"], "action": "message",
                  "args": {"content": f"You said: {event['message']}", "wait_for_response": True}}
        urllib.request.urlopen(f"{base}/events", json.dumps(answer).encode())
