#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A megabyte through the default guest, as standard input, as standard output
and as standard error, and output that nobody reads for a while.
"""
# timeout: 240
import random
import time

import harness

MEGABYTE = 1000000


def megabyte(checks, folder):
    data = random.Random(1).randbytes(MEGABYTE)
    got = harness.run(["run", *harness.QUICK, "--", "tee", "/dev/stderr"],
                      data)
    checks.status("status", 0, got)
    checks.same("bytes out", MEGABYTE, len(got.stdout))
    checks.true("standard output as it went in", got.stdout == data,
                len(got.stdout))
    # The kernel's messages come out there as well, before the command runs.
    checks.true("standard error as it went in", got.stderr.endswith(data),
                len(got.stderr))


def into_full_pipe(checks, folder):
    """A reader that takes its time loses nothing."""
    session = harness.Session(["run", *harness.QUICK, "--", "seq", "100000"],
                              tty=False)
    time.sleep(6)
    checks.same("status", 0, session.ended(harness.PATIENCE))
    while not session.eof:
        session.pump(1)
    want = b"".join(b"%d\n" % i for i in range(1, 100001))
    checks.true("all lines", session.output == want, len(session.output))


if __name__ == "__main__":
    harness.need_guest()
    harness.main(megabyte, into_full_pipe)
