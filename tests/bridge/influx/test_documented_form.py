"""A rollup read as docs/influxdb.md says, by a program that knows nothing of ours."""

import base64
import json
import struct
import zlib

from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.store.influx.rollups.encoding import Kind, Tables, document

ANA = Identity("100.64.0.7", "user", "ana@example.com", "laptop")


def read_as_documented(text):
    raw = zlib.decompress(base64.b64decode(text))
    place = raw.index(b"\n") + 1
    head, columns = json.loads(raw[:place]), []
    for how in head["columns"]:
        size = struct.calcsize(how["code"])
        cells = struct.unpack(f"<{how['bytes'] // size}{how['code']}", raw[place : place + how["bytes"]])
        place += how["bytes"]
        if "texts" in how:
            columns.append([how["texts"][cell] for cell in cells])
        else:
            columns.append([None if "none" in how and not cell else cell + how["base"] for cell in cells])
    return head, list(zip(*columns, strict=True))


def test_usage_is_read_as_the_page_says():
    tables = Tables()
    identity, endpoint = tables.identities[ANA], tables.endpoints[("shop", "/items/{item_id}")]
    big = 2**40
    rows = [
        (identity, endpoint, "GET", 200, 0, 3, 3, big, 2, 900, 70_000),
        (identity, endpoint, "POST", 500, 0, 1, 0, 0, 0, 0, -5),
    ]
    head, read = read_as_documented(document(Kind.USAGE, rows, tables))
    assert read == rows
    assert head["identities"][0][:4] == ["100.64.0.7", "user", "ana@example.com", "laptop"]
    assert head["endpoints"] == [["shop", "/items/{item_id}"]]
