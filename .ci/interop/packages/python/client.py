"""A client of OpenHands, as its users write them."""

import json
import urllib.error
import urllib.request


class Client:
    """Talks to a server; tries again when that is busy."""

    def __init__(self, url: str) -> None:
        self.url = url

    def create(self) -> str:
        return str(self._call("POST", "/api/conversations", {})["conversation_id"])

    def say(self, conversation: str, text: str) -> None:
        event = {"action": "message", "args": {"content": text}}
        self._call("POST", f"/api/conversations/{conversation}/events", event)

    def messages(self, conversation: str) -> list[str]:
        page = self._call("GET", f"/api/conversations/{conversation}/events?limit=100")
        return [str(event["message"]) for event in page["events"] if event.get("action") == "message"]

    def conversations(self) -> int:
        return len(self._call("GET", "/api/conversations")["results"])

    def _call(self, method: str, path: str, body: object = None, tries: int = 3) -> dict[str, list[dict[str, object]]]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                result: dict[str, list[dict[str, object]]] = json.load(answer)
                return result
        except urllib.error.HTTPError as e:
            if e.code != 503 or tries == 1:
                raise
            return self._call(method, path, body, tries - 1)
