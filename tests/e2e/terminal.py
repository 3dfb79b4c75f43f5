#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A Linux shell at a terminal: Ctrl-C and job control are the guest's, our
key leaves, and the terminal comes back as it was on every way out, also when
its window closes.
"""
# timeout: 300
import os
import signal

import harness

SHELL = ["run", *harness.QUICK, "--", "sh", "-c",
         "export PS1='guest> '; exec sh -i"]
PROMPT = rb"guest> "


def shell(checks, what):
    session = harness.Session(SHELL)
    if checks.true(f"{what}: prompt", session.expect(PROMPT), session.output):
        return session
    session.process.kill()
    return None


def ctrl_c(checks, folder):
    """Raw mode passes it on; there it ends the command, not the shell."""
    session = shell(checks, "Ctrl-C")
    if not session:
        return
    # From inside the subshell: until that is in the foreground, Ctrl-C is
    # the shell's, and ash forgets it while it forks.
    session.send(b"(echo a$((1+1))b; exec sleep 1000); echo never\r")
    checks.true("command runs", session.expect(rb"a2b"), session.output)
    session.send(b"\x03")
    if not checks.true("Ctrl-C ends the command",
                       session.expect(PROMPT, 30), session.output):
        session.process.kill()
        return
    session.send(b"echo s=$?\r")
    checks.true("status of the interrupted command",
                session.expect(rb"s=130\r\n"), session.output)
    checks.true("the shell goes on", session.expect(PROMPT), session.output)
    session.send(b"exit 9\r")
    checks.same("status", 9, session.ended())
    checks.true("restored", session.restored(), None)


def ctrl_a_x(checks, folder):
    session = shell(checks, "Ctrl-A x")
    if not session:
        return
    checks.true("raw while it runs", not session.restored(), None)
    session.send(b"cat\r")
    session.send(b"\x01x")
    checks.same("Ctrl-A x: status", 0, session.ended())
    checks.true("Ctrl-A x: restored", session.restored(), None)


def power_button(checks, folder):
    """Nobody listens to it in the default guest, and nothing breaks."""
    session = shell(checks, "power button")
    if not session:
        return
    session.send(b"\x01p")
    session.send(b"echo still$((1+1))\r")
    checks.true("after Ctrl-A p", session.expect(rb"still2"), session.output)
    session.process.send_signal(signal.SIGINT)
    checks.same("SIGINT: status", 128 + 2, session.ended())
    checks.true("SIGINT: restored", session.restored(), None)


def window_closes(checks, folder):
    session = shell(checks, "window")
    if not session:
        return
    session.send(b"while :; do echo output; done\r")
    session.expect(rb"output\r\noutput")
    os.close(session.slave)
    os.close(session.master)
    session.eof = True
    checks.same("closed window: status", 128 + 1, session.ended())


if __name__ == "__main__":
    harness.need_guest()
    harness.main(ctrl_c, ctrl_a_x, power_button, window_closes)
