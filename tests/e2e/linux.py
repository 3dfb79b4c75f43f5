#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The default guest: a command, its output and its status, a terminal; and
every way to an end. boot.py has more kernels and sizes of machines.

  tests/e2e/linux.py --list      timeout and name of each case
  tests/e2e/linux.py NAME        one case
"""
# lists cases
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("VIREO_BUILD", ROOT / "build"))
VIREO = os.environ.get("VIREO", str(BUILD / "vireo"))
GUEST = Path(os.environ.get("VIREO_GUEST", BUILD / "guest"))
CACHE = Path(os.environ.get("VIREO_CACHE", ROOT / ".cache/guest"))
SKIP = 77
TIMEOUT = 60
SLOW = 4 if "asan" in VIREO else 1


class Failed(Exception):
    pass


def expect(what, want, got):
    if want != got:
        raise Failed(f"{what}: expected {want!r}, got {got!r}")


def kernel(name):
    path = CACHE / f"vmlinuz-{name}"
    if not path.exists():
        print(f"no {path}: tools/fetch-guest {name}")
        sys.exit(SKIP)
    return str(path)


def vireo(*args, stdin=b"", env=None):
    return subprocess.run([VIREO, "run", *args], input=stdin, check=False,
                          capture_output=True, timeout=TIMEOUT * SLOW,
                          env={**os.environ, "VIREO_GUEST_DIR": str(GUEST),
                               **(env or {})})


def command(*argv, options=(), **more):
    return vireo(*options, "--", *argv, **more)


def read_until(process, mark, end):
    text = b""
    while mark not in text and time.monotonic() < end:
        if select.select([process.stdout], [], [], 1)[0]:
            got = os.read(process.stdout.fileno(), 4096)
            if not got:
                break
            text += got
    return text


def console(cmdline, script, name="cloud"):
    """The default guest without an order: a shell on the serial line, told
    what to do when it asks. Returns status and all that was said."""
    end = time.monotonic() + TIMEOUT * SLOW
    process = subprocess.Popen(
        [VIREO, "run", "--kernel", kernel(name), "--initrd",
         str(GUEST / "initramfs.cpio"), "--cmdline",
         f"console=ttyS0 {cmdline}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    try:
        text = read_until(process, b"# ", end)
        process.stdin.write(script.encode())
        process.stdin.flush()
        rest = process.stdout.read() if b"# " in text else b""
        code = process.wait(max(1, end - time.monotonic()))
    finally:
        process.kill()
        process.wait()
    return code, (text + rest).decode(errors="replace")


def status():
    for argv, want, said in (
            (("true",), 0, ""),
            (("sh", "-c", "exit 42"), 42, ""),
            (("sh", "-c", "kill -9 $$"), 137, ""),
            (("/nonexistent",), 127, "not found"),
            (("nosuch",), 127, "not found"),
            (("/etc/passwd",), 126, "permission denied")):
        out = command(*argv)
        expect(f"status of {argv}", want, out.returncode)
        if said not in out.stderr.decode():
            raise Failed(f"{argv}: {out.stderr!r}")


def streams():
    """Every byte, both ways; standard error apart."""
    data = bytes(range(256)) * 40 + b"\n\x04\x16\x04" + os.urandom(20000)
    out = command("cat", stdin=data)
    expect("status", 0, out.returncode)
    if out.stdout != data:
        raise Failed(f"{len(out.stdout)} of {len(data)} bytes, or others")
    out = command("sh", "-c", "echo out; echo err >&2; cat", stdin=b"")
    expect("standard output", b"out\n", out.stdout)
    if b"err\n" not in out.stderr:
        raise Failed(f"standard error: {out.stderr!r}")


def arguments():
    odd = ["", "two words", "it's", 'a "b"', "line\nbreak", "$HOME", "\t"]
    out = command("sh", "-c", 'for a; do printf "<%s>" "$a"; done', "x", *odd)
    expect("arguments", "".join(f"<{a}>" for a in odd), out.stdout.decode())
    out = command("sh", "-c", "echo $$ $HOME; hostname; cat /proc/mounts; "
                  "cat /sys/class/net/lo/flags; stat -c %a /tmp")
    text = out.stdout.decode()
    for part in ("/root", "vireo", "devtmpfs /dev ", "proc /proc ",
                 "sysfs /sys ", "tmpfs /tmp ", "tmpfs /run ", "0x9", "1777"):
        if part not in text:
            raise Failed(f"no {part!r} in {text!r}")


def terminal():
    """A controlling terminal of the host's size, with job control."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(VIREO, [VIREO, "run", "--", "sh", "-c",
                         "stty size; tty; read x; echo got $x >/dev/tty"])
    ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    text, typed = b"", False
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        if not select.select([fd], [], [], 1)[0]:
            continue
        try:
            text += os.read(fd, 4096)
        except OSError:
            break
        if b"/dev/ttyS0" in text and not typed:
            typed = True
            os.write(fd, b"hello\r")
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    expect("status", 0, code)
    for part in (b"/dev/ttyS0", b"got hello\r\n"):
        if part not in text:
            raise Failed(f"no {part!r} in {text!r}")


def shell():
    code, text = console("quiet", "echo $((6 * 7)); poweroff -f\n")
    expect("status", 0, code)
    if "\n42\r\n" not in text:
        raise Failed(f"output: {text!r}")


def ends(cmdline, script, want, said):
    def case():
        code, text = console(f"quiet panic=-1 {cmdline}", script)
        expect("status", want, code)
        if said not in text:
            raise Failed(f"no {said!r} in {text[-2000:]!r}")
    return case


def panic_in_default_guest():
    out = command("sh", "-c", "echo c >/proc/sysrq-trigger")
    expect("status", 123, out.returncode)


def bad_order():
    """init's own failure: an order that it does not understand."""
    with tempfile.TemporaryDirectory() as folder:
        order = f"{folder}/order"
        subprocess.run([ROOT / "guest/mkinitramfs", "--run", "frob=1",
                        "arg=true", "exit_port=f4", "--",
                        order], check=True)
        both = f"{folder}/both"
        Path(both).write_bytes((GUEST / "initramfs.cpio").read_bytes()
                               + Path(order).read_bytes())
        out = vireo("--kernel", kernel("cloud"), "--initrd", both,
                    "--cmdline", "console=ttyS0 quiet",
                    "--debug-exit", "0xf4")
    expect("status", (125 * 2 + 1) & 255, out.returncode)
    if b"frob=1: invalid" not in out.stdout:
        raise Failed(f"output: {out.stdout!r}")


CASES = {
    "status": status,
    "streams": streams,
    "arguments": arguments,
    "terminal": terminal,
    "shell": shell,
    "reboot": ends("", "reboot -f\n", 0, ""),
    "panic": ends("", "echo c >/proc/sysrq-trigger\n", 0,
                  "Kernel panic - not syncing"),
    "triple-fault": ends("reboot=t", "reboot -f\n", 121, "triple fault"),
    "panic-status": panic_in_default_guest,
    "bad-order": bad_order,
}


def main():
    if sys.argv[1:] == ["--list"]:
        for name in CASES:
            print(TIMEOUT * SLOW + 60, name)
        return 0
    if not os.access(VIREO, os.X_OK):
        print(f"no {VIREO}")
        return 1
    for name in sys.argv[1:] or CASES:
        try:
            CASES[name]()
        except (Failed, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
