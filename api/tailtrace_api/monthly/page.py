"""The report as one HTML page that needs nothing else: no script, no file, no address. It prints as the PDF does.

All untrusted text is a Jinja variable with autoescape, or passes ElementTree in `charts`. Behind that stands the
page's own policy: nothing may load, and of styles only the one whose hash it names.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from tailtrace_api.answers.deployments import Deployment, Side
from tailtrace_api.answers.requests import time_us
from tailtrace_api.monthly import charts
from tailtrace_api.monthly.numbers import NAMES_MAX, SLOWEST_MAX, UNUSED_MAX, Change, Numbers, Totals
from tailtrace_api.monthly.words import NONE, Words
from tailtrace_bridge.core.text import printable

NAME_LENGTH_MAX = 52
"""Of a name or a path on the page: a longer one loses its middle."""
SAME_SHARE = 0.02
"""A month that differs by less has about as many requests."""
_FOLDER = Path(__file__).parent
_EMOJI = re.compile("[\u2600-\u27bf\U0001f000-\U0001faff][\u200d\ufe0f\u2600-\u27bf\U0001f000-\U0001faff]*")
_JOINERS = frozenset("\u200c\u200d")
"""Parts of words in Persian or Hindi, and of an emoji that is made of several."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the numbers at the top."""

    label: str
    value: str
    before_value: str
    """Empty where the month before is not whole: a part of it is no number to set beside this one."""
    change: str
    tone: str
    """`good`, `bad` or `plain`."""


@dataclass(frozen=True, slots=True)
class ChangeText:
    """A change of the month in words."""

    name: str
    said: str
    values: str
    tone: str
    """`good` or `bad`."""


@dataclass(frozen=True, slots=True)
class DeploymentText:
    """A deployment or a note, and what was before and after it."""

    when: str
    name: str
    rate: str
    errors: str
    p95: str
    new: str


def spaced(text: str) -> Markup:
    """Escape a text, its emoji in elements of their own."""
    return Markup(_EMOJI.sub(r'<span class="emoji">\g<0></span>', str(escape(text))))  # noqa: S704 - escaped before


def displayed(text: str, length_max: int = NAME_LENGTH_MAX) -> str:
    """Make untrusted text fit to be read: no control or direction characters, and not too long."""
    clean = "".join(char if char in _JOINERS else printable(char) for char in text[: 4 * length_max])
    if len(clean) <= length_max:
        return clean
    head = length_max * 2 // 3
    return f"{clean[:head]}…{clean[head - length_max + 1 :]}"


def render(numbers: Numbers, lang: str, deployments: Sequence[Deployment] = (), *, is_spread: bool = False) -> str:
    """Write the page. `is_spread`: on paper, health begins a page, so that the last one is not nearly empty."""
    words = Words(lang)
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["displayed"] = lambda text, *more: spaced(displayed(words.named(text), *more))
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html").render(
        n=numbers,
        w=words,
        title=title(numbers, words),
        heading=words.month(numbers.month)[:1].upper() + words.month(numbers.month)[1:],
        subtitle=subtitle(numbers, words),
        lead=lead(numbers, words),
        tiles=tiles(numbers, words),
        tiles_note=note(numbers, words),
        charts=_charts(numbers, words),
        groups=_groups(numbers, words),
        deployments=_deployments(deployments, words, ZoneInfo(numbers.zone)),
        # Their lines take the place of the last of these: all of it has to stay on three pages.
        slowest=numbers.slowest[: SLOWEST_MAX - len(deployments)],
        unused=numbers.unused[: UNUSED_MAX - 2 * len(deployments)],
        is_spread=is_spread,
        names_max=NAMES_MAX,
        share=charts.share,
        style=Markup(style),  # noqa: S704 - it is ours
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )


def title(numbers: Numbers, words: Words) -> str:
    """Return the report's title."""
    return words("title", month=words.month(numbers.month))


