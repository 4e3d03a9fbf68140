"""What a rule of `[[alerts]]` in `tailtrace.toml` may say, and what it means where it says nothing. Pure.

| kind | fires when, over `window` | `threshold` | ends at `clear` | window | for | min_requests |
|---|---|---|---|---|---|---|
| `uptime` | minutes not down over minutes with answers, percent, are below | 99 | half way to 100 | 15m | 2m | 20 |
| `error_rate` | 5xx over all requests, 0 to 1, is above | 0.05 | half of it | 5m | 2m | 20 |
| `p95` | nginx's time of 95 in 100 requests, ms, is above | 1000 | 0.8 of it | 10m | 2m | 20 |
| `no_data` | no request at all came | | | 30m | 1m | |
| `endpoint_silent` | no request for `endpoint` came, and there was one before | | | 1h | 1m | |
| `new_device`, `new_user` | one is seen for the first time ever; a new store learns for `window` first | | | 1d | | |
| `new_error` | a group of errors is seen for the first time ever | | | | | |
| `error_back` | a group comes again that was mended, or silent for a week | | | | | |
| `tailscaled_down` | tailscaled does not answer, or does not run | | | | 2m | |
| `store_down` | the store does not answer, or takes no rows | | | | 2m | |

`for` is how long it must hold before it starts, and how long the contrary must hold before it ends.
"""

import re
from datetime import datetime, time
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tailtrace_bridge.core.text import quoted

RULES_MAX = 50
WINDOW_S_MAX = 86_400
"""The store has rollups by minute for a day."""
_DURATION = re.compile(r"(\d{1,6})\s*([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
RATES = frozenset({"uptime", "error_rate", "p95"})
SEEN = frozenset({"new_device", "new_user"})
BROKEN = frozenset({"new_error", "error_back"})
SILENCES = frozenset({"no_data", "endpoint_silent"})
PROBES = frozenset({"tailscaled_down", "store_down"})
Kind = Literal[
    "uptime", "error_rate", "p95", "no_data", "endpoint_silent", "new_device", "new_user", "tailscaled_down",
    "store_down", "new_error", "error_back",
]  # fmt: skip
_WINDOW_S = {"uptime": 900, "error_rate": 300, "p95": 600, "no_data": 1800, "new_device": 86_400, "new_user": 86_400}
_THRESHOLD = {"uptime": 99.0, "error_rate": 0.05, "p95": 1000.0}
_LIMIT = {"uptime": 100.0, "error_rate": 1.0, "p95": 86_400_000.0}
"""A threshold has this at most."""


def seconds(value: object) -> object:
    """Read `90s`, `5m`, `2h` or `1d`; a number is seconds already."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{quoted(value)} is no duration; write one like 90s, 5m, 2h or 1d")
        return int(match[1]) * _UNITS_S[match[2]]
    return value


Seconds = Annotated[int, BeforeValidator(seconds)]


def quiet_hours(value: str) -> str:
    """Check `22:00-07:00`; empty is none. Raises ValueError."""
    if value and (_QUIET.fullmatch(value) is None or value[:5] == value[6:]):
        raise ValueError(f"{quoted(value)} are no quiet hours; write them like 22:00-07:00")
    return value


def is_quiet(hours: str, now_us: int, zone: ZoneInfo) -> bool:
    """Return whether a wall clock in `zone` is within `hours`: start included, end not, over midnight where it must.

    A day that has 23 or 25 hours has its quiet ones by the clock all the same.
    """
    match = _QUIET.fullmatch(hours)
    if match is None:
        return False
    start, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    now = datetime.fromtimestamp(now_us / 1e6, zone).time()
    return start <= now < end if start < end else now >= start or now < end


class AlertRule(BaseModel):
    """One table `[[alerts]]`. After it is made, nothing in it is None but what means `any`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    kind: Kind
    name: Annotated[str, Field(max_length=60, pattern=r"^[\w .:/{}-]*$")] = ""
    """Under which it is told and remembered; the kind where there is none. No two rules share one."""
    window: Annotated[Seconds, Field(ge=60, le=WINDOW_S_MAX)] = 3600
    threshold: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    clear: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    hold: Annotated[Seconds, Field(alias="for", ge=0, le=WINDOW_S_MAX)] = 120
    min_requests: Annotated[int, Field(ge=1, le=1_000_000_000)] = 20
    endpoint: Annotated[str | None, Field(min_length=1, max_length=512)] = None
    service: Annotated[str | None, Field(min_length=1, max_length=256)] = None
    quiet: str | None = None
    """None: the quiet hours of the settings; empty: none."""

    _check_quiet = field_validator("quiet")(lambda value: value if value is None else quiet_hours(value))

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        """Fill in what the kind makes of what is not said."""
        if not isinstance(data, dict) or not isinstance(data.get("kind"), str):
            return data
        kind = data["kind"]
        brief = 60 if kind in SILENCES else 120
        return {"name": kind, "window": _WINDOW_S.get(kind, 3600)} | ({} if "hold" in data else {"for": brief}) | data

    @model_validator(mode="after")
    def _fits_the_kind(self) -> "AlertRule":
        kind = self.kind
        self.name = self.name or kind
        if kind not in RATES:
            if self.threshold is not None or self.clear is not None:
                raise ValueError(f"{kind} has no threshold and no clear: take them out")
            if (self.endpoint or self.service) and kind != "endpoint_silent":
                raise ValueError(f"{kind} is not about an endpoint or a service: take these out")
        if kind == "endpoint_silent" and self.endpoint is None:
            raise ValueError('endpoint_silent needs an endpoint: add endpoint = "/items/{item_id}"')
        if kind not in RATES:
            return self
        if self.threshold is None:
            self.threshold = _THRESHOLD[kind]
        if self.threshold > _LIMIT[kind]:
            raise ValueError(f"threshold {self.threshold:g} of {kind} is more than {_LIMIT[kind]:g}{_unit(kind)}")
        if self.clear is None:
            self.clear = _clear(kind, self.threshold)
        if (self.clear < self.threshold) if kind == "uptime" else (self.clear > self.threshold):
            side = "above" if kind == "uptime" else "below"
            raise ValueError(f"clear {self.clear:g} of {kind} must be {side} its threshold {self.threshold:g}")
        return self

    def is_bad(self, value: float) -> bool:
        """Return whether a value starts the alert."""
        if self.threshold is None:
            return value > 0
        return value < self.threshold if self.kind == "uptime" else value > self.threshold

    def is_good(self, value: float) -> bool:
        """Return whether a value ends the alert."""
        if self.clear is None:
            return value <= 0
        return value >= self.clear if self.kind == "uptime" else value <= self.clear


def check_names(rules: list[AlertRule]) -> list[AlertRule]:
    """Raise ValueError where two rules share a name, or there are too many."""
    if len(rules) > RULES_MAX:
        raise ValueError(f"{len(rules)} rules; there may be {RULES_MAX}")
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'two rules are called {name!r}: give each a name = "…" of its own')
    return rules


def _clear(kind: str, threshold: float) -> float:
    return {"uptime": (threshold + 100) / 2, "error_rate": threshold / 2}.get(kind, threshold * 0.8)


def _unit(kind: str) -> str:
    return {"uptime": " (percent)", "error_rate": ": it is a share, 0.05 is 5%"}.get(kind, " ms")
