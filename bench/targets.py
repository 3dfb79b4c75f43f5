# SPDX-License-Identifier: Apache-2.0
"""What the software engine shall reach; docs/performance.md repeats it."""
from table import Target, geometric_mean

# Time against native, of guestbench's cases.
NATIVE_CEILINGS = {
    "int_sha256": 2.0,
    "int_qsort": 2.0,
    "mem_chase": 2.0,
    "mem_copy": 1.3,
    "fp_nbody": 1.15,
    "fp_x87": 1.15,
    "simd_int": 1.5,
    "call_indirect": 2.0,
    "call_fib": 2.0,
    "sys_getppid": 2.0,
    "sys_fork": 2.5,
    "sys_exec": 3.0,
    "sys_pagefault": 3.5,
    "sys_signal": 2.0,
    "sys_file": 2.5,
}
# One process hands a byte to another and sleeps: nothing to win.
QEMU_FLOORS = {"sys_pipe_pingpong": 1.0}


def guestbench_speeds(result):
    """Against QEMU, of every case that was measured, by name."""
    speeds = {r.name.split("/")[1]: result.speed_against_qemu(r.name)
              for r in result.of_group("guestbench")}
    return {name: speed for name, speed in speeds.items() if speed}


def mean_speed(result):
    speeds = guestbench_speeds(result)
    return geometric_mean(speeds.values()) if len(speeds) == 16 else None


def least_speed(result):
    speeds = [speed for name, speed in guestbench_speeds(result).items()
              if name not in QEMU_FLOORS]
    return min(speeds) if speeds else None


def native_time(case):
    return lambda result: result.against_native(f"guestbench/{case}")


def qemu_speed(case):
    return lambda result: guestbench_speeds(result).get(case)


def boot_time(result):
    speed = result.speed_against_qemu("boot/cloud wall")
    return 1 / speed if speed else None


def sort_gain(result):
    row = result.rows.get("smp/sort, gain")
    return row.value(result.judged) if row else None


def startup(name):
    def value(result):
        row = result.rows.get(f"startup/{name}")
        return row.value(result.judged) if row else None
    return value


def pipe_time(result):
    return result.against_native("smp/pipe ping-pong")


TARGETS = [
    Target("guestbench, speed against QEMU, geometric mean of 16",
           mean_speed, 4.0, at_least=True),
    Target("guestbench, speed against QEMU, least",
           least_speed, 1.5, at_least=True),
    *(Target(f"{case}, speed against QEMU", qemu_speed(case), limit,
             at_least=True) for case, limit in QEMU_FLOORS.items()),
    *(Target(f"{case}, time against native", native_time(case), limit)
      for case, limit in NATIVE_CEILINGS.items()),
    Target("cloud kernel to user space, wall time against QEMU",
           boot_time, 0.45),
    Target("parallel sort, 2 vCPUs against 1", sort_gain, 1.7,
           at_least=True),
    Target("pipe ping-pong across 2 vCPUs, time against native",
           pipe_time, 1.3),
    Target("hello.hvt on bt, start to guest",
           startup("hello bt to guest"), 3, unit=" ms"),
    Target("hello.hvt on bt, start to end", startup("hello bt whole"), 5,
           unit=" ms"),
    Target("hello.hvt on bt, memory", startup("hello bt memory"), 2,
           unit=" MiB"),
    Target("hello.hvt on kvm, start to end, time against bare ioctls",
           lambda result: result.against_native("startup/hello kvm whole"),
           1.2),
]