def subtitle(numbers: Numbers, words: Words) -> str:
    """Return which time the report is of, and what it is compared with."""
    zone = ZoneInfo(numbers.zone)
    parts = [
        words("window", first=words.day(numbers.month.first), last=words.day(numbers.month.days[-1]), zone=numbers.zone)
    ]
    if numbers.until_us is not None:
        day, time = words.time(numbers.until_us, zone)
        parts.append(words("until", day=day, time=time))
    if numbers.comparable:
        key = "compared" if numbers.until_us is None else "compared.part"
        parts.append(words(key, month=words.month(numbers.month.before)))
    return " · ".join(parts)


def lead(numbers: Numbers, words: Words) -> list[str]:
    """Return the month in a few sentences: what the page begins with, and what goes into a message."""
    now, before = numbers.now, numbers.before
    if not now.all_requests:
        return [words("nothing")]
    usage = {
        "people": words.count("people", now.people),
        "sessions": words.count("sessions", now.sessions),
        "requests": words.count("requests", now.requests),
    }
    said = [words("no-usage" if not now.requests else "lead" if now.people else "lead.unnamed", **usage)]
    month = words.month_name(numbers.month.before)
    if numbers.comparable and before.requests and now.requests:
        share = now.requests / before.requests - 1
        key = "same" if abs(share) < SAME_SHARE else "more" if share > 0 else "less"
        said.append(words(f"lead.{key}", share=words.percent(abs(share)), month=month))
    if now.requests:
        busiest = max(numbers.days, key=lambda day: day.requests)
        weekday, hour = max(
            ((day, hour) for day in range(7) for hour in range(24)), key=lambda at: numbers.hours[at[0]][at[1]]
        )
        said.append(
            words(
                "lead.busiest",
                day=words.short_day(busiest.day),
                weekday=words.weekdays("wide")[weekday],
                hour=f"{hour:02}:00",
            )
        )
    errors = words.count("errors", now.errors)
    if now.minutes_down:
        uptime = words.percent((now.uptime_percent or 0) / 100, 2)
        said.append(words("lead.down", uptime=uptime, down=words.count("minutes", now.minutes_down), errors=errors))
    else:
        said.append(words("lead.up" if now.errors else "lead.fine", errors=errors))
    return [*said, *_caveats(numbers, words)]


def hints(numbers: Numbers, words: Words) -> list[str]:
    """Say what whoever runs tailtrace could do: in the message and the terminal, not on the pages for everybody."""
    if not numbers.now.all_requests:
        return [words("nothing.do")]
    return [] if numbers.declared_routes else [words("unused.unknown")]


def _caveats(numbers: Numbers, words: Words) -> list[str]:
    month = words.month(numbers.month.before)
    began = words.day(numbers.began) if numbers.began else ""
    if not numbers.before.all_requests:
        late = numbers.began is not None and numbers.began > numbers.month.first
        return [words("no-before", month=month), *([words("began", day=began)] if late else [])]
    return [] if numbers.comparable else [words("part-before", day=began, month=month)]


def tiles(numbers: Numbers, words: Words) -> list[Tile]:
    """Return the month's numbers, each with the one before and how it changed."""
    now, before = numbers.now, numbers.before

    def relative(new: float | None, old: float | None) -> float | None:
        return None if new is None or not old or not numbers.comparable else new / old - 1

    def tile(key: str, value: str, old: str, change: float | None, *, up_is: str, text: str = "") -> Tile:
        sign = 0 if change is None or abs(change) < 0.005 else 1 if change > 0 else -1
        tone = "plain" if not sign else up_is if sign > 0 else {"good": "bad", "bad": "good"}.get(up_is, "plain")
        said = "" if change is None else f"{('▼', '=', '▲')[sign + 1]} {text or words.percent(abs(change))}"
        return Tile(words(f"kpi.{key}"), value, old if numbers.comparable else "", said, tone)

    def counted(key: str, name: str, up_is: str) -> Tile:
        new, old = getattr(now, name), getattr(before, name)
        return tile(key, words.number(new), words.number(old), relative(new, old), up_is=up_is)

    points = (
        None
        if now.uptime_percent is None or before.uptime_percent is None or not numbers.comparable
        else round(now.uptime_percent - before.uptime_percent, 2)
    )
    return [
        counted("requests", "requests", "good"),
        counted("people", "people", "good"),
        counted("sessions", "sessions", "good"),
        counted("errors", "errors", "bad"),
        tile(
            "uptime",
            _uptime(now, words),
            _uptime(before, words),
            points,
            up_is="good",
            text="" if points is None else words.count("points", abs(points)),
        ),
        tile(
            "p95",
            words.duration(now.p95_ms),
            words.duration(before.p95_ms),
            relative(now.p95_ms, before.p95_ms),
            up_is="bad",
        ),
    ]


