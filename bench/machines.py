# SPDX-License-Identifier: Apache-2.0
"""What is compared: Vireo in each mode that it has, QEMU's software emulation
with two CPU models, and no machine at all. And what runs inside.
"""
import ctypes
import os
import re
import select
import shutil
import struct
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("VIREO_CACHE", ROOT / ".cache/guest"))
QEMU = "qemu-system-x86_64"
# The same for all; mitigations would cost QEMU's `-cpu max` most.
CMDLINE = "console=ttyS0 quiet panic=-1 mitigations=off"
RAM_MIB = 256
PATIENCE = 240
EXIT_PORT = 0xf4
NATIVE = "native"
CLONE_NEWNET = 0x40000000


class Failed(Exception):
    """A machine did not do what it should: no figure is worth having."""


def popen(args, env=None, cpus=None):
    """Of what is measured, at the priority that was asked for."""
    nice = int(os.environ.get("BENCH_NICE", 0))

    def prepare():
        if nice:
            os.setpriority(os.PRIO_PROCESS, 0, nice)
        if cpus:
            os.sched_setaffinity(0, cpus)

    return subprocess.Popen(list(map(str, args)), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, env=env, bufsize=0,
                            stderr=subprocess.DEVNULL, preexec_fn=prepare)


def new_network():
    """This process moves to a network namespace without interfaces."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        raise Failed("no network namespace of its own: root makes one")


class Machine:
    """One program with its options. `command` gives its command line from
    a kernel, an initramfs or None, and a number of CPUs."""

    def __init__(self, name, command, is_qemu=False):
        self.name = name
        self.command = command
        self.is_qemu = is_qemu

    def start(self, kernel, initrd=None, cpus=1):
        return popen(self.command(kernel, initrd, cpus))


# ---- Vireo -----------------------------------------------------------------

def vireo_machine(vireo, mode):
    def command(kernel, initrd, cpus):
        args = [vireo, "run", "--mem", f"{RAM_MIB}m", "--engine", "bt",
                "--cpus", cpus, "--kernel", kernel]
        if mode:
            args += ["--bt", mode]
        if initrd:
            return [*args, "--initrd", initrd, "--cmdline", CMDLINE]
        return [*args, "--debug-exit", f"{EXIT_PORT:#x}"]
    return Machine(f"vireo {mode}" if mode else "vireo", command)


def runs(machine, tiny):
    process = machine.start(tiny)
    process.stdin.close()
    try:
        return process.wait(PATIENCE) == 33
    finally:
        process.kill()
        process.wait()


def vireo_machines(vireo, tiny, modes):
    """The wanted modes that this Vireo has, the last being the one that
    targets are for. Without modes there is one engine."""
    found = [vireo_machine(vireo, mode) for mode in modes]
    found = [m for m in found if runs(m, tiny)]
    if not found:
        found = [vireo_machine(vireo, None)]
        if not runs(found[0], tiny):
            raise Failed(f"{vireo}: does not run a guest of one instruction")
    return found


# ---- QEMU ------------------------------------------------------------------

def qemu_machine(cpu):
    def command(kernel, initrd, cpus):
        args = [QEMU, "-M", "q35", "-accel", "tcg", "-cpu", cpu, "-m",
                RAM_MIB, "-smp", cpus, "-nodefaults", "-no-reboot",
                "-display", "none", "-serial", "stdio", "-kernel", kernel]
        if initrd:
            return [*args, "-initrd", initrd, "-append", CMDLINE]
        return [*args, "-device",
                f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1"]
    return Machine(f"qemu {cpu}", command, is_qemu=True)


def qemu_machines():
    if not shutil.which(QEMU):
        return []
    return [qemu_machine("qemu64"), qemu_machine("max")]


# ---- what runs inside ------------------------------------------------------

def make_tiny(path):
    """Multiboot by the header's own addresses: 16 to the debug-exit port."""
    code = b"\xb0\x10\xe6" + bytes([EXIT_PORT]) + b"\xeb\xfe"
    base, flags, magic = 0x100000, 0x10000, 0x1badb002
    end = base + 32 + len(code)
    path.write_bytes(struct.pack("<8I", magic, flags,
                                 -(magic + flags) & 0xffffffff, base, base,
                                 end, end, base + 32) + code)
    return path


def make_initrd(build, path, script, programs=()):
    """The default guest, whose shell runs `script`, with programs in
    /vireo."""
    order = path.with_suffix(".order")
    subprocess.run([ROOT / "guest/mkinitramfs",
                    *(f"--file={program}" for program in programs),
                    "--run", "arg=sh", "arg=-c", f"arg={script}", "--",
                    order], check=True)
    path.write_bytes((build / "guest/initramfs.cpio").read_bytes() +
                     order.read_bytes())
    return path


# ---- talking to it ---------------------------------------------------------

class Lines:
    """The lines of a process, each with the host's clock when it came."""

    def __init__(self, process):
        self.process = process
        self.buffer = b""
        self.last = ""

    def next(self, seconds=PATIENCE):
        end = time.monotonic() + seconds
        fd = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Failed(f"silent for {seconds} s, after {self.last!r}")
            data = os.read(fd, 65536)
            if not data:
                raise Failed(f"ended, after {self.last!r}")
            self.buffer += data
        stamp = time.monotonic()
        line, self.buffer = self.buffer.split(b"\n", 1)
        self.last = line.decode(errors="replace").rstrip("\r")
        return stamp, self.last

    def until(self, pattern, seconds=PATIENCE):
        """Lines before one that matches are passed over: firmware, kernel."""
        while True:
            stamp, line = self.next(seconds)
            found = re.match(pattern, line)
            if found:
                return stamp, found


def end(process):
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        pipe.close()


def usage(pid):
    """Seconds of CPU and voluntary context switches of all its threads."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    wakes = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status",
                  encoding="ascii") as file:
            wakes += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)",
                                   file.read(), re.M)[1])
    ticks = int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), wakes


def beyond_ram(pid):
    """Resident MiB outside the largest mapping, which is guest RAM."""
    size = total = ram = largest = 0
    with open(f"/proc/{pid}/smaps", encoding="ascii") as file:
        for line in file:
            key, value = line.split()[:2]
            if key == "Size:":
                size = int(value)
            elif key == "Rss:":
                total += int(value)
                if size > largest:
                    largest, ram = size, int(value)
    return (total - ram) / 1024
