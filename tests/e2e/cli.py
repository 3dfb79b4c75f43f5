#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: exit statuses, messages, pipes, the
terminal's keys and settings, signals. Guests are a few instructions each, so
that only the program around them is on trial.
"""
# timeout: 90
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("VIREO_BUILD", ROOT / "build"))
VIREO = os.environ.get("VIREO", str(BUILD / "vireo"))
PATIENCE = 15

# A multiboot header, then 32-bit protected mode without a stack.
START = """
	.long 0x1badb002, 0, -0x1badb002
	.global _start
_start:
	cli
	mov $0x3fb, %dx; mov $3, %al; out %al, %dx
	mov $0x3fc, %dx; mov $3, %al; out %al, %dx
	mov $0x3fa, %dx; mov $7, %al; out %al, %dx
	mov $0x5f8, %dx; out %al, %dx
"""
GUESTS = {
    "debug-exit": "mov $0xf4, %dx; mov $16, %al; out %al, %dx; 1: jmp 1b",
    "triple": "lidt none; ud2; none: .word 0; .long 0",
    "poweroff": "mov $0x604, %dx; mov $0x2000, %ax; out %ax, %dx; 1: jmp 1b",
    "reset": "mov $0xcf9, %dx; mov $2, %al; out %al, %dx; mov $6, %al;"
             "out %al, %dx; 1: jmp 1b",
    "halt": "1: hlt; jmp 1b",
    "loop": "1: jmp 1b",
    "status": "mov $0x5f4, %dx; mov $77, %al; out %al, %dx; 1: jmp 1b",
    # "hi" to the second port, "!" and then an echo to the first, up to a Q.
    "echo": """
	mov $0x3f8, %dx; mov $'!', %al; out %al, %dx
	mov $0x2f8, %dx; mov $'h', %al; out %al, %dx; mov $'i', %al
	out %al, %dx
1:	mov $0x3fd, %dx; in %dx, %al; test $1, %al; jz 1b
	mov $0x3f8, %dx; in %dx, %al; mov %al, %bl
2:	mov $0x3fd, %dx; in %dx, %al; test $0x20, %al; jz 2b
	mov $0x3f8, %dx; mov %bl, %al; out %al, %dx
	cmp $'Q', %bl; jne 1b
3:	mov $0x3fd, %dx; in %dx, %al; test $0x40, %al; jz 3b
	mov $0x5f4, %dx; mov $9, %al; out %al, %dx
