"""Why `Access` is a named tuple: making one, against a slotted frozen dataclass of the same fields.

python bench/records.py
"""

import sys
import timeit
from dataclasses import make_dataclass

from tailtrace_bridge.core.records import Access

TIMES = 200_000
VALUES = (1, 2, "100.64.0.7", "GET", "/", 200, 3, 3, True, 5, "", "", "", "curl/8", "")
VALUES += tuple(Access._field_defaults.values())[: len(Access._fields) - len(VALUES)]


def main() -> int:
    frozen = make_dataclass("Frozen", Access._fields, frozen=True, slots=True)
    makers = {
        "named tuple": lambda: Access(*VALUES),
        "tuple.__new__": lambda: tuple.__new__(Access, VALUES),
        "frozen dataclass": lambda: frozen(*VALUES),
    }
    times_ns = {name: min(timeit.repeat(make, number=TIMES, repeat=5)) / TIMES * 1e9 for name, make in makers.items()}
    for name, time_ns in times_ns.items():
        print(f"{name:<17} {time_ns:5.0f} ns, {time_ns / times_ns['named tuple']:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
