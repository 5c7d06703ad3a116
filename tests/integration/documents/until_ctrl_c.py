"""Run a command as a person does who looks at it for a moment: once it has printed something,
Ctrl-C. It has to end soon, by that and not by an error of its own."""

import os
import signal
import subprocess
import sys
import threading

PRINTS_WITHIN_S = 40
ENDS_WITHIN_S = 20
ENDED_BY_CTRL_C = (0, 130, -signal.SIGINT)


def main(command: str) -> int:
    process = subprocess.Popen(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own: the signal is for all of it, and nobody else
    )
    assert process.stdout is not None
    watchdog = threading.Timer(PRINTS_WITHIN_S, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    first = process.stdout.readline()
    watchdog.cancel()
    if not first:
        print(f"{command}: printed nothing, and ended with {process.wait()}")
        return 1
    os.killpg(process.pid, signal.SIGINT)
    try:
        rest, _ = process.communicate(timeout=ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        print(f"{command}: still there {ENDS_WITHIN_S} s after Ctrl-C")
        return 1
    print((first + rest).decode(errors="replace"), end="")
    if b"Traceback" in rest:
        print(f"{command}: Ctrl-C shows a traceback")
        return 1
    if process.returncode not in ENDED_BY_CTRL_C:
        print(f"{command}: ended with {process.returncode}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
