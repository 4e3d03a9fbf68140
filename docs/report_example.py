# ruff: noqa: INP001 - a script, not a package
"""Write the example of the monthly report: `make report-example`.

| file | is |
|---|---|
| `docs/report-example.pdf` | October 2025 of a chocolate factory: invented people, the same ones each time |
| `docs/images/report-example.png` | its first page |
"""

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tailtrace_api.monthly.month import Month
from tailtrace_api.monthly.report import make
from tailtrace_bridge.core.records import Access, Identity, Marker, Row, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore

DOCS = Path(__file__).resolve().parent
ZONE = ZoneInfo("Europe/Madrid")
MONTH = Month(2025, 10)
MADE_US = round(datetime(2025, 11, 1, 8, tzinfo=ZONE).timestamp()) * 1_000_000
PEOPLE = (
    ("ana@factory.example", 9), ("luis@factory.example", 8), ("marta@factory.example", 6), ("kenji@factory.example", 5),
    ("李小龙@factory.example", 4), ("Юлия Петрова", 3), ("فاطمة الزهراء", 3), ("priya@factory.example", 2),
    ("नेहा शर्मा", 2), ("André 🍫", 1), ("김민준@factory.example", 1),
)  # fmt: skip
FEATURES = (  # route, name, weight before, weight now, milliseconds before and now
    ("/dashboard/complete", "Factory dashboard", 30, 31, 60, 60),
    ("/predict/prices/weekly", "Weekly price forecast", 14, 22, 420, 410),
    ("/insights/optimal-windows", "Best hours to produce", 12, 12, 140, 150),
    ("/batches/{batch_id}", "Batch record", 16, 15, 45, 48),
    ("/analysis/siar-summary", "Climate summary", 8, 8, 260, 700),
    ("/optimize/production/daily", "Daily production plan", 9, 5, 1500, 900),
    ("/quality/samples", "Quality samples", 0, 4, 90, 90),
    ("/exports/monthly", "Monthly export", 2, 0, 800, 800),
)
UNUSED = (
    ("/suppliers", "Suppliers"), ("/suppliers/{supplier_id}", "Supplier"), ("/reports/legacy", "Old report"),
    ("/alerts/rules", "Alert rules"), ("/recipes/{recipe_id}/history", "History of a recipe"),
)  # fmt: skip
CARDS = ("prices", "energy", "quality", "weather")


def rows(chance: random.Random) -> Iterator[Row]:
    """Return the requests of September and October: office hours, sessions, a bad morning on 14 October."""
    key = 0
    day = date(2025, 9, 1)
    while day < date(2025, 11, 1):
        now = day.month == MONTH.number
        busy = (0.12 if day.weekday() >= 5 else 1.0) * (1.15 if now else 1.0) * chance.uniform(0.8, 1.2)
        people = PEOPLE if now else PEOPLE[:-2]
        for user, weight in people:
            for _ in range(chance.choices((0, 1, 2, 3), (3, weight, weight / 2, weight / 4))[0]):
                if chance.random() > busy:
                    continue
                hour = min(21, max(6, chance.gauss(chance.choice((9.5, 12, 16)), 1.3)))
                start = datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(hours=hour)
                time_us = round(start.timestamp() * 1e6)
                who = Identity(f"100.64.0.{10 + PEOPLE.index((user, weight))}", "user", user, f"laptop-{weight}")
                for _ in range(chance.randrange(4, 22)):
                    time_us += round(chance.expovariate(1 / 70) * 1e6)
                    key += 1
                    yield request(chance, time_us, key, who, now=now)
        for minute in range(0, 24 * 60, 30):
            key += 1
            start = datetime(day.year, day.month, day.day, tzinfo=ZONE) + timedelta(minutes=minute)
            kiosk = Identity("100.64.0.90", "tagged", "", "floor-kiosk", "", "tag:kiosk")
            down = day == date(2025, 10, 14) and 7 * 60 <= minute < 8 * 60 + 30
            yield row(round(start.timestamp() * 1e6), key, kiosk, "/dashboard/complete", 502 if down else 200, 55_000)
        day += timedelta(days=1)


def request(chance: random.Random, time_us: int, key: int, who: Identity, *, now: bool) -> Row:
    """Make one request of a person."""
    if chance.random() < 0.06:
        card = chance.choices(CARDS, (5, 3, 2, 1))[0]
        return row(time_us, key, who, f"/_tailtrace/view?card={card}", 204, 1000, Traffic.CARD)
    route, _, *_weights, slow_before, slow_now = chance.choices(FEATURES, [one[3 if now else 2] for one in FEATURES])[0]
    taken_us = round((slow_now if now else slow_before) * 1000 * chance.lognormvariate(0, 0.5))
    failing = 0.02 if route == "/optimize/production/daily" else 0.0008
    return row(time_us, key, who, route, 500 if chance.random() < failing else 200, taken_us)


def row(
    time_us: int, key: int, who: Identity, route: str, status: int, taken_us: int, traffic: Traffic = Traffic.APP
) -> Row:
    """Make a stored request."""
    access = Access(time_us, key, who.address, "GET", route, status, taken_us, None, True, 4000, "", "", "", "", "")
    app_us = None if status == 502 or traffic is Traffic.CARD else round(taken_us * 0.85)
    return Row(access, who, route, traffic, app_us, "")


def markers() -> list[Marker]:
    """Return the app's deployments of the month."""
    days = ((8, "2.4.0"), (14, "2.4.1"), (23, "2.5.0"))
    return [
        Marker(
            round(datetime(2025, 10, day, 12, 20, tzinfo=ZONE).timestamp()) * 1_000_000, "version", "factory", version
        )
        for day, version in days
    ]


def routes() -> Routes:
    """Make the routes as the app's OpenAPI document names them."""
    known = Routes()
    names = [(route, name) for route, name, *_ in FEATURES] + list(UNUSED)
    known.learn_openapi({"paths": {route: {"get": {"summary": name}} for route, name in names}})
    return known


def main() -> None:
    """Write both files."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", str(MADE_US // 1_000_000))  # fonts carry the time of their making
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder, "example.db"))
        try:
            store.write(list(rows(random.Random(2025))))  # noqa: S311 - invented people
            store.add_markers(markers())
            settings = Settings(timezone=str(ZONE), lang="en")
            report = make(settings, store, routes(), month=MONTH, now_us=MADE_US)
        finally:
            store.close()
    if report.missing or report.pdf is None:
        sys.exit(f"no font has {report.missing}: docs/monthly-report.md says what to install")
    pdf, picture = DOCS / "report-example.pdf", DOCS / "images" / "report-example"
    pdf.write_bytes(report.pdf)
    picture.parent.mkdir(exist_ok=True)
    subprocess.run(["pdftoppm", "-png", "-r", "80", "-singlefile", pdf, picture], check=True)  # noqa: S603, S607


if __name__ == "__main__":
    main()
