#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a guest flushed is on its disk when Vireo is killed at any moment.

The guest writes record after record, each to the next place and flushed, and
then tells its number. Vireo is killed, and the file must have every record up
to the last one told.
"""
# timeout: 600
import os
import random
import signal
import subprocess
import time

from harness import SOAK, VIREO, environment, main, need_guest

ROUNDS = 500 if SOAK else 50
PLACES = 64
RECORD = 4096

# A record is its number in 8 digits, 512 times.
SCRIPT = f"""
    i=0
    while :; do
        i=$((i + 1))
        n=$(printf %08d $i)
        n=$n$n$n$n$n$n$n$n
        n=$n$n$n$n$n$n$n$n
        printf %s $n$n$n$n$n$n$n$n |
            dd of=/dev/vda bs={RECORD} seek=$((i % {PLACES})) conv=fsync \
                2>/dev/null || exit 1
        echo $i
    done
"""


def numbers(process, wait):
    """Of records told, until Vireo is killed `wait` seconds after the first."""
    told = process.stdout.readline()
    if told:
        time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    told += process.stdout.read()
    process.wait()
    # The last line may have been cut.
    return [int(n) for n in told[:told.rfind(b"\n") + 1].split()]


def contents(path, overlay):
    """What a machine would find: src/backend/block_overlay.c has the format."""
    data = bytearray(path.read_bytes())
    if overlay.exists():
        over = overlay.read_bytes()
        start = int.from_bytes(over[24:32], "little")
        for place in range(PLACES):
            if over[4096 + place // 8] >> place % 8 & 1:
                at = place * RECORD
                data[at:at + RECORD] = over[start + at:start + at + RECORD]
    return data


def records(data):
    """Place -> number, None where a record is not whole."""
    found = []
    for place in range(PLACES):
        record = data[place * RECORD:][:RECORD]
        whole = record == record[:8] * (RECORD // 8)
        found.append(int(record[:8]) if whole and record[0] else None)
    return found


def check(checks, data, told, what):
    last = told[-1]
    found = records(data)
    for number in range(max(1, last - PLACES + 1), last + 1):
        # The one after the last may be there, or half of it.
        if (last + 1) % PLACES == number % PLACES:
            continue
        checks.same(f"{what}, record {number} of {last}", number,
                    found[number % PLACES])


def killed(checks, folder):
    dice = random.Random(os.environ.get("VIREO_SEED", "1"))
    total = 0
    for turn in range(ROUNDS):
        path, overlay = folder / "disk", folder / "overlay"
        path.write_bytes(bytes(PLACES * RECORD))
        options = [["--disk", str(path)],
                   ["--disk", f"{path},packed=off", "--cpus", "2"],
                   ["--disk", f"{path},overlay={overlay}"]][turn % 3]
        process = subprocess.Popen(
            [VIREO, "run", *options, "--", "sh", "-c", SCRIPT],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            env=environment())
        told = numbers(process, dice.uniform(0, 0.4))
        if checks.true(f"round {turn}", told == list(range(1, len(told) + 1))
                       and told, told[-3:]):
            check(checks, contents(path, overlay), told, f"round {turn}")
            total += len(told)
        path.unlink()
        overlay.unlink(missing_ok=True)
    print(f"{ROUNDS} rounds, {total} records told")


if __name__ == "__main__":
    need_guest()
    main(killed)
