"""Starts and stops the built program."""

import atexit
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time


class Server:
    """One run of the program: on a free port, or on that of an earlier run.

    It keeps its events in data, a folder or "memory", and writes its log to
    the file log.
    """

    def __init__(self, program, data="memory", port=0, key="", flags=()):
        folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ["INTEROP_TEMP"]))
        self.log = folder / "log"
        ready = folder / "ready.json"
        environment = {k: v for k, v in os.environ.items() if k != "SESSION_API_KEY" and not k.startswith("OPENHANDS_LOCAL_")}
        if key:
            environment["SESSION_API_KEY"] = key
        self.process = subprocess.Popen(
            [program, "--addr", f"127.0.0.1:{port}", "--data", data, "--ready-file", ready, *flags],
            env=environment, stdout=subprocess.DEVNULL, stderr=self.log.open("wb"))
        atexit.register(self.process.kill)  # does nothing to what has ended
        deadline = time.monotonic() + 10
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server does not start:\n" + self.log.read_text())
            time.sleep(0.01)
        self.url = json.loads(ready.read_text())["url"]
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self):
        """Ends it as a service manager does, and waits for that."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            raise SystemExit("the server still runs 15 s after SIGTERM")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
