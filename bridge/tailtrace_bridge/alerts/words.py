"""What messages say, in `en` and `es`: short, with numbers, what to do next, and where to look. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from tailtrace_bridge.core.text import printable
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.values import AlertEvent

LINES_MAX = 20
"""Of a message that rolls up."""

# ruff: noqa: E501  # a text stands on one line in each language
_TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "tailtrace: {name} {what}", "started": "started", "ended": "ended", "seen": "seen",
        "uptime.started": "Up {value} of the last {window} (limit {threshold}): in {bad} of {minutes} minutes with requests all answers were 5xx.",
        "uptime.ended": "Up {value} of the last {window}, after {lasted}.",
        "error_rate.started": "Error rate {value} in the last {window} (limit {threshold}): {errors} of {requests} requests ended in 5xx.",
        "error_rate.ended": "Error rate {value} in the last {window}, {errors} of {requests} requests; it was high for {lasted}.",
        "p95.started": "p95 {value} in the last {window} (limit {threshold}), of {requests} requests.",
        "p95.ended": "p95 {value} in the last {window}, of {requests} requests; it was slow for {lasted}.",
        "no_data.started": "No request for {value}.",
        "no_data.ended": "Requests come again, after {lasted}.",
        "endpoint_silent.started": "No request in the last {window}.",
        "endpoint_silent.ended": "Requests come again, after {lasted}.",
        "new_device.seen": "New device: {subject}",
        "new_user.seen": "New user: {subject}",
        "tailscaled_down.started": "tailscaled cannot be asked: {problem}",
        "tailscaled_down.ended": "tailscaled answers again, after {lasted}.",
        "store_down.started": "The store fails: {problem}",
        "store_down.ended": "The store works again, after {lasted}.",
        "removed": "The rule was taken out of the settings.",
        "where": "Endpoint {endpoint}.", "service": "Service {service}.", "of": "{device} of {user}",
        "uptime.next": "Next: `tailtrace report --hours 1`, the app's log, and nginx's error log where it is 502 or 504.",
        "error_rate.next": "Next: `tailtrace report --hours 1`, then the app's log of that time.",
        "p95.next": "Next: the slowest endpoints in `tailtrace report --hours 1`.",
        "no_data.next": "Next: `tailtrace doctor` checks nginx, its log and the bridge.",
        "endpoint_silent.next": "Next: does what calls it still run, and is its route still the same?",
        "new_device.next": "Next: if nobody knows it, take it off the tailnet.",
        "new_user.next": "Next: if nobody knows them, take them off the tailnet.",
        "tailscaled_down.next": "Next: `tailscale status` on that machine. Until then new addresses have no name.",
        "store_down.next": "Next: `tailtrace doctor`. Lines wait in the log; none is lost.",
        "quiet.title": "tailtrace: {count} alerts of the quiet hours", "more": "… and {count} more",
        "since": "Since {time}.", "test.title": "tailtrace: test", "test": "If you can read this, alerts arrive here.",
    },
    "es": {
        "title": "tailtrace: {name} {what}", "started": "empieza", "ended": "termina", "seen": "visto",
        "uptime.started": "Disponible el {value} de los últimos {window} (límite {threshold}): en {bad} de {minutes} minutos con peticiones todo fue 5xx.",
        "uptime.ended": "Disponible el {value} de los últimos {window}, tras {lasted}.",
        "error_rate.started": "Tasa de errores {value} en los últimos {window} (límite {threshold}): {errors} de {requests} peticiones acabaron en 5xx.",
        "error_rate.ended": "Tasa de errores {value} en los últimos {window}, {errors} de {requests} peticiones; estuvo alta {lasted}.",
        "p95.started": "p95 {value} en los últimos {window} (límite {threshold}), de {requests} peticiones.",
        "p95.ended": "p95 {value} en los últimos {window}, de {requests} peticiones; estuvo lento {lasted}.",
        "no_data.started": "Ninguna petición desde hace {value}.",
        "no_data.ended": "Vuelven las peticiones, tras {lasted}.",
        "endpoint_silent.started": "Ninguna petición en los últimos {window}.",
        "endpoint_silent.ended": "Vuelven las peticiones, tras {lasted}.",
        "new_device.seen": "Dispositivo nuevo: {subject}",
        "new_user.seen": "Usuario nuevo: {subject}",
        "tailscaled_down.started": "No se puede preguntar a tailscaled: {problem}",
        "tailscaled_down.ended": "tailscaled responde de nuevo, tras {lasted}.",
        "store_down.started": "El almacén falla: {problem}",
        "store_down.ended": "El almacén funciona de nuevo, tras {lasted}.",
        "removed": "La regla se quitó de los ajustes.",
        "where": "Ruta {endpoint}.", "service": "Servicio {service}.", "of": "{device} de {user}",
        "uptime.next": "Ahora: `tailtrace report --hours 1`, el log de la app y el de errores de nginx si es 502 o 504.",
        "error_rate.next": "Ahora: `tailtrace report --hours 1`, y el log de la app de esa hora.",
        "p95.next": "Ahora: las rutas más lentas en `tailtrace report --hours 1`.",
        "no_data.next": "Ahora: `tailtrace doctor` revisa nginx, su log y el puente.",
        "endpoint_silent.next": "Ahora: ¿sigue en marcha lo que la llama, y su ruta es la misma?",
        "new_device.next": "Ahora: si nadie lo conoce, quítalo de la tailnet.",
        "new_user.next": "Ahora: si nadie lo conoce, quítalo de la tailnet.",
        "tailscaled_down.next": "Ahora: `tailscale status` en esa máquina. Hasta entonces las direcciones nuevas no tienen nombre.",
        "store_down.next": "Ahora: `tailtrace doctor`. Las líneas esperan en el log; no se pierde ninguna.",
        "quiet.title": "tailtrace: {count} alertas de las horas de silencio", "more": "… y {count} más",
        "since": "Desde las {time}.", "test.title": "tailtrace: prueba", "test": "Si lees esto, las alertas llegan aquí.",
    },
}  # fmt: skip


class Words:
    """Writes in one language. `public_url` is where people find the dashboard, or empty."""

    def __init__(self, lang: str, zone: ZoneInfo, public_url: str = "") -> None:
        self._texts, self._is_comma = _TEXTS[lang], lang == "es"
        self._zone, self._url = zone, public_url

    def say(self, key: str, **values: object) -> str:
        """Return a text with its values."""
        return self._texts[key].format(**values)

    def event(self, rule: AlertRule, what: str, value: float | None, facts: Mapping[str, object]) -> str:
        """Say what happened, in one line. `facts` are the numbers that the text of the kind asks for."""
        text = self.say(
            f"{rule.kind}.{what}",
            value=self.value(rule.kind, value),
            threshold=self.value(rule.kind, rule.threshold),
            window=duration(rule.window),
            **{name: printable(fact, 300) if isinstance(fact, str) else fact for name, fact in facts.items()},
        )
        return " ".join([text, *self._scope(rule)])

    def title(self, rule_name: str, what: str) -> str:
        """Return a message's title."""
        return self.say("title", name=rule_name, what=self.say(what))

    def message(self, kind: str, texts: Sequence[str], *, is_bad: bool) -> str:
        """Put a message together: what happened, what to do, where to look."""
        lines = list(texts[:LINES_MAX])
        if len(texts) > LINES_MAX:
            lines.append(self.say("more", count=len(texts) - LINES_MAX))
        if is_bad and f"{kind}.next" in self._texts:
            lines.append(self.say(f"{kind}.next"))
        return "\n".join([*lines, self._url] if self._url else lines)

    def since(self, time_us: int) -> str:
        """Say since when it has been so."""
        return self.say("since", time=self.clock(time_us))

    def quiet(self, events: Sequence[AlertEvent]) -> tuple[str, str]:
        """Sum up what happened in quiet hours: title and body."""
        lines = [f"{self.clock(one.time_us)} {one.rule}: {one.text}" for one in events]
        return self.say("quiet.title", count=len(events)), self.message("", lines, is_bad=False)

    def clock(self, time_us: int) -> str:
        """Return the time of the day."""
        return datetime.fromtimestamp(time_us / 1e6, self._zone).strftime("%H:%M")

    def value(self, kind: str, value: float | None) -> str:
        """Return a value of a kind, with its unit."""
        if value is None:
            return "?"
        if kind == "p95":
            return self._number(f"{value / 1000:.2f} s" if value >= 1000 else f"{value:.0f} ms")
        if kind == "no_data":
            return duration(value)
        return self._number(f"{100 * value if kind == 'error_rate' else value:.4g}%")

    def _number(self, text: str) -> str:
        return text.replace(".", ",") if self._is_comma else text

    def _scope(self, rule: AlertRule) -> list[str]:
        scope = [("where", {"endpoint": rule.endpoint})] if rule.endpoint else []
        scope += [("service", {"service": rule.service})] if rule.service else []
        return [self.say(key, **values) for key, values in scope]


def duration(span_s: float) -> str:
    """Return a span of time in its two largest units: `90 s`, `5 min`, `1 h 20 min`, `2 d 3 h`."""
    minutes = round(span_s / 60)
    if span_s < 120:
        return f"{span_s:.0f} s" if span_s % 60 else f"{minutes} min"
    for large, small, names in ((1440, 60, "d h"), (60, 1, "h min")):
        if minutes >= large:
            first, second = names.split()
            rest = minutes % large // small
            return f"{minutes // large} {first}" + (f" {rest} {second}" if rest else "")
    return f"{minutes} min"
