"""Which version of an app is running, by what its spans say: a change is a deployment. Pure.

| spans say | it is |
|---|---|
| a version that the service was never seen with, or not for `FORGET_S` | a deployment: a marker |
| one that was seen since | nothing: both versions run while one takes the other's place |
| the newest, after however long a silence | nothing: nobody asked |
| none | nothing |
"""

from collections.abc import Iterable

from tailtrace_bridge.core.records import Marker, WholeSpan

FORGET_S = 600.0
SERVICES_MAX = 200
VERSIONS_MAX = 20
"""Of one service at a time."""


class Versions:
    """For one thread at a time; `known` are the markers of before."""

    def __init__(self, known: Iterable[Marker], now_s: float) -> None:
        self._seen: dict[str, dict[str, float]] = {}
        self._newest: dict[str, str] = {}
        for marker in known:
            if marker.kind == "version":
                self._seen[marker.service] = {marker.text: now_s}
                self._newest[marker.service] = marker.text

    def changes(self, spans: Iterable[WholeSpan], now_s: float, now_us: int) -> list[Marker]:
        """Return a marker for each service that runs another version now."""
        found: list[Marker] = []
        for service, version in {(one.service, one.version) for one in spans if one.version}:
            of_service = self._seen.get(service)
            if of_service is None:
                if len(self._seen) >= SERVICES_MAX:
                    continue
                of_service = self._seen[service] = {}
            last_s = of_service.pop(version, None)
            is_new = last_s is None or now_s - last_s > FORGET_S
            if is_new and version != self._newest.get(service):
                self._newest[service] = version
                found.append(Marker(now_us, "version", service, version))
            of_service[version] = now_s
            if len(of_service) > VERSIONS_MAX:
                del of_service[next(iter(of_service))]
        return found
