#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the software engine shows of its work: counters, dumps of the
translator's passes, perf's map; and a boot in little room for code."""
# timeout: 240
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import harness

ELF = harness.BUILD / "tests/guest/translated.elf"
GUEST = ["run", "--engine", "bt", "--kernel", ELF, "--cmdline", "cpus=1",
         "--debug-exit", "0xf4"]
PASSED = 33  # the guest's word for it

MAP_LINE = re.compile(r"([0-9a-f]+) ([0-9a-f]+) (\S+)")
MAP_NAME = re.compile(r"(user|kernel|kernel_ac):0x[0-9a-f]+\+0x[0-9a-f]+"
                      r"\[\d+_bytes,\d+_insns\](plain)?|bt:thunks")


def stats(text):
    """Every line is a name and a number."""
    out = {}
    for line in text.decode().splitlines():
        match = re.fullmatch(r"(\S+) (-?[0-9.]+)", line)
        if match:
            out[match[1]] = float(match[2])
    return out


def counters(checks):
    got = harness.run([*GUEST, "--stats", "--bt-count"])
    checks.status("the guest", PASSED, got)
    seen = stats(got.stderr)
    for name in ("vcpu0.interpreted_instructions", "vcpu0.translated_blocks",
                 "vcpu0.translated_instructions", "vcpu0.functions_called",
                 "vcpu0.us.run", "code_bytes"):
        checks.true(name, seen.get(name, 0) > 0, seen.get(name))
    called = [value for name, value in seen.items()
              if name.startswith("called.")]
    checks.true("rows by count", called == sorted(called, reverse=True) and
                called, called)
    checks.true("sum of rows", sum(called) <= seen["vcpu0.functions_called"],
                seen)
    plain = stats(harness.run([*GUEST, "--stats"]).stderr)
    checks.true("no counting unasked",
                "vcpu0.translated_instructions" not in plain, plain)


def perf_map(checks):
    with subprocess.Popen([harness.VIREO, *map(str, GUEST), "--bt-perf-map"],
                          stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        process.communicate(timeout=harness.PATIENCE)
    checks.same("status with a map", PASSED, process.returncode)
    path = Path(f"/tmp/perf-{process.pid}.map")
    lines = path.read_text(encoding="ascii").splitlines()
    path.unlink()
    checks.true("lines of the map", len(lines) > 20, len(lines))
    end = 0
    for line in lines:
        match = MAP_LINE.fullmatch(line)
        if not checks.true("a line of the map",
                           match and MAP_NAME.fullmatch(match[3]), line):
            return
        start = int(match[1], 16)
        checks.true("code in its order", start >= end, line)
        end = start + int(match[2], 16)


def objdump(code):
    """Bytes of each instruction, by somebody else's disassembler."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        try:
            out = subprocess.run(
                ["objdump", "-D", "-w", "-b", "binary", "-m", "i386:x86-64",
                 "--insn-width=16", file.name], capture_output=True,
                check=True)
        except FileNotFoundError:
            return None
    found = re.findall(r"^ *[0-9a-f]+:\t((?:[0-9a-f]{2} )+)",
                       out.stdout.decode(), re.M)
    return [one.replace(" ", "") for one in found]


def dumps(checks, folder):
    file = Path(folder) / "dump"
    got = harness.run([*GUEST, "--bt-dump", f"dae,{file}"])
    checks.status("the guest, dumped", PASSED, got)
    text = file.read_text(encoding="ascii")
    blocks = text.split("block ")[1:]
    checks.true("blocks", len(blocks) > 20, len(blocks))
    for block in blocks[:200]:
        insns = int(re.search(r"(\d+) instructions", block)[1])
        checks.same("instructions decoded", insns,
                    len(re.findall("^d ", block, re.M)))
        checks.same("instructions analysed", insns,
                    len(re.findall("^a +[0-9]+ live", block, re.M)))
        ours = re.findall("^e [0-9a-f]{8} ([0-9a-f]+) ", block, re.M)
        theirs = objdump(bytes.fromhex("".join(ours)))
        if theirs is not None:
            checks.same("host code", theirs, ours)
    got = harness.run([*GUEST, "--bt-dump=d"])
    checks.true("to standard error", b"\nd   0 0x" in got.stderr,
                got.stderr[:200])
    got = harness.run([*GUEST, "--bt-dump", f"d,{folder}/none/such"])
    checks.same("a file that cannot be", 125, got.returncode)
    checks.true("is named", b"none/such" in got.stderr, got.stderr)


def little_room(checks):
    """Everything is dropped again and again, with two vCPUs in the code."""
    got = harness.run(["run", "--engine", "bt", "--bt-code", "1m", "--cpus",
                       "2", "--stats", *harness.QUICK, "--", "sh", "-c",
                       "seq 1 3000 | sort -n | md5sum; uname -s"])
    checks.status("a boot in 1 MiB", 0, got)
    want = "".join(f"{n}\n" for n in range(1, 3001))
    md5 = subprocess.run(["md5sum"], input=want.encode(), check=True,
                         capture_output=True).stdout
    checks.same("its output", md5 + b"Linux\n", got.stdout)
    seen = stats(got.stderr)
    checks.true("flushes", seen.get("code_flushes", 0) >= 5,
                seen.get("code_flushes"))
    checks.true("the room is kept", seen["code_bytes_max"] == 1 << 20 and
                seen["code_bytes"] <= 1 << 20, seen["code_bytes"])


def main():
    if not os.access(ELF, os.R_OK):
        harness.skip(f"no {ELF}")
    checks = harness.Checks()
    counters(checks)
    perf_map(checks)
    with tempfile.TemporaryDirectory() as folder:
        dumps(checks, folder)
    harness.need_guest()
    little_room(checks)
    return 1 if checks.failures else 0


if __name__ == "__main__":
    sys.exit(main())
