"""Generates types of the served contract as the README says, and reads
recorded events with them: typed.py PROGRAM NODE_MODULES

In TypeScript by openapi-typescript, in Python by datamodel-codegen, and once
more of what is served on sockets. Prints a line "ok …" or "FAIL …" for each.
"""

import importlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import urllib.request

import jsonschema_rs

from server import Server

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
FOLDER = pathlib.Path(os.environ["INTEROP_TEMP"]) / "typed"


def recorded():
    """All events that the real server was recorded to serve and to send."""
    for line in open(ROOT / "api/event/testdata/events.jsonl", encoding="utf-8"):
        case = json.loads(line)
        for form in "served", "trajectory", "live":
            if isinstance(case.get(form), dict) and "id" in case[form]:
                yield case[form]
    for line in open(ROOT / "api/live/testdata/transcripts.jsonl", encoding="utf-8"):
        for step in json.loads(line)["steps"]:
            packet = step.get("packet", "")
            if step["dir"] == "s2c" and packet.startswith('42["oh_event",{"id"'):
                yield json.loads(packet[2:])[1]


def cases(contract):
    """Each event with its kind and the schemas that it may be read by: that of
    its kind; or, if a value is of another type than that has, the one of other
    events. Python takes some values for what they could be all the same."""
    bases = {member: contract["components"]["schemas"][base]["discriminator"]["mapping"]
             for member, base in (("action", "ActionBase"), ("observation", "ObservationBase"))}
    schemas = {}
    for event in recorded():
        member = "action" if "action" in event else "observation"
        ref = bases[member][event[member]]
        if ref not in schemas:
            schemas[ref] = jsonschema_rs.validator_for({"$ref": ref, "components": contract["components"]})
        others = [] if schemas[ref].is_valid(event) else [f"Other{member.capitalize()}"]
        yield {"kind": f"{member} {event[member]}", "schemas": [ref.rpartition("/")[2], *others], "event": event}


def run(what, *command, shell=False):
    """Runs a command in the folder, and prints what it says if it fails."""
    done = subprocess.run(command[0] if shell else command, cwd=FOLDER, shell=shell, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        print(done.stdout)
    print(f"{'FAIL' if done.returncode else 'ok'} {what}")
    return done.stdout if done.returncode == 0 else ""


def as_in_readme(begin, url):
    """The one line of the README that begins so, for the server at url."""
    lines = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith(begin)]
    if len(lines) != 1:
        raise SystemExit(f"README.md has {len(lines)} lines that begin with {begin!r}, want 1")
    return lines[0].replace("http://localhost:3000", url)


def main(program, modules):
    FOLDER.mkdir()
    for file in "events.ts", "events.py", "asyncapi.mjs":
        shutil.copy(HERE / "typed" / file, FOLDER)
    (FOLDER / "node_modules").symlink_to(modules)
    os.environ["PATH"] = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    with Server(program) as server:
        for name in "openapi.json", "asyncapi.json":
            urllib.request.urlretrieve(f"{server.url}/{name}", FOLDER / name)
        run("openapi-typescript", as_in_readme("npx openapi-typescript ", server.url), shell=True)
        run("datamodel-codegen", as_in_readme("curl -s http://localhost:3000/openapi.json | datamodel-codegen ", server.url), shell=True)
    contract = json.loads((FOLDER / "openapi.json").read_text(encoding="utf-8"))
    events = list(cases(contract))
    (FOLDER / "events.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events), encoding="utf-8")
    run("tsc --strict", "node", "node_modules/typescript/bin/tsc", "--strict", "--noUncheckedIndexedAccess",
        "--target", "es2022", "--module", "commonjs", "events.ts")
    print(run("events.ts", "node", "events.js", "events.jsonl"), end="")
    run("mypy --strict", "mypy", "--strict", "events.py")
    print(run("events.py", sys.executable, "events.py", "events.jsonl"), end="")

    print(run("@asyncapi/parser", "node", "asyncapi.mjs", "asyncapi.json"), end="")
    run("datamodel-codegen of asyncapi.json", "datamodel-codegen", "--input", "asyncapi.json",
        "--output-model-type", "pydantic_v2.BaseModel", "--output", "sockets.py")
    sys.path.insert(0, str(FOLDER))
    sockets = importlib.import_module("sockets")
    wrong = [e["kind"] for e in events if type(sockets.OhEventPayload.model_validate(e["event"]).root.root.root).__name__ not in e["schemas"]]
    print(f"FAIL sockets.py reads otherwise: {wrong}" if wrong else f"ok {len(events)} recorded are read by sockets.py")
    if unfit := {e["schemas"][0] for e in events} - {e["schemas"][0] for e in events if len(e["schemas"]) == 1}:
        print(f"FAIL no recorded event fits {unfit}")


main(*sys.argv[1:])
