"""Runs Schemathesis against the program: contract.py PROGRAM

Three runs, each against a server of its own that keeps nothing: with a
session key, without one, and once more with all that schemathesis.toml
excludes switched on, to tell the exclusions that are no longer needed.
Prints a line "ok …" or "FAIL …" for each operation of a run and for each
exclusion, and before a run's failures what Schemathesis says of them.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tomllib

from server import Server

HERE = pathlib.Path(__file__).parent
TEMP = pathlib.Path(os.environ["INTEROP_TEMP"])
CONFIG = HERE / "schemathesis.toml"
KEY = "interop"
FLAGS = {
    "with a key": ["--header", f"X-Session-API-Key: {KEY}"],
    # No key is asked for, though the contract names one.
    "without a key": ["--exclude-checks", "ignored_auth", "--generation-with-security-parameters", "false"],
}

# What the report calls the failure of a check on one request that is excluded
# somewhere.
FAILURES = {
    "positive_data_acceptance": "RejectedPositiveData",
    "negative_data_rejection": "AcceptedNegativeData",
    "response_schema_conformance": "JsonSchemaError",
}


def run(name, program, config, *flags):
    """Runs all checks; returns the report and what was printed."""
    report = TEMP / f"{name}.json"
    with Server(program, key=KEY if "--header" in flags else "", flags=["--seed", "1"]) as server:
        done = subprocess.run(
            [pathlib.Path(sys.executable).with_name("st"), "--config-file", config, "run", server.url + "/openapi.json",
             "--no-color", "--report", "json", "--report-json-path", report, *flags],
            cwd=TEMP, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode not in (0, 1) or not report.exists():
        raise SystemExit(f"schemathesis ended with {done.returncode}:\n{done.stdout}")
    report = json.loads(report.read_text())
    if not report["complete"] or report["errors"] or report["operations"]["tested"] != report["operations"]["selected"]:
        raise SystemExit(f"schemathesis did not test everything:\n{done.stdout}")
    return report, done.stdout


def exclusions():
    """The pairs of an operation and a check on one request that are excluded."""
    entries = tomllib.loads(CONFIG.read_text())["operations"]
    return [(entry["include-name"], check) for entry in entries for check in entry["checks"] if check in FAILURES]


def without_exclusions(program):
    """Runs the operations that have an exclusion, as if they had none."""
    path = TEMP / "schemathesis.toml"
    path.write_text(CONFIG.read_text().split("[[operations]]", 1)[0])
    operations = sorted({operation for operation, _ in exclusions()})
    return run("exclusions", program, path, *FLAGS["with a key"], "--phases", "examples,coverage,fuzzing",
               *(word for operation in operations for word in ("--include-name", operation)))


def main(program):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = {name: pool.submit(run, name, program, CONFIG, *flags) for name, flags in FLAGS.items()}
        bare = pool.submit(without_exclusions, program)

    for name, future in runs.items():
        report, printed = future.result()
        failed = sorted({operation for f in report["failures"] for operation in f["operations"]})
        if failed:
            print(printed)
        for operation in failed:
            print(f"FAIL schemathesis {name}: {operation}")
        for operation in range(report["operations"]["tested"] - len(set(failed) - {"Stateful tests"})):
            print(f"ok schemathesis {name}: an operation")
        print(f"schemathesis {name}: {report['test_cases']['generated']} requests in {report['running_time']:.0f} s")

    report, _ = bare.result()
    failing = {(operation, f["type"]) for f in report["failures"] for operation in f["operations"]}
    for operation, check in exclusions():
        print("ok" if (operation, FAILURES[check]) in failing else "FAIL", "exclusion is needed:", operation, check)


if __name__ == "__main__":
    main(sys.argv[1])
