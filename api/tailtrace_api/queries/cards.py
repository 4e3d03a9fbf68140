"""Reads what the widget shows, and what compares the variants of a card. The time of now is a parameter."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo

from tailtrace_api.access.roles import scope_of
from tailtrace_api.answers import insights, variants
from tailtrace_api.answers import requests as answers
from tailtrace_api.answers.insight_records import Feature
from tailtrace_api.answers.meaning import InPart
from tailtrace_api.answers.proportions import CONFIDENCE
from tailtrace_api.answers.record import LISTED_MAX, Record, record
from tailtrace_api.answers.variants import Comparison, Variant
from tailtrace_api.queries.requests import stored_us
from tailtrace_bridge.core.cards import CARD_PREFIX, card_key, split_endpoint
from tailtrace_bridge.core.records import Traffic
from tailtrace_bridge.store.anonymous import AnonymousUsage, Order
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.scope import Scope
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Activity, By, Filters, LogEntry, Quarter, Window

FEATURES_MAX = 5
"""In the widget: a card, not a table."""
PAGE_ROWS = 1000
ROWS_MAX = 50_000
"""Newest requests that are looked through for each variant, and for the goal; `complete` is false if there are more."""


@record
class Day(Record):
    """Usage of one day of the zone."""

    day: str
    requests: int


@record
class Widget(Record):
    """What the widget shows: whole days, and the features used most."""

    period_days: int
    timezone: str
    total_sessions: int
    unique_users: int
    total_requests: int
    by_day: tuple[Day, ...]
    by_day_in_part: InPart
    top_features: tuple[Feature, ...]


@record
class CardVariants(Record):
    """How the variants of one card compare; `complete` is false where only the newest `ROWS_MAX` were looked at."""

    card: str
    name: str
    goal: str | None
    period_days: int
    confidence: float
    users_min: int
    variants: tuple[Variant, ...]
    users_of_several: int
    users_of_goal: int | None
    comparisons: tuple[Comparison, ...]
    variants_left_out: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Cards:
    """Asks one store."""

    store: Store
    zone: tzinfo
    features: Mapping[str, str]

    def widget(self, now_us: int, *, days: int, user: str | None = None, service: str | None = None) -> Widget:
        """Answer `GET /analytics/widget`: whole days of `zone`, today the last of them, which is not over yet.

        `user` restricts it to one person, by login: what a caller may see is decided before. With a service, sessions
        are those of whoever used it, with all that they did.
        """
        scope = scope_of(user)
        today = datetime.fromtimestamp(now_us / 1e6, self.zone).date()
        first = datetime.combine(today - timedelta(days=days - 1), time(), self.zone)
        window = Window(int(first.timestamp()) * 1_000_000, now_us)
        filters = Filters(service=service)
        usages = self.store.usage(scope, window, filters, By.ENDPOINT)
        if service is None:
            anonymous = self.store.anonymous_usage(scope, window, Order.SESSIONS, 0)
            activity = self.store.activity(scope, window, listed=())
        else:
            anonymous, activity = AnonymousUsage(), self._activity_of(scope, window, filters)
        quarters: Iterable[Quarter]
        if user is None and service is None:
            quarters = self.store.quarters(scope, window)
        else:
            quarters = answers.quarters_of(self.store.endpoint_buckets(scope, window, HOUR_US, filters), window)
        stats = insights.usage_stats(days, usages, activity, anonymous, self.features)
        by_day = self._by_day(quarters)
        days_asked = [(first.date() + timedelta(days=number)).isoformat() for number in range(days)]
        begun_us = stored_us(self.store, window, HOUR_US)
        cut_days = {today.isoformat(), None if begun_us is None else self._day(begun_us)}
        return Widget(
            period_days=days,
            timezone=str(self.zone),
            total_sessions=stats.total_sessions,
            unique_users=stats.unique_users,
            total_requests=stats.total_requests,
            by_day=tuple(Day(day=day, requests=by_day[day]) for day in days_asked),
            by_day_in_part=tuple(place for place, day in enumerate(days_asked) if day in cut_days),
            top_features=stats.top_features[:FEATURES_MAX],
        )

    def _activity_of(self, scope: Scope, window: Window, filters: Filters) -> list[Activity]:
        """Return all that those did whom the filters let through."""
        callers = self.store.callers(scope, window, filters, LISTED_MAX, usage_only=True)
        usages = self.store.usage(scope, window, filters, By.IDENTITY, listed=callers.first)
        asked = {answers.visitor(usage.identity) for usage in answers.usage_only(usages)}
        found = self.store.activity(scope, window, listed=callers.first)
        return [one for one in found if answers.visitor(one.identity) in asked]

    def variants(self, now_us: int, *, card: str, days: int, goal: str | None) -> CardVariants:
        """Answer `GET /analytics/variants`."""
        window = Window(now_us - days * DAY_US, now_us)
        views: Counter[str] = Counter()
        for visit in self.store.usage(Scope.everybody(), window, Filters(), By.ENDPOINT):
            if visit.traffic is Traffic.CARD and split_endpoint(visit.endpoint)[0] == card:
                views[split_endpoint(visit.endpoint)[1]] += visit.requests
        names = [name for name, _ in sorted(views.items(), key=lambda item: (-item[1], item[0]))]
        looked = {
            name: _Looked(self.store, window, f"{CARD_PREFIX}{card_key(card, name)}")
            for name in names[: variants.VARIANTS_MAX]
        }
        seen = {name: variants.viewers(entries) for name, entries in looked.items()}
        uses = None if goal is None else _Looked(self.store, window, goal)
        found = variants.compare(seen, None if uses is None else variants.last_use(uses))
        return CardVariants(
            card=card,
            name=self.features.get(f"card={card}", card),
            goal=goal,
            period_days=days,
            confidence=CONFIDENCE,
            users_min=variants.USERS_MIN,
            variants=found.variants,
            users_of_several=found.users_of_several,
            users_of_goal=found.users_of_goal,
            comparisons=found.comparisons,
            variants_left_out=len(names[variants.VARIANTS_MAX :]),
            complete=not any(one.is_cut for one in (*looked.values(), uses) if one is not None),
        )

    def _by_day(self, quarters: Iterable[Quarter]) -> Counter[str]:
        days: Counter[str] = Counter()
        for quarter in quarters:
            days[self._day(quarter.time_us)] += quarter.requests
        return days

    def _day(self, time_us: int) -> str:
        return datetime.fromtimestamp(time_us / 1e6, self.zone).date().isoformat()


@dataclass(slots=True)
class _Looked:
    """The requests of one endpoint, newest first, page by page: at most `ROWS_MAX`, and whether that cut some off."""

    store: Store
    window: Window
    endpoint: str
    is_cut: bool = False

    def __iter__(self) -> Iterator[LogEntry]:
        before: tuple[int, int] | None = None
        for _ in range(ROWS_MAX // PAGE_ROWS):
            page = self.store.log(Scope.everybody(), self.window, Filters(endpoint=self.endpoint), PAGE_ROWS, before)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            before = page[-1].time_us, page[-1].key
        self.is_cut = True