4:	jmp 4b
""",
}


def assemble(folder):
    """Every guest as FOLDER/NAME, and FOLDER/order-NAME as a default guest."""
    for name, text in GUESTS.items():
        source = START + text.replace(";", "\n") + "\n"
        subprocess.run(["as", "--32", "-o", folder / "o", "-"], check=True,
                       input=source.encode())
        subprocess.run(["ld", "-m", "elf_i386", "-N", "-z", "noexecstack",
                        "--no-warn-rwx-segments", "-Ttext", "0x100000",
                        "-o", folder / name, folder / "o"], check=True)
        order = folder / f"order-{name}"
        order.mkdir()
        (order / "vmlinuz").symlink_to(folder / name)
        (order / "initramfs.cpio").write_bytes(b"cpio")


class Suite:
    def __init__(self, folder):
        self.folder = folder
        self.failures = 0

    def check(self, what, want, got):
        if want != got:
            self.failures += 1
            print(f"{what}: expected {want!r}, got {got!r}")

    def env(self, guest):
        env = dict(os.environ)
        if guest:
            env["VIREO_GUEST_DIR"] = str(self.folder / f"order-{guest}")
        return env

    def run(self, args, guest=None, stdin=b""):
        return subprocess.run([VIREO, *args], input=stdin, timeout=PATIENCE,
                              capture_output=True, check=False,
                              env=self.env(guest))

    def status(self, args, want, said="", guest=None):
        """Exit status, and a part of what is said on standard error."""
        got = self.run(args, guest)
        what = f"vireo {' '.join(args)}"
        self.check(what, want, got.returncode)
        text = got.stderr.decode(errors="replace")
        if said not in text:
            self.check(f"{what}: standard error", said, text)
        return got

    def kernel(self, name):
        return ["run", "--kernel", str(self.folder / name), "--mem", "16m"]


def test_arguments(suite):
    suite.status([], 2, "usage: vireo")
    suite.status(["--version"], 0)
    suite.status(["--help"], 0)
    suite.status(["help", "run"], 0)
    suite.status(["frob"], 2, "no command 'frob'")
    suite.status(["run", "--frob"], 2, "no option '--frob'")
    suite.status(["run", "ls"], 2, "behind --")
    suite.status(["run", "--mem", "0"], 2, "--mem")
    suite.status(["run", "--initrd", "x"], 2, "--initrd needs --kernel")
    suite.status(["run", "--trace", "frob"], 2, "frob")
    suite.status(["run", "--kernel", "/nonexistent"], 125, "/nonexistent")
    suite.status(["run", "--kernel", "/dev/null"], 125, "empty")
    suite.status(["run", "--kernel", "/etc/passwd"], 125, "/etc/passwd")
    suite.status(["run", "--engine", "frob", "--", "true"], 2, "frob")
    suite.status([*suite.kernel("halt"), "--cpu", "v9"], 125, "v9")
    suite.status(["doctor"], 0)
    suite.status(["doctor", "x"], 2, "no 'x'")


def test_ends(suite):
    suite.status([*suite.kernel("debug-exit"), "--debug-exit", "0xf4"], 33)
    suite.status(suite.kernel("poweroff"), 0)
    suite.status(suite.kernel("reset"), 0)
    suite.status(suite.kernel("triple"), 121, "triple fault")
    suite.status([*suite.kernel("triple"), "--cpus", "2"], 121, "triple fault")


def test_engines(suite):
    debug_exit = [*suite.kernel("debug-exit"), "--debug-exit", "0xf4"]
    asked = [*debug_exit, "--engine", "kvm"]
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        suite.status(asked, 33)
    else:
        suite.status(asked, 125, "/dev/kvm")
    # Whatever this host's KVM is like, the guest runs, and we hear why.
    suite.status([*debug_exit, "--verbose"], 33, "engine ")


def test_stats(suite):
    """Both parts of the start have been, and the guest ran."""
    got = suite.run([*suite.kernel("debug-exit"), "--debug-exit", "0xf4",
                     "--engine", "bt", "--stats"])
    said = dict(line.split(" ", 1) for line in
                got.stderr.decode(errors="replace").splitlines())
    for name in ("start.us_before_main", "start.us_to_guest",
                 "vcpu0.decoded"):
        suite.check(f"--stats: {name} is a number above 0", True,
                    said.get(name, "").isdigit() and int(said[name]) > 0)


def test_order(suite):
    command = ["run", "--mem", "16m", "--", "true"]
    suite.status(command, 77, guest="status")
    suite.status(command, 0, guest="poweroff")
    suite.status(command, 123, "reset itself", guest="reset")
    suite.status(command, 121, "triple fault", guest="triple")
    # Quoted, handed over, ended: include/vireo/guest.h.
    got = suite.run(command, "echo", b"ab\4c\nQ")
    suite.check("echo: status", 9, got.returncode)
    suite.check("echo: standard output", b"!ab\x16\4c\nQ", got.stdout)
    suite.check("echo: standard error", b"hi", got.stderr)


def test_missing_guest(suite):
    env = suite.env(None)
    env["VIREO_GUEST_DIR"] = str(suite.folder)
    got = subprocess.run([VIREO, "run"], stdin=subprocess.DEVNULL, env=env,
                         capture_output=True, timeout=PATIENCE, check=False)
    suite.check("no guest: status", 125, got.returncode)
    if b"make guest" not in got.stderr:
        suite.check("no guest: what to do", "make guest", got.stderr)


def test_signals(suite):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for guest in ("halt", "loop"):
            process = subprocess.Popen([VIREO, *suite.kernel(guest)],
                                       stdin=subprocess.DEVNULL)
            time.sleep(0.3)
            process.send_signal(number)
            suite.check(f"{guest} ended by {number.name}", 128 + number,
                        process.wait(PATIENCE))


def test_closed_descriptors(suite):
    """What the caller closed is nothing, not whatever was opened next."""
    def close_all():
        for fd in range(3):
            os.close(fd)

    # pylint: disable-next=subprocess-popen-preexec-fn
    process = subprocess.Popen([VIREO, *suite.kernel("halt")],
                               preexec_fn=close_all)
    time.sleep(0.3)
    for fd in range(3):
        suite.check(f"closed descriptor {fd}", "/dev/null",
                    os.readlink(f"/proc/{process.pid}/fd/{fd}"))
    process.terminate()
    suite.check("closed descriptors: status", 128 + signal.SIGTERM,
                process.wait(PATIENCE))


class Terminal:
    """A run at a terminal of its own."""

    def __init__(self, suite, args, guest=None):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.output = b""
        self.process = subprocess.Popen(
            [VIREO, *args], stdin=self.slave, stdout=self.slave,
            stderr=self.slave, env=suite.env(guest), start_new_session=True)

    def read(self, until):
        """Read until `until()` or out of patience; whether it came true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if until():
                return True
            if select.select([self.master], [], [], 0.05)[0]:
                self.output += os.read(self.master, 4096)
        return False

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def send(self, keys):
        os.write(self.master, keys)

    def close(self):
        """The exit status; None if it had to be killed."""
        ended = self.read(lambda: self.process.poll() is not None)
        if not ended:
            self.process.kill()
        self.process.wait()
        restored = termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)
        return (self.process.returncode if ended else None), restored


