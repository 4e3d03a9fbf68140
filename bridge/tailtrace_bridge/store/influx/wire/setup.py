"""What must be there before the first write: buckets, each with its retention, that InfluxQL can name.

| what is found | what we do |
|---|---|
| the bucket, with the retention that the settings say | nothing |
| the bucket, with another retention | change it; where the token may not, say so in the log and go on |
| no bucket | make it; where the token may not, `StoreError` with the command that makes it |
| no way for InfluxQL to name the bucket (before 2.1) | make the mapping (DBRP); where the token may not, `StoreError` |
| a server without buckets | make the database, and its retention, by InfluxQL; an unknown one may have another way |

https://docs.influxdata.com/influxdb/v2/api/ , https://docs.influxdata.com/influxdb/v2/query-data/influxql/dbrp/
"""

import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tailtrace_bridge.core.errors import StoreError
from tailtrace_bridge.store.influx.wire.query import InfluxQL, explain, identifier

HOUR_S, DAY_S = 3_600, 86_400
ROLLUPS_SUFFIX = "_rollups"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket, and how long it keeps points: seconds, 0 for ever."""

    name: str
    retention_s: int


def ensure(influx: InfluxQL, url: str, org: str, bucket: Bucket) -> None:
    """Make a bucket, or see that it is right. Raises `StoreError`."""
    if not influx.kind.has_buckets:
        try:
            _ensure_database(influx, bucket)
        except StoreError as error:
            if influx.kind.is_known:
                raise
            _LOGGER.info("%s; is the database made another way there?", error)
        return
    status, found = _call(influx, "GET", "/api/v2/buckets?" + urlencode({"name": bucket.name, "org": org}))
    buckets = found.get("buckets") or []
    if status == 200 and buckets:
        _ensure_retention(influx, bucket, buckets[0])
        _ensure_mapping(influx, url, org, bucket, str(buckets[0]["id"]))
        return
    if status not in {200, 403, 404}:
        raise StoreError(explain(url, bucket.name, status, str(found.get("message", ""))))
    made = _make(influx, org, bucket)
    if made is None:
        raise StoreError(
            f"store {url}: no bucket {bucket.name} that this token can see, and it may make none; "
            f"run `influx bucket create --org {org} --name {bucket.name} --retention {_hours(bucket.retention_s)}` and "
            "give the token read and write access to it"
        )
    _ensure_mapping(influx, url, org, bucket, made)


def _ensure_database(influx: InfluxQL, bucket: Bucket) -> None:
    name = identifier(bucket.name)
    influx.command(bucket.name, f"CREATE DATABASE {name}")
    policies = influx.command(bucket.name, f"SHOW RETENTION POLICIES ON {name}")
    default = next((row[0] for row in policies if row[-1] is True), "autogen")
    # 0: for ever.
    text = f"ALTER RETENTION POLICY {identifier(default)} ON {name} DURATION {bucket.retention_s}s"
    influx.command(bucket.name, text)


def _make(influx: InfluxQL, org: str, bucket: Bucket) -> str | None:
    status, found = _call(influx, "GET", "/api/v2/orgs?" + urlencode({"org": org}))
    orgs = found.get("orgs") or []
    if status != 200 or not orgs:
        return None
    body = {"orgID": orgs[0]["id"], "name": bucket.name, "retentionRules": _rules(bucket.retention_s)}
    status, made = _call(influx, "POST", "/api/v2/buckets", body)
    return str(made["id"]) if status == 201 else None


def _ensure_retention(influx: InfluxQL, bucket: Bucket, found: dict[str, Any]) -> None:
    kept_s = next((rule.get("everySeconds", 0) for rule in found.get("retentionRules") or ()), 0)
    if kept_s == bucket.retention_s:
        return
    body = {"retentionRules": _rules(bucket.retention_s)}
    status, _ = _call(influx, "PATCH", f"/api/v2/buckets/{found['id']}", body)
    if status != 200:
        _LOGGER.warning(
            "bucket %s keeps points for %s, the settings say %s, and this token may not change it: "
            "`influx bucket update --id %s --retention %s`",
            bucket.name, _hours(kept_s), _hours(bucket.retention_s), found["id"], _hours(bucket.retention_s),
        )  # fmt: skip


def _ensure_mapping(influx: InfluxQL, url: str, org: str, bucket: Bucket, bucket_id: str) -> None:
    try:
        influx.query(bucket.name, "SHOW MEASUREMENTS LIMIT 1")
    except StoreError:
        status, found = _call(influx, "GET", "/api/v2/orgs?" + urlencode({"org": org}))
        orgs = found.get("orgs") or [{}]
        body = {
            "bucketID": bucket_id, "orgID": orgs[0].get("id", ""), "database": bucket.name,
            "retention_policy": "autogen", "default": True,
        }  # fmt: skip
        status, _ = _call(influx, "POST", "/api/v2/dbrps", body)
        if status != 201:
            raise StoreError(
                f"store {url}: InfluxQL does not know bucket {bucket.name}, and this token may not change that; run "
                f"`influx v1 dbrp create --org {org} --db {bucket.name} --rp autogen --default --bucket-id {bucket_id}`"
            ) from None


def _call(influx: InfluxQL, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    status, data = influx.call(method, path, body=body)
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    return status, answer if isinstance(answer, dict) else {}


def _rules(retention_s: int) -> list[dict[str, object]]:
    return [{"type": "expire", "everySeconds": retention_s}] if retention_s else []


def _hours(retention_s: int) -> str:
    return f"{retention_s // 3600}h" if retention_s else "0"
