"""What the monthly report says, in `en` and `es`, and how each writes numbers and dates (by CLDR, through Babel).

A text with a number comes in two forms, `….one` and `….other`; both languages have the same keys, as a test checks.
"""

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from typing import Literal

from babel.dates import format_date, format_skeleton, get_day_names
from babel.numbers import format_decimal

from tailtrace_api.monthly.month import Month

LANGUAGES = ("en", "es")
_LOCALES = {"en": "en_GB", "es": "es"}
_DAYS = {"en": "EEEE d MMMM", "es": "EEEE d 'de' MMMM"}

# ruff: noqa: E501  # a text stands on one line in each language
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Usage report, {month}",
        "kicker": "Monthly usage report",
        "window": "{first} to {last} · times in {zone}",
        "until": "until now: {day}, {time}",
        "compared": "compared with {month}",
        "compared.part": "compared with as much of {month}",
        "made": "Made by tailtrace from the web server's log.",
        "requests.one": "{n} request", "requests.other": "{n} requests",
        "people.one": "{n} person", "people.other": "{n} people",
        "sessions.one": "{n} session", "sessions.other": "{n} sessions",
        "errors.one": "{n} server error", "errors.other": "{n} server errors",
        "minutes.one": "{n} minute", "minutes.other": "{n} minutes",
        "more.one": "and {n} more", "more.other": "and {n} more",
        "lead": "{people} used the service in {sessions} and made {requests}.",
        "lead.unnamed": "Nobody with a name used the service: services, and addresses without a name, made {requests} in {sessions}.",
        "lead.more": "That is {share} more requests than in {month}.",
        "lead.less": "That is {share} fewer requests than in {month}.",
        "lead.same": "That is about as many requests as in {month}.",
        "lead.busiest": "The busiest day was {day}, the busiest time {weekday} at {hour}.",
        "lead.fine": "It was up in every minute with traffic, without a server error.",
        "lead.up": "It was up in every minute with traffic, with {errors} in all traffic.",
        "lead.down": "It answered in {uptime} of the minutes with traffic: in {down} there was no good answer at all, with {errors} in all traffic.",
        "no-before": "Nothing is stored of {month}, so there is nothing to compare with.",
        "part-before": "What is stored begins on {day}: {month} is not whole, and is not compared.",
        "began": "What is stored begins on {day}.",
        "nothing": "Nothing is stored of this month: not one request.",
        "nothing.do": "If people did use the service, look at TAILTRACE_LOG and run `tailtrace doctor`; `tailtrace import FILE` reads older logs.",
        "no-usage": "Nobody used the service this month: all that was stored are health checks, robots and files.",
        "kpi.requests": "Requests", "kpi.people": "People", "kpi.sessions": "Sessions",
        "kpi.errors": "Server errors, all traffic", "kpi.uptime": "Uptime, all traffic", "kpi.p95": "Response time, p95",
        "kpi.before": "before: {value}", "points.one": "{n} point", "points.other": "{n} points",
        "kpi.note": "Requests, people and sessions are usage, the response time that of the app. All traffic was {requests}: {apart} more than usage, for health checks, robots and files.",
        "empty.errors": "no server errors", "empty.times": "no data: the log has no response times", "empty.usage": "no usage",
        "days": "Day by day", "days.note": "Requests on each day; weekends lighter.",
        "hours": "When people work with it", "hours.note": "Requests by weekday and hour; the darker, the more.",
        "people": "People", "people.note": "Who used it most, of {people}.",
        "name": "Name", "requests": "Requests", "before": "Before", "sessions": "Sessions", "time": "Time", "favorite": "Uses most",
        "people.new": "New this month:", "people.gone": "Not seen again:",
        "people.unnamed": "Services, and addresses without a name, made {requests}: in the numbers of the month, but nobody's.",
        "people.none": "Nobody with a name used the service.",
        "features": "Features", "features.note": "What was used most, of {n} in use.", "feature": "Feature", "users": "People",
        "cards": "Cards looked at", "card": "Card", "views": "Views",
        "health": "Health", "health.errors": "Server errors by day, of all traffic", "health.p95": "Response time by day: 95% of all requests took no longer",
        "health.good": "No server errors, and no minute without a good answer.",
        "slowest": "Slowest endpoints", "slowest.note": "Half of the requests took no longer than p50, 95% no longer than p95; “app” is the application's own part of p95.",
        "slowest.none": "No endpoint had enough timed requests to tell.",
        "endpoint": "Endpoint", "p50": "p50", "p95": "p95", "p99": "p99", "app": "app",
        "failing": "Where the errors were", "failing.note": "Of requests to the app; the rest of the errors were in other traffic.", "errors": "Errors", "rate": "Rate",
        "changed": "What changed", "changed.note": "Against {month}; only what the numbers bear.",
        "changed.none": "Nothing that the numbers bear.",
        "changed.cannot": "There is no whole month before to compare with.",
        "moved": "Used more, used less", "came": "New, gone", "speed": "Slower, faster",
        "new": "new", "gone": "gone",
        "unused": "What nobody uses", "unused.note": "{n} of {known} known routes had no request this month; “earlier” counts those of the 90 days before.",
        "unused.none": "Every known route was used.",
        "unused.unknown": "No routes are known: set TAILTRACE_OPENAPI to the app's openapi.json.",
        "unused.earlier": "earlier: {n}",
        "table.now": "this month", "table.before": "before", "table.change": "change",
    },
    "es": {
        "title": "Informe de uso, {month}",
        "kicker": "Informe mensual de uso",
        "window": "Del {first} al {last} · horas de {zone}",
        "until": "hasta ahora: {day}, {time}",
        "compared": "comparado con {month}",
        "compared.part": "comparado con el mismo tramo de {month}",
        "made": "Hecho por tailtrace a partir del registro del servidor web.",
        "requests.one": "{n} acceso", "requests.other": "{n} accesos",
        "people.one": "{n} persona", "people.other": "{n} personas",
        "sessions.one": "{n} sesión", "sessions.other": "{n} sesiones",
        "errors.one": "{n} error del servidor", "errors.other": "{n} errores del servidor",
        "minutes.one": "{n} minuto", "minutes.other": "{n} minutos",
        "more.one": "y {n} más", "more.other": "y {n} más",
        "lead": "Uso del servicio: {people}, {sessions} y {requests}.",
        "lead.unnamed": "Nadie con nombre usó el servicio: los servicios y las direcciones sin nombre hicieron {requests} en {sessions}.",
        "lead.more": "Son un {share} más de accesos que en {month}.",
        "lead.less": "Son un {share} menos de accesos que en {month}.",
        "lead.same": "Son más o menos los mismos accesos que en {month}.",
        "lead.busiest": "El día con más uso fue el {day}; el momento de más uso, el {weekday} a las {hour}.",
        "lead.fine": "Estuvo disponible en todos los minutos con tráfico, sin errores del servidor.",
        "lead.up": "Estuvo disponible en todos los minutos con tráfico, con {errors} en todo el tráfico.",
        "lead.down": "Respondió en el {uptime} de los minutos con tráfico: {down} sin ninguna respuesta buena, con {errors} en todo el tráfico.",
        "no-before": "No hay nada guardado de {month}, así que no hay con qué comparar.",
        "part-before": "Lo guardado empieza el {day}: {month} no está completo y no se compara.",
        "began": "Lo guardado empieza el {day}.",
        "nothing": "No hay nada guardado de este mes: ni un solo acceso.",
        "nothing.do": "Si el servicio sí se usó, revise TAILTRACE_LOG y ejecute `tailtrace doctor`; `tailtrace import FILE` lee registros antiguos.",
        "no-usage": "Nadie usó el servicio este mes: todo lo guardado son comprobaciones de salud, robots y ficheros.",
        "kpi.requests": "Accesos", "kpi.people": "Personas", "kpi.sessions": "Sesiones",
        "kpi.errors": "Errores del servidor, todo el tráfico", "kpi.uptime": "Disponibilidad, todo el tráfico", "kpi.p95": "Tiempo de respuesta, p95",
        "kpi.before": "antes: {value}", "points.one": "{n} punto", "points.other": "{n} puntos",
        "kpi.note": "Accesos, personas y sesiones son uso; el tiempo de respuesta, el de la aplicación. Todo el tráfico fueron {requests}: {apart} más que el uso, por comprobaciones de salud, robots y ficheros.",
        "empty.errors": "sin errores del servidor", "empty.times": "sin datos: el registro no tiene tiempos de respuesta", "empty.usage": "sin uso",
        "days": "Día a día", "days.note": "Accesos de cada día; los fines de semana, más claros.",
        "hours": "Cuándo se trabaja con él", "hours.note": "Accesos por día de la semana y hora; cuanto más oscuro, más.",
        "people": "Personas", "people.note": "Quién más lo usó, de {people}.",
        "name": "Nombre", "requests": "Accesos", "before": "Antes", "sessions": "Sesiones", "time": "Tiempo", "favorite": "Usa más",
        "people.new": "Nuevas este mes:", "people.gone": "No han vuelto:",
        "people.unnamed": "Servicios y direcciones sin nombre hicieron {requests}: están en las cifras del mes, pero no son de nadie.",
        "people.none": "Nadie con nombre usó el servicio.",
        "features": "Funciones", "features.note": "Lo que más se usó, de {n} en uso.", "feature": "Función", "users": "Personas",
        "cards": "Tarjetas vistas", "card": "Tarjeta", "views": "Vistas",
        "health": "Salud", "health.errors": "Errores del servidor por día, de todo el tráfico", "health.p95": "Tiempo de respuesta por día: el 95 % de los accesos no tardó más",
        "health.good": "Sin errores del servidor y sin ningún minuto sin respuesta buena.",
        "slowest": "Los endpoints más lentos", "slowest.note": "La mitad de los accesos no tardó más que p50, el 95 % no más que p95; «app» es la parte de p95 de la propia aplicación.",
        "slowest.none": "Ningún endpoint tuvo bastantes accesos medidos.",
        "endpoint": "Endpoint", "p50": "p50", "p95": "p95", "p99": "p99", "app": "app",
        "failing": "Dónde hubo errores", "failing.note": "De los accesos a la aplicación; los demás errores fueron de otro tráfico.", "errors": "Errores", "rate": "Tasa",
        "changed": "Qué ha cambiado", "changed.note": "Respecto a {month}; solo lo que las cifras sostienen.",
        "changed.none": "Nada que las cifras sostengan.",
        "changed.cannot": "No hay un mes anterior completo con el que comparar.",
        "moved": "Más usado, menos usado", "came": "Nuevo, desaparecido", "speed": "Más lento, más rápido",
        "new": "nuevo", "gone": "sin uso",
        "unused": "Lo que nadie usa", "unused.note": "{n} de {known} rutas conocidas no tuvieron ningún acceso este mes; «antes» cuenta los de los 90 días anteriores.",
        "unused.none": "Todas las rutas conocidas se usaron.",
        "unused.unknown": "No se conoce ninguna ruta: ponga en TAILTRACE_OPENAPI el openapi.json de la aplicación.",
        "unused.earlier": "antes: {n}",
        "table.now": "este mes", "table.before": "antes", "table.change": "cambio",
    },
}  # fmt: skip
NONE = "–"
"""What is not known."""


