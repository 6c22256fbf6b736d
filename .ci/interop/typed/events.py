"""Reads recorded events with the models that datamodel-codegen makes of the
served contract: events.py FILE, which has one case a line."""

import collections
import json
import sys

import openhands as oh


def read(event: oh.Event) -> str | None:
    """A field of the event that only its kind has; None of another kind."""
    match event.root:
        case oh.RunAction(args=args):
            return args.command
        case oh.MessageAction() as message:
            return message.args.content
        case oh.RunObservation() as run:
            return f"{run.extras.command}: {run.extras.metadata.exit_code}, {run.content}"
        case oh.AgentStateChangedObservation(extras=extras):
            return extras.agent_state
        case oh.OtherAction(action=kind) | oh.OtherObservation(observation=kind):
            return kind
    return None


posted = oh.AddEventRequest(oh.AddRunAction(action="run", args=oh.AddRunActionArgs(command="ls")))

def misspelt(error: oh.ErrorObservation) -> None:
    """What mypy refuses: these comments would be errors if it did not."""
    oh.AddRunAction(action="rnu", args=oh.AddRunActionArgs(command="ls"))  # type: ignore[arg-type]
    oh.AddRunAction(action="run", args=oh.AddRunActionArgs(comand="ls"))  # type: ignore[call-arg]
    print(error.extras.error_ids)  # type: ignore[attr-defined]


if __name__ == "__main__":
    if (sent := posted.model_dump(exclude_unset=True)) != {"action": "run", "args": {"command": "ls"}}:
        print("FAIL what is posted:", sent)
    found: collections.Counter[str] = collections.Counter()
    for line in open(sys.argv[1], encoding="utf-8"):
        recorded = json.loads(line)
        event = oh.Event.model_validate(recorded["event"])
        name = type(event.root).__name__
        if name not in recorded["schemas"]:
            print(f"FAIL {recorded['kind']} is read as {name}, want {recorded['schemas']}: {line}")
        read(event)
        found[name] += 1
    for name, n in sorted(found.items()):
        print(f"ok {name}: {n} recorded are read by openhands.py")