def test_keys(suite):
    term = Terminal(suite, suite.kernel("halt"))
    suite.check("raw mode", True, term.read(term.is_raw))
    term.send(b"\1h")
    suite.check("Ctrl-A h", True, term.read(lambda: b"leave" in term.output))
    term.send(b"\1p\1x")
    suite.check("Ctrl-A x: status, restored", (0, True), term.close())

    term = Terminal(suite, ["run", "--mem", "16m"], "echo")
    # What is typed before the guest has set its port is lost, as on any PC.
    suite.check("prompt", True, term.read(lambda: b"!" in term.output))
    term.send(b"a\1\1\1bQ")
    suite.check("at a terminal: status, restored", (9, True), term.close())
    suite.check("typed bytes", b"!a\1\1b", term.output.replace(b"Q", b""))


def test_restored(suite):
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGABRT,
                   signal.SIGSEGV, signal.SIGBUS):
        term = Terminal(suite, suite.kernel("loop"))
        term.read(term.is_raw)
        time.sleep(0.1)
        term.process.send_signal(number)
        crash = number not in (signal.SIGTERM, signal.SIGHUP)
        want = -number if crash else 128 + number
        suite.check(f"{number.name}: status, restored", (want, True),
                    term.close())


def main():
    for tool in ("as", "ld"):
        if subprocess.run(["sh", "-c", f"command -v {tool}"], check=False,
                          stdout=subprocess.DEVNULL).returncode:
            print(f"no {tool} to make guests with")
            return 77
    if not os.access(VIREO, os.X_OK):
        print(f"no {VIREO}")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(Path(folder))
        assemble(Path(folder))
        wanted = sys.argv[1:]
        for name, test in list(globals().items()):
            if name.startswith("test_") and (not wanted or name in wanted):
                try:
                    test(suite)
                except subprocess.TimeoutExpired as error:
                    suite.check(name, "an end", str(error))
    return 1 if suite.failures else 0


if __name__ == "__main__":
    sys.exit(main())
