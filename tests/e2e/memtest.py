#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Memtest86+, a guest that is no operating system: its first pass over a
small machine, without an error. Three minutes, of which it sleeps for most."""
# timeout: 420
# background
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VIREO = os.environ.get("VIREO", str(ROOT / "build/vireo"))
CACHE = Path(os.environ.get("VIREO_CACHE", ROOT / ".cache/guest"))
IMAGE = CACHE / "memtest.bin"
PATIENCE = 400


def last(pattern, text):
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def watch(process):
    """None once the first pass is over, else what went wrong."""
    text = ""
    end = time.monotonic() + PATIENCE
    os.set_blocking(process.stdout.fileno(), False)
    while time.monotonic() < end:
        text += (process.stdout.read() or b"").decode(errors="replace")
        if last(r"Errors:\s+(\d+)", text):
            return "it found errors"
        if last(r"Pass:\s+(\d+) ", text):
            return None
        if process.poll() is not None:
            return f"ended with {process.returncode}: {text[-1000:]!r}"
        time.sleep(0.5)
    return f"not finished: {text[-1000:]!r}"


def main():
    if not IMAGE.exists():
        print(f"no {IMAGE}: tools/fetch-guest memtest")
        return 77
    process = subprocess.Popen(
        [VIREO, "run", "--kernel", IMAGE, "--mem", "8m", "--cmdline",
         "console=ttyS0,115200"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wrong = watch(process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    if wrong:
        print(wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