def note(numbers: Numbers, words: Words) -> str:
    """Return what the tiles count: two of them are of more requests than the first."""
    now = numbers.now
    return words(
        "kpi.note",
        requests=words.count("requests", now.all_requests),
        apart=words.number(now.all_requests - now.requests),
    )


def _uptime(totals: Totals, words: Words) -> str:
    return NONE if totals.uptime_percent is None else words.percent(totals.uptime_percent / 100, 2)


def _charts(numbers: Numbers, words: Words) -> dict[str, Markup]:
    labels = [str(day.day.day) for day in numbers.days]
    half = (charts.WIDTH - 14) / 2
    in_part = [place for place, day in enumerate(numbers.days) if day.day in numbers.days_in_part]
    return {
        "days": charts.bars(
            [day.requests for day in numbers.days],
            labels,
            muted=[day.day.weekday() >= 5 for day in numbers.days],
            title=words("days"),
            number=words.short,
            empty=words("empty.usage"),
            in_part=in_part,
        ),
        "hours": charts.heat(numbers.hours, words.weekdays(), title=words("hours"), number=words.number),
        "errors": charts.bars(
            [day.errors for day in numbers.days],
            labels,
            muted=[False] * len(labels),
            title=words("health.errors"),
            number=words.short,
            empty=words("empty.errors"),
            width=half,
            height=78,
            fill=charts.BAD,
            every=5,
            in_part=in_part,
        ),
        "p95": charts.line(
            [day.p95_ms for day in numbers.days],
            labels,
            title=words("health.p95"),
            number=words.duration,
            empty=words("empty.times"),
            width=half,
            height=78,
            every=5,
        ),
    }


def _deployments(found: Sequence[Deployment], words: Words, zone: ZoneInfo) -> list[DeploymentText]:
    def arrow(one: Deployment, write: Callable[[Side], str]) -> str:
        return " → ".join(NONE if side is None else write(side) for side in (one.before, one.after))

    return [
        DeploymentText(
            words.moment(time_us(one.time), zone),
            f"{one.service or ''} {one.text}".strip(),
            arrow(one, lambda side: words.number(round(side.requests_per_minute, 1))),
            arrow(one, lambda side: words.percent(side.error_rate, 1)),
            arrow(one, lambda side: words.duration(side.p95_ms)),
            words.number(one.new_errors),
        )
        for one in found
    ]


def _groups(numbers: Numbers, words: Words) -> list[tuple[str, list[ChangeText]]]:
    """Put what changed into its three groups, in words."""
    groups = {"moved": ("up", "down"), "came": ("new", "gone"), "speed": ("slower", "faster")}
    return [
        (words(key), [_change_text(change, words) for change in numbers.changes if change.kind in kinds])
        for key, kinds in groups.items()
    ]


def _change_text(change: Change, words: Words) -> ChangeText:
    write = words.duration if change.kind in {"slower", "faster"} else words.number
    bad = change.kind in {"slower", "down", "gone"}
    if change.kind in {"new", "gone"}:
        said = words(change.kind)
        values = words.count("requests", int(max(change.now, change.before)))
    else:
        said = f"{'▲' if change.now > change.before else '▼'} {words.percent(abs(change.now / change.before - 1))}"
        values = f"{write(change.before)} → {write(change.now)}"
    return ChangeText(change.name, said, values, "bad" if bad else "good")
