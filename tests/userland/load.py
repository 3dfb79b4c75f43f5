#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Much of Python and its C modules, with an output that is always the same:
load.py SIZE."""
import array
import collections
import ctypes
import decimal
import fractions
import functools
import hashlib
import heapq
import itertools
import json
import lzma
import math
import multiprocessing
import os
import pickle
import random
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import zlib

SIZE = int(sys.argv[1])
DRAW = random.Random(4)


def digest(data):
    if not isinstance(data, bytes):
        data = repr(data).encode()
    return hashlib.sha256(data).hexdigest()[:24]


def integers():
    big = functools.reduce(lambda a, b: a * b + 1, range(1, 300 * SIZE))
    yield digest(str(big % 10 ** 2000))
    yield pow(3, big, 10 ** 40 + 3)
    yield digest([math.isqrt(big >> n) for n in range(0, 400, 37)])
    yield sum(fractions.Fraction(1, n) for n in range(1, 90))


def floats():
    names = ("sin cos tan asin acos atan sinh cosh tanh asinh exp expm1 log1p "
             "erf erfc gamma lgamma sqrt cbrt floor ceil frexp").split()
    for name in names:
        work = getattr(math, name)
        yield name, digest([work(n / 1000) for n in range(1, 999, 7)])
    yield math.fsum(DRAW.gauss(0, 1) for _ in range(2000 * SIZE))
    yield [float.fromhex(f"0x1.{n:x}p{n - 500}").hex() for n in range(1, 900, 99)]
    yield digest([repr(DRAW.random() * 10 ** n) for n in range(-300, 300)])
    with decimal.localcontext(decimal.Context(prec=60 + 40 * SIZE)):
        yield decimal.Decimal(2).sqrt() + decimal.Decimal(3).exp().ln()


def sieve(limit):
    marks = bytearray([1]) * limit
    for n in range(2, math.isqrt(limit) + 1):
        if marks[n]:
            marks[n * n::n] = bytes(len(range(n * n, limit, n)))
    return [n for n in range(2, limit) if marks[n]]


def containers():
    primes = sieve(20000 * SIZE)
    yield len(primes), primes[-1], digest(primes)
    words = ["".join(DRAW.choices("abcdefgh", k=3)) for _ in range(5000 * SIZE)]
    yield collections.Counter(words).most_common(5)
    yield digest(sorted(words, key=lambda word: (word[::-1], len(word))))
    yield digest(heapq.nsmallest(50, words)), len(set(words))
    yield digest(list(itertools.islice(itertools.permutations(range(9)), 0,
                                       5000, 7)))
    yield sum(array.array("d", (n ** 0.5 for n in range(5000))))


def texts():
    text = " ".join(str(n * n) for n in range(3000 * SIZE))
    yield len(re.findall(r"\b(?:1\d*6|\d{3}9)\b", text))
    yield digest(re.sub(r"(\d)(\d)", r"\2\1", text))
    data = {str(n): [n / 7, {"n": n, "text": "\u20ac\U0001f600" * (n % 5)}]
            for n in range(400 * SIZE)}
    packed = json.dumps(data, sort_keys=True)
    yield digest(packed), json.loads(packed) == data
    yield digest(pickle.dumps(data, 4)), pickle.loads(pickle.dumps(data)) == data
    yield digest("".join(chr(n) for n in range(0x20, 0x3000)).upper())
    yield "%s %08.3f %x %r" % ("a", math.pi, 2 ** 70, b"\0\xff")


def packers():
    noise = DRAW.randbytes(20000 * SIZE)
    plain = b"".join(struct.pack("<IdH", n, n / 3, n % 999)
                     for n in range(3000 * SIZE))
    for data in (noise, plain):
        for level in (1, 6, 9):
            packed = zlib.compress(data, level)
            yield digest(packed), zlib.decompress(packed) == data
        packed = lzma.compress(data, preset=1)
        yield digest(packed), lzma.decompress(packed) == data
        yield zlib.crc32(data), zlib.adler32(data)
        for name in ("md5", "sha1", "sha512", "sha3_256", "blake2b"):
            yield name, hashlib.new(name, data).hexdigest()[:24]


@functools.lru_cache(maxsize=None)
def ways(total, parts):
    if total == 0 or parts == 1:
        return 1
    return sum(ways(total - n, min(parts, n)) for n in range(
        1, min(total, parts) + 1))


class Shape:
    """Attributes, slots of the interpreter's caches, and generators."""

    def __init__(self, kind):
        self.kind = kind

    def area(self, scale):
        return self.kind * scale

    def __lt__(self, other):
        return self.kind < other.kind


class Box(Shape):
    def area(self, scale):
        return super().area(scale) ** 2


def calls():
    shapes = [Box(n) if n % 3 else Shape(n) for n in range(200)]
    yield sum(s.area(k) for k in range(50 * SIZE) for s in shapes)
    yield ways(60, 60), min(shapes).kind
    count = 0
    for n in range(3000 * SIZE):
        try:
            count += 1 // (n % 3)
        except ZeroDivisionError:
            count -= 1
    yield count


def worker(number):
    return digest(sum(n * number for n in range(1000 * SIZE)))


def processes():
    results = [None] * 4

    def thread(number):
        results[number] = worker(number)

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    yield results
    with multiprocessing.get_context("fork").Pool(2) as pool:
        yield digest(pool.map(worker, range(16)))
    hits = []
    signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
    for _ in range(50):
        os.kill(os.getpid(), signal.SIGUSR1)
    yield len(hits)
    yield subprocess.run(["sh", "-c", "cat; exit 5"], input=b"through a pipe",
                         capture_output=True, check=False).stdout


def libraries():
    libc = ctypes.CDLL("libc.so.6")
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int),
                               ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 500)(*(DRAW.randrange(10 ** 6)
                                     for _ in range(500)))
    libc.qsort(numbers, 500, 4, compare(lambda a, b: a[0] - b[0]))
    yield digest(list(numbers))
    base = sqlite3.connect(":memory:")
    base.execute("create table t (a integer primary key, b text)")
    base.executemany("insert into t values (?, ?)",
                     ((n, str(n * n)) for n in range(500 * SIZE)))
    yield base.execute("select count(*), sum(length(b)), max(b) from t where "
                       "a % 3 = 1").fetchall()


def main():
    for part in (integers, floats, containers, texts, packers, calls,
                 processes, libraries):
        for result in part():
            print(part.__name__, result, flush=True)


if __name__ == "__main__":
    main()
