"""The command openhands-local: the program that lies beside."""

import os
import subprocess
import sys

from ._process import program


def main() -> None:
    command = [program(), *sys.argv[1:]]
    if os.name == "nt":  # exec would end this process before the program does
        sys.exit(subprocess.call(command))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
