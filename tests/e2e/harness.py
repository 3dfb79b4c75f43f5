# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: where things are, running Vireo to its end
or holding it by a terminal, guests of a few bytes, and a list of what did not
hold. Not a test itself.
"""
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("VIREO_BUILD", ROOT / "build"))
VIREO = os.environ.get("VIREO", str(BUILD / "vireo"))
GUEST = Path(os.environ.get("VIREO_GUEST", BUILD / "guest"))
CACHE = Path(os.environ.get("VIREO_CACHE", ROOT / ".cache/guest"))
SOAK = bool(os.environ.get("VIREO_SOAK"))
SKIP = 77

# A signal that the caller of the tests ignores, as nohup does, stays ignored in
# what they start: Vireo would be right not to end by it, and a test of that
# wrong. Of a program with a handler, exec() leaves the default.
for _signal in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(_signal) == signal.SIG_IGN:
        signal.signal(_signal, signal.SIG_DFL)

# One boot, on a machine that does other things too.
PATIENCE = 120

# The kernel's own tests of its ciphers are a third of a start, and no
# subject of a test that is about something else.
QUICK = ["--cmdline", "cryptomgr.notests"]

# Words of a kernel that has met what it cannot explain.
COMPLAINTS = re.compile(
    r"BUG|WARNING:|Oops|unchecked MSR|lockup|rcu.*stall|blocked for more|"
    r"general protection|marked unstable|nobody cared|Unable to handle|"
    r"[Ss]purious|inconsistent MTRR|segfault|trap |timed out")


def skip(reason):
    print(reason)
    sys.exit(SKIP)


def fetched(name, file):
    """A part of the guest that `make guest` does not bring."""
    path = CACHE / file
    got = subprocess.run([ROOT / "tools/fetch-guest", name], check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**os.environ, "VIREO_CACHE": str(CACHE)})
    if got.returncode or not path.exists():
        skip(f"no {file}: tools/fetch-guest {name}: status {got.returncode}")
    return path


def need_guest():
    for path in (VIREO, GUEST / "vmlinuz", GUEST / "initramfs.cpio"):
        if not os.path.exists(path):
            skip(f"no {path}: make guest")


def environment():
    return {**os.environ, "VIREO_GUEST_DIR": str(GUEST)}


def tiny_guest(path, code):
    """A multiboot image whose header says where to put it; `code` runs in
    32-bit protected mode."""
    base, flags, magic = 0x100000, 0x10000, 0x1badb002
    end = base + 32 + len(code)
    path.write_bytes(struct.pack("<8I", magic, flags,
                                 -(magic + flags) & 0xffffffff, base, base,
                                 end, end, base + 32) + code)
    return path


class Checks:
    """Collects what did not hold, so that one boot tells all of it."""

    def __init__(self):
        self.failures = 0

    def fail(self, text):
        self.failures += 1
        print(text, flush=True)

    def same(self, what, want, got):
        if want != got:
            self.fail(f"{what}: expected {want!r}, got {got!r}"[:500])

    def true(self, what, holds, got):
        if not holds:
            self.fail(f"{what}: got {got!r}"[:1000])
        return bool(holds)

    def status(self, what, want, got):
        """Of a finished run, with its last words where it is another."""
        if want != got.returncode:
            said = got.stdout[-800:] + got.stderr[-800:]
            self.fail(f"{what}: expected status {want}, got {got.returncode}"
                      f"\n{said.decode(errors='replace')}")


def run(args, stdin=b"", timeout=PATIENCE, env=None):
    """To the end; a run that does not end has status None."""
    process = subprocess.Popen([VIREO, *map(str, args)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE,
                               env=env or environment())
    try:
        out, err = process.communicate(stdin, timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        status = None
    return subprocess.CompletedProcess(process.args, status, out, err)


class Session:
    """A run that is talked to: at a terminal of its own, or by pipes."""

    def __init__(self, args, tty=True):
        self.output = b""
        self.eof = False
        ends = {}
        if tty:
            self.master, self.slave = pty.openpty()
            self.before = termios.tcgetattr(self.slave)
            ends = {"stdin": self.slave, "stdout": self.slave,
                    "stderr": self.slave}
            self.reader = self.writer = self.master
        else:
            ends = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                    "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen([VIREO, *map(str, args)], **ends,
                                        env=environment(), bufsize=0,
                                        start_new_session=True,
                                        preexec_fn=own_terminal if tty
                                        else None)
        if not tty:
            self.reader = self.process.stdout.fileno()
            self.writer = self.process.stdin.fileno()

    def pump(self, seconds):
        if self.eof or not select.select([self.reader], [], [], seconds)[0]:
            return
        try:
            data = os.read(self.reader, 65536)
        except OSError:
            data = b""
        self.eof = not data
        self.output += data

    def wait(self, until, seconds=PATIENCE):
        """Reads until `until()` is true; whether that came to be."""
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                return False
            self.pump(0.05)
            if self.eof:
                time.sleep(0.01)
        return True

    def expect(self, pattern, seconds=PATIENCE):
        """Takes the output up to and with `pattern`; None if it never came."""
        found = []

        def seen():
            found[:] = [re.search(pattern, self.output, re.S)]
            return found[0] or (self.eof and self.process.poll() is not None)

        self.wait(seen, seconds)
        if found[0]:
            self.output = self.output[found[0].end():]
        return found[0]

    def send(self, data):
        os.write(self.writer, data)

    def ended(self, seconds=20):
        """The exit status; None if it had to be killed."""
        if not self.wait(lambda: self.process.poll() is not None, seconds):
            self.process.kill()
            self.process.wait()
            return None
        return self.process.returncode

    def restored(self):
        return termios.tcgetattr(self.slave) == self.before


def own_terminal():
    """In the child: standard input becomes the session's terminal."""
    import fcntl
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def main(*tests):
    """Each test gets a Checks and a folder that goes away."""
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        for test in tests:
            before = time.monotonic()
            failures = checks.failures
            test(checks, Path(folder))
            word = "ok" if failures == checks.failures else "failed"
            print(f"{test.__name__}: {word}, "
                  f"{time.monotonic() - before:.1f} s", flush=True)
    sys.exit(1 if checks.failures else 0)


def main_cases(cases, timeout):
    """For a test that lists its cases: they run one by one, by name."""
    if sys.argv[1:] == ["--list"]:
        for name in cases:
            print(timeout, name)
        return
    checks = Checks()
    for name in sys.argv[1:] or cases:
        before = time.monotonic()
        cases[name](checks)
        print(f"{name}: {time.monotonic() - before:.1f} s", flush=True)
    sys.exit(1 if checks.failures else 0)