class Words:
    """One language. Numbers and dates come out as a reader of it writes them."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self._texts = TEXTS[lang]
        self._locale = _LOCALES[lang]

    def __call__(self, key: str, **values: str) -> str:
        """Return a text."""
        return self._texts[key].format(**values)

    def count(self, key: str, n: float) -> str:
        """Return a text about so many: `1 request`, `2 requests`."""
        return self._texts[f"{key}.{'one' if n == 1 else 'other'}"].format(n=self.number(n))

    def number(self, value: float) -> str:
        """`12345` → `12,345`; fractions keep two digits at most."""
        return str(format_decimal(value, "#,##0.##", locale=self._locale))

    def short(self, value: float) -> str:
        """`12345` → `12k`: for an axis."""
        if value >= 1_000_000:
            return f"{self.number(round(value / 1_000_000, 1))}M"
        return f"{self.number(round(value / 1000, 1))}k" if value >= 10_000 else self.number(value)

    def percent(self, part: float | None, digits: int = 0) -> str:
        """`0.1234` → `12%`, in Spanish `12 %`."""
        if part is None:
            return NONE
        text = format_decimal(100 * part, "#,##0" + ("." + "#" * digits if digits else ""), locale=self._locale)
        return f"{text}\N{NO-BREAK SPACE}%" if self.lang == "es" else f"{text}%"

    def duration(self, value_ms: float | None) -> str:
        """`83.1` → `83 ms`, `1530` → `1.5 s`."""
        if value_ms is None:
            return NONE
        if value_ms >= 999.5:
            return f"{self._tenths(value_ms / 1000)}\N{NO-BREAK SPACE}s"
        return f"{self.number(round(value_ms, 0 if value_ms >= 10 else 1))}\N{NO-BREAK SPACE}ms"

    def hours(self, value: float) -> str:
        """`0.2` → `12 min`, `3.25` → `3.3 h`."""
        if value < 1:
            return f"{round(60 * value)}\N{NO-BREAK SPACE}min"
        return f"{self._tenths(value)}\N{NO-BREAK SPACE}h"

    def _tenths(self, value: float) -> str:
        return str(format_decimal(value, "#,##0.0", locale=self._locale))

    def month(self, month: Month) -> str:
        """`October 2025`, `octubre de 2025`."""
        return str(format_skeleton("yMMMM", month.first, locale=self._locale))

    def month_name(self, month: Month) -> str:
        """`October`, `octubre`: where the year is plain."""
        return str(format_date(month.first, "LLLL", locale=self._locale))

    def day(self, day: date) -> str:
        """`3 October 2025`, `3 de octubre de 2025`."""
        return str(format_date(day, "long", locale=self._locale))

    def short_day(self, day: date) -> str:
        """`Friday 3 October`, `viernes 3 de octubre`."""
        return str(format_date(day, _DAYS[self.lang], locale=self._locale))

    def time(self, time_us: int, zone: tzinfo) -> tuple[str, str]:
        """Return day and time of day."""
        local = datetime.fromtimestamp(time_us / 1e6, zone)
        return self.day(local.date()), f"{local:%H:%M}"

    def weekdays(self, width: Literal["abbreviated", "wide"] = "abbreviated") -> list[str]:
        """Return the names of the days, Monday first."""
        names = get_day_names(width, locale=self._locale)
        return [str(names[index]) for index in range(7)]
