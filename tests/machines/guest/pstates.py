"""Print ACPI source that gives QEMU's processors performance states. Usage: pstates.py CPUS

Two cpufreq policies, each for one half of the CPUs, with tables of their own: code that takes CPU 0 for all
is found out. The control port of each is the scratch register (offset 7) of a serial port that QEMU emulates
and nobody uses, so what the kernel reads back is what it wrote.
"""

import sys
from collections.abc import Iterator

DOMAINS = [
    {"mhz": [3500, 3000, 2400, 1800, 1200], "port": 0x2FF, "first_code": 0x10},  # COM2
    {"mhz": [2600, 2000, 1400, 800], "port": 0x3EF, "first_code": 0x20},  # COM3
]
SOFTWARE_ANY = 0xFD  # coordination: one policy for the domain, any of its CPUs may switch it
LATENCY_US = 10


def states(mhz: list[int], first_code: int) -> str:
    """_PSS rows: MHz, milliwatts, transition and bus latency in microseconds, control code, status code."""
    return ",\n".join(
        f"            Package (6) {{ {f}, {f * 10}, {LATENCY_US}, {LATENCY_US}, {code:#04x}, {code:#04x} }}"
        for code, f in enumerate(mhz, first_code)
    )


def source(cpus: int) -> Iterator[str]:
    """The lines of the table."""
    half = cpus // 2
    yield 'DefinitionBlock ("", "SSDT", 2, "TESTCF", "PSTATES", 0x00000001)'
    yield "{"
    for cpu in range(cpus):
        domain = DOMAINS[cpu // half]
        register = f"ResourceTemplate () {{ Register (SystemIO, 8, 0, {domain['port']:#06x}, 1) }}"
        yield f"    External (\\_SB.CPUS.C{cpu:03X}, ProcessorObj)"
        yield f"    Scope (\\_SB.CPUS.C{cpu:03X})"
        yield "    {"
        yield f"        Name (_PCT, Package (2) {{ {register}, {register} }})"
        yield f"        Name (_PSS, Package ({len(domain['mhz'])})"
        yield "        {"
        yield states(domain["mhz"], domain["first_code"])
        yield "        })"
        yield "        Method (_PPC, 0, NotSerialized) { Return (Zero) }"
        shared_with = f"5, 0, {cpu // half}, {SOFTWARE_ANY:#x}, {half}"
        yield f"        Name (_PSD, Package (1) {{ Package (5) {{ {shared_with} }} }})"
        yield "    }"
    yield "}"


def main() -> None:
    cpus = int(sys.argv[1])
    if cpus < 2 or cpus % 2:
        sys.exit(f"pstates: {cpus} CPUs cannot be split into two policies")
    print("\n".join(source(cpus)))


main()
