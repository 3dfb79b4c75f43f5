#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# timeout: 240
"""Our own unikernels on a network: TCP and ping with real clients over a tap,
and a key-value server that is killed at any moment.

It makes a network namespace of its own, with the tap in it, and needs root.
"""
import ctypes
import os
import random
import signal
import socket
import subprocess
import time

from harness import BUILD, SOAK, VIREO, environment, main, skip

SAMPLES = BUILD / "guest/unikernel"
HOST, GUEST, TAP = "10.9.0.1", "10.9.0.2", "tap0"
CLONE_NEWNET = 0x40000000


def own_network():
    """This process moves to a network namespace with one tap in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        return "no network namespace: root makes one"
    for command in ("ip link set lo up",
                    f"ip tuntap add {TAP} mode tap",
                    f"ip addr add {HOST}/24 dev {TAP}",
                    f"ip link set {TAP} up"):
        done = subprocess.run(command.split(), capture_output=True,
                              check=False)
        if done.returncode:
            return f"{command}: {done.stderr.decode().strip()}"
    return None


class Server:
    """A unikernel that serves, until the block ends."""

    def __init__(self, *args):
        command = [VIREO, "run", args[0], "--mem", "64m",
                   "--net", f"service=tap={TAP}", *args[1:]]
        self.process = subprocess.Popen([*map(str, command)],
                                        stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT,
                                        env=environment())

    def __enter__(self):
        self.first = self.process.stdout.readline()
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def connect(port):
    sock = socket.create_connection((GUEST, port), timeout=20)
    sock.settimeout(20)
    return sock


def receive(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(65536)
        if not part:
            break
        data += part
    return data


def bulk(data, port=7):
    """All of it there and back, by a sender that does not wait."""
    with connect(port) as sock:
        pid = os.fork()
        if not pid:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            os._exit(0)
        back = receive(sock, len(data) + 1)
        os.waitpid(pid, 0)
    return back


def echo(checks, _):
    generator = random.Random(1)
    with Server(SAMPLES / "echo.hvt", "--", GUEST) as server:
        checks.same("first line", b"echo: 10.9.0.2 port 7\n", server.first)
        with connect(7) as sock:
            sock.sendall(b"hello there")
            checks.same("echo", b"hello there", receive(sock, 11))
            sock.shutdown(socket.SHUT_WR)
            checks.same("end", b"", sock.recv(10))
        data = generator.randbytes(1 << 20)
        checks.true("1 MiB", bulk(data) == data, "something else")
        # More connections at once than one, and more in a row than there are.
        socks = [connect(7) for _ in range(10)]
        for i, sock in enumerate(socks):
            sock.sendall(b"%d" % i * 100)
        for i, sock in enumerate(socks):
            checks.same("of ten", b"%d" % i * 100, receive(sock, 100))
            sock.close()
        for i in range(100):
            with connect(7) as sock:
                sock.sendall(b"x")
                checks.same("of a hundred", b"x", receive(sock, 1))
                if i % 3 == 0:  # leave by RST
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                    b"\1\0\0\0\0\0\0\0")
        try:
            connect(8).close()
            checks.fail("port 8 is served")
        except ConnectionRefusedError:
            pass
        nc = subprocess.run(["sh", "-c", f"command -v nc >/dev/null || exit 0;"
                             f"echo by nc | timeout 20 nc -N {GUEST} 7"],
                            capture_output=True, check=False)
        checks.true("nc", nc.stdout in (b"by nc\n", b""), nc.stdout)


def ping(checks, _):
    """1,000 frames each way, and one that fills the MTU."""
    with Server(SAMPLES / "echo.hvt", "--", GUEST):
        got = subprocess.run(["ping", "-q", "-c", "1000", "-i", "0", "-w",
                              "100", GUEST], capture_output=True, check=False)
        checks.status("ping", 0, got)
        checks.true("ping", b" 0% packet loss" in got.stdout, got.stdout)
        print(got.stdout.decode().strip().splitlines()[-1])
        got = subprocess.run(["ping", "-c", "2", "-s", "1472", "-M", "do",
                              GUEST], capture_output=True, check=False)
        checks.status("ping of a full frame", 0, got)


def served(folder):
    return Server(SAMPLES / "kv.hvt", "--block", f"data={folder}/served.img",
                  "--", GUEST)


def ask(line):
    with connect(7070) as sock:
        sock.sendall(line)
        sock.shutdown(socket.SHUT_WR)
        return receive(sock, 1 << 20)


def kv(checks, folder):
    (folder / "served.img").write_bytes(bytes(256 * 1024))
    with served(folder) as server:
        checks.same("first line", b"kv: 0 keys, 10.9.0.2 port 7070\n",
                    server.first)
        checks.same("commands", b"OK\nVALUE blue\nNONE\nCOUNT 1\n",
                    ask(b"set color blue\nget color\r\nget x\ncount\n"))
        lines = b"".join(b"set key%d %s\n" % (i, b"v" * i)
                         for i in range(200))
        checks.same("many", b"OK\n" * 200, ask(lines))
        keys = ask(b"keys\n").split(b"\n")
        checks.same("keys", 203, len(keys))
        checks.true("too long", ask(b"x" * 5000).startswith(b"ERROR"), "")
        checks.same("binary", b"OK\nVALUE \0\xff\n",
                    ask(b"set b \0\xff\nget b\n"))
    with served(folder) as server:
        checks.same("again", b"kv: 202 keys, 10.9.0.2 port 7070\n",
                    server.first)
        checks.same("again", b"VALUE blue\n", ask(b"get color\n"))


def killed(checks, folder):
    """Killed in the middle of changes: what was answered is there."""
    generator = random.Random(2)
    (folder / "served.img").write_bytes(bytes(64 * 1024))
    number = answered = 0
    for _ in range(12):
        with served(folder) as server:
            got = ask(b"get n\n")
            there = int(got[6:]) if got.startswith(b"VALUE") else 0
            checks.true("what was answered", answered <= there <= number,
                        (answered, there, number))
            with connect(7070) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stop = time.monotonic() + generator.random() * 0.4
                while time.monotonic() < stop:
                    number += 1
                    sock.sendall(b"set n %d\n" % number)
                    if generator.random() < 0.99 and \
                            receive(sock, 3) == b"OK\n":
                        answered = number
                    else:
                        break
                server.kill()
    print(f"{number} changes, {answered} answered last")


def left(checks, _):
    """Starts and ends of any kind leave the tap as it was, and no other. One
    that was still held would be refused to the next guest."""
    before = socket.if_nameindex()
    for number in range(300 if SOAK else 12):
        with Server(SAMPLES / "echo.hvt", "--", GUEST) as server:
            checks.same(f"start {number}", b"echo: 10.9.0.2 port 7\n",
                        server.first)
            if number % 2:
                server.process.terminate()
                checks.same(f"end {number}", 128 + signal.SIGTERM,
                            server.process.wait(60))
    got = subprocess.run([VIREO, "run", SAMPLES / "echo.hvt", "--net",
                          "service=tap=none0", "--", GUEST], check=False,
                         capture_output=True, timeout=60)
    checks.status("no such tap", 125, got)
    checks.same("network devices", before, socket.if_nameindex())


if __name__ == "__main__":
    if not (SAMPLES / "kv.hvt").exists():
        skip("a build without unikernels")
    WHY = own_network()
    if WHY:
        skip(WHY)
    main(echo, ping, kv, killed, left)
