# SPDX-License-Identifier: Apache-2.0
"""The outer host: its initramfs and its machine.

The initramfs is busybox, the programs under test with their shared libraries,
kernel modules, the guests and the tests' scripts; layout in docs/lab.md. The
machine is QEMU's emulator with AMD's virtualization, so that KVM in it is
true to the letter, if slow. What comes of it arrives by two serial ports: the
console in a file, the verdicts on QEMU's standard output.
"""
import ctypes
import importlib.machinery
import importlib.util
import os
import re
import shlex
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("VIREO_CACHE", ROOT / ".cache/guest"))
QEMU = "qemu-system-x86_64"
KVM_MODULES = ["kvm_amd"]
# The emulated TSC is one for all CPUs, which the kernel cannot know; were it to
# distrust it, KVM would turn guests' TSCs back at will. Where it hangs as a
# whole, addresses are all there is: they mean the same in every boot.
CMDLINE = "console=ttyS0 reboot=t panic=-1 quiet tsc=reliable nokaslr"


class Missing(Exception):
    """What the host lacks; the reason of a skip."""


def load_script(path):
    """A Python program of the tree, as a module."""
    sys.dont_write_bytecode = True
    name = Path(path).name.replace("-", "_")
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


# ---- kernel modules ---------------------------------------------------------

class Modules:
    """Those of the outer host's kernel, straight from the archive."""

    def __init__(self, path):
        self.archive = tarfile.open(path)
        self.members = {}
        for member in self.archive:
            if member.name.endswith(".ko"):
                name = Path(member.name).stem.replace("-", "_")
                self.members[name] = member
        self.data = {}

    def needs(self, name):
        """The modules that this one depends on, by its .modinfo."""
        if name not in self.members:
            raise Missing(f"no module {name} in the kernel's package")
        if name not in self.data:
            member = self.archive.extractfile(self.members[name])
            self.data[name] = member.read()
        found = re.search(rb"\0depends=([^\0]*)\0", self.data[name])
        return found.group(1).decode().split(",") if found else []

    def order(self, names):
        """These and what they need, each after what it needs."""
        done = []

        def add(name):
            name = name.replace("-", "_")
            if name and name not in done:
                for other in self.needs(name):
                    add(other)
                done.append(name)
        for name in names:
            add(name)
        return done


# ---- initramfs --------------------------------------------------------------

def libraries(program):
    """Paths of the interpreter and the libraries that ldd(1) names."""
    out = subprocess.run(["ldd", program], capture_output=True, text=True,
                         check=False)
    if "not found" in out.stdout:
        raise Missing(f"{program}: a library is missing:\n{out.stdout}")
    return re.findall(r"(?:=> |^\s*)(/\S+) \(0x", out.stdout, re.M)


