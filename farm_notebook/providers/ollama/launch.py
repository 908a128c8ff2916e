"""Starts a command as nobody's child, so that it outlives whoever wanted it, and prints its process id.

It is run as a script and imports nothing of this package. Arguments: the file for the command's output, and
the command. A child of the notebook's own process would stay a zombie after its end until that process looks.
"""

import subprocess
import sys

__all__ = ["start"]


def start(log: str, command: list[str]) -> int:
    """Start a command in a session of its own; its process id."""
    detached = getattr(subprocess, "DETACHED_PROCESS", 0) | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C and hang-up are not for it
            creationflags=detached,  # the same on Windows
        )
    process.returncode = 0  # it is left alone, and the object need not complain that it still runs
    return process.pid


if __name__ == "__main__":
    print(start(sys.argv[1], sys.argv[2:]), flush=True)
