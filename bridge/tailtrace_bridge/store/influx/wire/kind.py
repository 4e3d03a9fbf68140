"""What answers behind a URL, by the headers of its `/ping`. Pure.

| `/ping` says | it is | made there | written by | erased by |
|---|---|---|---|---|
| `X-Influxdb-Version: v2…` | InfluxDB 2, Cloud | buckets, mappings | `/api/v2/write` | `/api/v2/delete` |
| `X-Influxdb-Version: 1…` | InfluxDB 1 | databases | `/api/v2/write` | `DELETE` of InfluxQL |
| `X-Geminidb-Version` | openGemini | databases | `/write` | nothing: it has no `DELETE` |
| anything else | unknown | databases | `/write` | nothing |

What is no InfluxDB 1 or 2 has to show that it computes as they do before a row is written or read: `probe`. openGemini
may not try: what is wrong with its answers shows only while its nodes are dead.

https://docs.influxdata.com/influxdb/v1/tools/api/ , https://docs.opengemini.org/
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

V2_WRITE = "/api/v2/write"


SHORT = (
    "while nodes of it are dead its answers leave points out without an error, whatever its ha-policy, and it has no "
    "DELETE: docs/scaling.md"
)
"""Of openGemini 1.3, by `bench/cluster.py`."""


class Erases(StrEnum):
    """How points go."""

    PREDICATE = "/api/v2/delete"
    STATEMENT = "DELETE"
    NOTHING = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A server's name and version, and what it can."""

    name: str
    version: str
    has_buckets: bool
    write_path: str
    erases: Erases
    is_known: bool
    """That it computes as we need it: the store's contract is tested on it."""
    wrong: str = ""
    """What we know to be wrong with it, and no probe could see."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def kind_of(said: Mapping[str, str]) -> Kind:
    """Read the headers of `/ping`, their names in small letters."""
    version = said.get("x-influxdb-version", "").removeprefix("v")
    if version.startswith("1."):
        return Kind("InfluxDB", version, False, V2_WRITE, Erases.STATEMENT, True)
    if version.startswith("2.") or "cloud" in said.get("x-influxdb-build", "").lower():
        return Kind("InfluxDB", version, True, V2_WRITE, Erases.PREDICATE, True)
    if "x-geminidb-version" in said:
        return Kind("openGemini", said["x-geminidb-version"], False, "/write", Erases.NOTHING, False, SHORT)
    return Kind("unknown server", version, False, "/write", Erases.NOTHING, False)