class Image:
    """An initramfs that grows file by file, folders as they are needed."""

    def __init__(self):
        mkinitramfs = load_script(ROOT / "guest/mkinitramfs")
        self.archive = mkinitramfs.Archive()
        self.names = set()
        self.folder("dev")
        self.archive.add("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))

    def folder(self, name):
        if name in ("", ".") or name in self.names:
            return
        self.folder(os.path.dirname(name))
        self.names.add(name)
        self.archive.add(name, stat.S_IFDIR | 0o755, links=2)

    def add(self, name, data, mode=0o644):
        name = name.lstrip("/")
        if name in self.names:
            return
        self.folder(os.path.dirname(name))
        self.names.add(name)
        if isinstance(data, str):
            data = data.encode()
        self.archive.add(name, stat.S_IFREG | mode, data)

    def link(self, name, target):
        self.folder(os.path.dirname(name))
        self.names.add(name)
        self.archive.add(name, stat.S_IFLNK | 0o777, os.fsencode(target))

    def file(self, name, path, mode=0o644):
        self.add(name, Path(path).read_bytes(), mode)

    def program(self, name, path):
        """With its shared libraries, which keep their paths."""
        self.file(name, path, 0o755)
        for library in libraries(path):
            self.file(library, library, 0o755)

    def host_program(self, name):
        path = shutil.which(name)
        if not path:
            raise Missing(f"no {name} on this host")
        self.program(path, os.path.realpath(path))

    def write(self, path):
        Path(path).write_bytes(self.archive.bytes())


def base_image(build, modules):
    """What is there whatever the tests."""
    image = Image()
    for folder in ("bin", "sbin", "usr/bin", "usr/sbin", "etc", "lab/test",
                   "lab/module"):
        image.folder(folder)
    image.file("init", ROOT / "tests/lab/init", 0o755)
    image.file("bin/busybox", CACHE / "busybox", 0o755)
    image.link("bin/sh", "busybox")
    image.add("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    image.add("etc/group", "root:x:0:\n")
    image.program("lab/bin/vireo", build / "vireo")
    for path in sorted((build / "tests/lab").glob("*")):
        if path.is_file() and os.access(path, os.X_OK):
            image.program(f"lab/bin/{path.name}", path)
    for path in sorted((build / "tests/guest").glob("*.elf")):
        image.file(f"lab/guests/{path.name}", path)
    image.file("lab/guest/vmlinuz", CACHE / "vmlinuz-cloud")
    image.file("lab/guest/initramfs.cpio", build / "guest/initramfs.cpio")
    for path in sorted((build / "guest/modules").glob("*.ko")):
        image.file(f"lab/guest/modules/{path.name}", path)
    kvm = modules.order(KVM_MODULES)
    variables = {
        "VIREO": "/lab/bin/vireo",
        "VIREO_GUEST_DIR": "/lab/guest",
        "GUESTS": "/lab/guests",
        "LAB_KVM": ",".join(kvm),
    }
    if os.environ.get("VIREO_SOAK"):
        variables["VIREO_SOAK"] = "1"
    image.add("lab/environment", "".join(
        f"export {name}={shlex.quote(value)}\n"
        for name, value in variables.items()))
    add_modules(image, modules, kvm)
    return image


def add_modules(image, modules, names):
    for name in names:
        image.add(f"lab/module/{name}.ko", modules.data[name])


# ---- machine ----------------------------------------------------------------

def kernel_version(path):
    """Linux Documentation/x86/boot.rst, kernel_version."""
    data = Path(path).read_bytes()
    offset, = struct.unpack_from("<H", data, 0x20e)
    return data[offset + 0x200:].split(b"\0")[0].split(b" ")[0].decode()


def with_us():
    """In the child: whatever ends us ends the machine too."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def command(needs, initramfs, verdicts):
    """QEMU's. `verdicts` are the options of the two serial ports."""
    return [QEMU, "-M", "q35", "-accel", "tcg", "-cpu", "EPYC,+svm",
            "-smp", str(needs.cpus), "-m", str(needs.mem), "-nodefaults",
            "-no-reboot", "-display", "none", *verdicts,
            "-kernel", CACHE / "vmlinuz-cloud", "-initrd", initramfs,
            "-append", f"{CMDLINE} {needs.append}".strip(),
            *shlex.split(needs.qemu)]


def check_host(build):
    """Raises Missing where there can be no outer host."""
    if not shutil.which(QEMU):
        raise Missing(f"no {QEMU}: tools/setup lab")
    got = subprocess.run([ROOT / "tools/fetch-guest", "modules", "busybox"],
                         check=False, stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                         env={**os.environ, "VIREO_CACHE": str(CACHE)})
    if got.returncode:
        text = got.stdout.decode(errors="replace").strip().splitlines()
        raise Missing("no kernel modules: " + (text or ["no reason given"])[0])
    for path in (build / "vireo", build / "guest/initramfs.cpio"):
        if not path.exists():
            raise Missing(f"no {path}: make guest")
