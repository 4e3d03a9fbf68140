r"""LTSV: values with labels, a tab between them, as http://ltsv.org has it. Pure.

Its labels are read as the keys of a JSON line are (`json_keys.KEYS`), with what LTSV's own page says beyond them:

| label | is |
|---|---|
| `host`, where `vhost` or another name of the server stands beside it | the client's address |
| `host` alone | the server's name: a client chooses it, so it is nobody's address |
| `reqtime_microsec` | the request's time, in microseconds |
| `time:[27/Nov/2026:23:00:29 +0000]` | the time; the brackets may be there or not |

nginx writes a tab in a value as `\x09`. A label that stands twice is a forged one (`escape=none`), or of a second
request: the line is rejected.
"""

import re

from tailtrace_bridge.logs.json_keys import KEYS, KeyedFormat, Line, known_as, named

LABELS_MAX = 100
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,60}):([^\t]*)")
_MICROSECONDS = re.compile(r"[0-9]{1,13}")
_OF_CLIENT = frozenset(KEYS["remote_addr"])
_OF_SERVER = frozenset(KEYS["server_name"]) - {"host"}


def _read(text: str) -> Line | None:
    if "\t" not in text:
        return None
    parts = text.rstrip("\t\r ").split("\t", LABELS_MAX)
    pairs = [_PAIR.fullmatch(part) for part in parts]
    if not all(pairs):
        return None
    found = {known_as(pair[1]): pair[2] for pair in pairs if pair}
    if len(found) != len(pairs):
        return None
    if "host" in found and not _OF_SERVER.isdisjoint(found) and _OF_CLIENT.isdisjoint(found):
        found["remoteaddr"] = found.pop("host")
    took = found.get("reqtimemicrosec", "")
    if _MICROSECONDS.fullmatch(took):
        found["requesttime"] = f"{int(took) / 1e6:.6f}"
    if time := found.get("time"):
        found["time"] = time.removeprefix("[").removesuffix("]")
    return named(found)


LTSV_FORMAT = KeyedFormat("LTSV, read by its labels", "ltsv", _read)


def ltsv_of(text: str) -> KeyedFormat | None:
    """Return LTSV where a line is of it and says enough; None: it is not."""
    return None if _read(text) is None else LTSV_FORMAT
