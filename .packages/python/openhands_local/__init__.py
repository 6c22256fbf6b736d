"""A real OpenHands API server for tests: the program openhands-local, which this
package holds, and what a test wants of it.

    with openhands_local.serve(strict=True) as server:
        client = MyClient(server.url)
        ...
        server.wait_for_event(conversation, observation="run")
        server.requests.wait(operation="AddEvent", status="2xx")

Under pytest the fixture openhands_local is such a server, fresh for each test.
"""

from ._process import Flag, program, serve
from ._server import Clock, Error, Event, Faults, Message, Request, Requests, Server

__all__ = [
    "Clock", "Error", "Event", "Faults", "Flag", "Message", "Request", "Requests", "Server", "program", "serve",
]
