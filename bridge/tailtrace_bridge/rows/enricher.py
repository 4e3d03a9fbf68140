"""A request on its last step before the store: the endpoint it counts under, what it was for, and who stood behind it.

| the request | its endpoint |
|---|---|
| a card view | `/_tailtrace/view?card=KEY` (`cards.card_key`); past `CARDS_MAX` of them, `KEY` is `__other__` |
| has a span with a route | that, which is learned for lines without one; past the limit of `routes` `__other__` |
| its app said a route with the answer (`app_header`) | the same |
| else | the template that `routes` finds for its path |

| app time, error type | are |
|---|---|
| of a request with a span | the span's; the error that the app said, where the span has none |
| whose app said them with the answer | those |
| else | unknown |
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from tailtrace_bridge.core.cards import CARD_PREFIX
from tailtrace_bridge.core.columns import (
    Columns,
    InterningTable,
    RequestShape,
    join_columns,
    transposed,
    without_websockets,
)
from tailtrace_bridge.core.records import OTHER, Access, AppSpan, Identity, RejectedLine, Row, Traffic
from tailtrace_bridge.identity.chain import Holder
from tailtrace_bridge.identity.fronts import identity_in_front, is_front, peer_of
from tailtrace_bridge.identity.history import COARSE_US, times_of
from tailtrace_bridge.identity.proxies import UNIX, Proxies
from tailtrace_bridge.identity.pseudonyms import Pseudonyms
from tailtrace_bridge.logs.block import Lines
from tailtrace_bridge.rows.app_header import AppAnswer, is_long, read, read_text, whole_time_us
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.rows.traffic import HEALTH_PATHS, TOGETHER, classify, of_agent, of_request

_NOTHING_SAID = AppAnswer(None)
CARDS_MAX = 500
"""Distinct cards, each variant for itself: they come from the URL, which anyone can write."""
SERVICES_MAX = 1000
"""Far more than anybody's nginx has server blocks; answers take time by it."""
PLACED_MAX = 16_384
"""When so many are remembered in an import, all are forgotten."""
_OTHERS = frozenset({OTHER, f"{CARD_PREFIX}{OTHER}"})
_SERVICE = Access._fields.index("service")
_APP = Access._fields.index("app") - Access._fields.index("card") - 1
_TOGETHER = [[int(TOGETHER[by_request, by_agent]) for by_agent in Traffic] for by_request in Traffic]


def sender_of(identity: Identity) -> str:
    """Return what a request's sender counts as in `Enricher.senders`."""
    if identity.kind == "self":
        return "self"
    return "named" if identity.user or identity.device or identity.tags else "unnamed"


class Enricher:
    """Makes rows. `holder` says who is behind an address, as of now: asked for each live row, or once in a batch.

    `serve`: the proxies whose word about who it is, in `tailscale serve`'s headers, is believed.
    `pseudonyms`: what names and addresses are replaced with, as the last thing before the store.
    """

    def __init__(
        self,
        holder: Callable[[str], Holder],
        routes: Routes,
        health_paths: frozenset[str] = HEALTH_PATHS,
        *,
        static_paths: tuple[str, ...] = (),
        serve: Proxies | None = None,
        pseudonyms: Pseudonyms | None = None,
    ) -> None:
        self.cards_over_limit = 0
        self.services_over_limit = 0
        """Requests of which the service became `__other__`, because `SERVICES_MAX` were known."""
        self.senders = {"named": 0, "unnamed": 0, "self": 0}
        """Requests by who sent them: a person or a device that is known, nobody that is known, this machine."""
        self.unknown_by_reason: dict[str, int] = {}
        """Live rows that nobody is named in, by why: `chain.REASONS`."""
        self.app_headers = {"read": 0, "malformed": 0, "implausible": 0}
        """What apps said with their answers: believed, or why not."""
        self._holder = holder
        self._serve = serve or Proxies()
        self._pseudonyms = pseudonyms
        self._routes = routes
        self._health_paths, self._static_paths = health_paths, static_paths
        self._cards: set[str] = set()
        self._services = {""}
        self._placed_as_reported: dict[tuple[tuple[str, str, str], str, str], tuple[str, Traffic]] = {}
        """By method, path and card, service, and the route that an app reported and that was learned; of any status."""

    def known(self, identity: Identity) -> Identity:
        """Return who the identity of a row made here is, where it is a pseudonym: for what must not name them."""
        return identity if self._pseudonyms is None else self._pseudonyms.known(identity)

    def row(self, access: Access, span: AppSpan | None = None) -> Row:
        """Make the row of a line, and of its span where there is one."""
        if access.service not in self._services and self._refused([access.service]):
            access = access._replace(service=OTHER)
            self.services_over_limit += 1
        identity, identified_us = self._identified(access, self._holder(access.address))
        self.senders[sender_of(identity)] += 1
        if identity.reason:
            self.unknown_by_reason[identity.reason] = self.unknown_by_reason.get(identity.reason, 0) + 1
        if self._pseudonyms is not None:
            identity = self._pseudonyms.identity(identity)
        said = self._app_answer(access) if access.app else None
        if span is None and said is None:
            route, by_request = self._placed(access)
            traffic = TOGETHER[by_request, of_agent(access.user_agent)]
            return Row(access, identity, route, traffic, None, "", identified_us)
        of_app = (span.route if span else "") or (said.route if said else "")
        traffic = classify(access, self._health_paths, self._static_paths, of_app)
        if traffic is Traffic.CARD:
            return Row(access, identity, self._view(access), traffic, None, "", identified_us)
        reported = said or _NOTHING_SAID
        if span is None:
            return Row(
                access,
                identity,
                self._route(access, reported.route),
                traffic,
                reported.time_us,
                reported.error_type,
                identified_us,
            )
        route = self._route(access, span.route or reported.route)
        error_type = span.error_type or reported.error_type
        return Row(access, identity, route, traffic, span.duration_us, error_type, identified_us)

    def columns(self, accesses: Sequence[Access]) -> Columns:
        """Make the rows of many lines without spans, as `row` does, but what repeats among them is found out once."""
        lines = transposed(accesses)
        if refused := self._refused(lines[_SERVICE]):
            self.services_over_limit += sum(service in refused for service in lines[_SERVICE])
            accesses = [one._replace(service=OTHER) if one.service in refused else one for one in accesses]
            lines = transposed(accesses)
        times_us, _, addresses, methods, paths, statuses, _, _, _, _, services, _, _, agents, cards, *more = lines
        # A log of another format than ours has no such words, and pays nothing for them.
        reported = [self._app_answer(access) if access.app else None for access in accesses] if any(more[_APP]) else ()
        places: InterningTable[str] = InterningTable()
        endpoints: InterningTable[tuple[str, str]] = InterningTable()
        # Requests and senders are few, their pairs are many: each is looked at by itself.
        senders = {agent: int(of_agent(agent)) for agent in set(agents)}
        columns: tuple[Sequence[Any], ...] = (methods, paths, services, statuses, cards)
        if reported:
            columns += ([said.route if said else "" for said in reported],)
        requests: dict[tuple[Any, ...], tuple[int, int]] = {}
        endpoint_places: list[int] = []
        traffics: list[int] = []
        for access, request, agent in zip(accesses, zip(*columns, strict=True), agents, strict=True):
            known = requests.get(request)
            if known is None:
                route, traffic = self._placed(access, request[-1] if reported else "")
                known = endpoints[(access.service, route)], int(traffic)
                if route != OTHER and not access.card:  # each that becomes `__other__` is counted
                    requests[request] = known
            endpoint, by_request = known
            endpoint_places.append(endpoint)
            traffics.append(_TOGETHER[by_request][senders[agent]])
        identity_places = [places[address] for address in addresses]
        holders = [self._holder(address) for address in places]
        identities = [(holder.identity, holder.identified_us) for holder in holders]
        oldest_us = min(times_us, default=0)
        if any(holder.from_us > oldest_us - COARSE_US for holder in holders) or any(
            is_front(access, self._serve) for access in accesses
        ):
            # Not all of an address's lines have the same name: line by line.
            named: InterningTable[tuple[Identity, int]] = InterningTable()
            identity_places = [
                named[self._identified(access, holders[place])]
                for access, place in zip(accesses, identity_places, strict=True)
            ]
            identities = list(named)
        for place, count in Counter(identity_places).items():
            self.senders[sender_of(identities[place][0])] += count
        if self._pseudonyms is not None:
            identities = [(self._pseudonyms.identity(one), identified_us) for one, identified_us in identities]
        none = (None,) * len(accesses)
        app_times_us = [said.time_us if said else None for said in reported] or none
        error_types = [(said.error_type or None) if said else None for said in reported] or none
        return join_columns(
            lines,
            (identities, list(endpoints)),
            (identity_places, endpoint_places, traffics),
            (app_times_us, error_types),
        )

    def lines(self, lines: Lines) -> Columns:
        """Make the rows of lines that were read in blocks, as `columns` does of their records."""
        if refused := self._refused(lines.services.values_read):
            other = lines.services.add(OTHER)
            places = {place: other for place, name in enumerate(lines.services.values_read) if name in refused}
            self.services_over_limit += sum(place in places for place in lines.service)
            lines.service = [places.get(place, place) for place in lines.service]
        addresses = lines.addresses.values_read
        holders = [self._holder(address) for address in addresses]
        oldest_us = min(lines.time_us, default=0)
        is_plain = UNIX not in addresses and not any(one.serve or one.peer for one in lines.fronts.values_read)
        if not is_plain or any(
            holder.from_us > oldest_us - COARSE_US or (self._serve and address in self._serve)
            for address, holder in zip(addresses, holders, strict=True)
        ):
            return self.columns(lines.accesses())
        identities = [(holder.identity, holder.identified_us) for holder in holders]
        for place, count in Counter(lines.address).items():
            self.senders[sender_of(identities[place][0])] += count
        if self._pseudonyms is not None:
            identities = [(self._pseudonyms.identity(one), identified_us) for one, identified_us in identities]
        app_times_us: Sequence[int | None] = (None,) * len(lines)
        error_types: Sequence[str | None] = (None,) * len(lines)
        if any(lines.apps.values_read):
            said, app_times_us = self._app_answers(lines)
            error_types = [(one.error_type or None) if one else None for one in said]
            endpoints, requests, request = self._shapes_as_reported(lines, [one.route if one else "" for one in said])
        else:
            endpoints, requests, request = self._shapes(lines)
        agents = lines.agents.values_read
        return Columns(
            [one for one, _ in identities], list(endpoints), requests, agents, [when for _, when in identities],
            lines.time_us, lines.key, lines.address, request, lines.agent,
            without_websockets(lines.request_time_us, lines.status), lines.upstream_time_us,
            without_websockets(app_times_us, lines.status),
            lines.bytes_sent, lines.trace_id, lines.span_id, error_types,
        )  # fmt: skip

    def _shapes(self, lines: Lines) -> tuple[Iterable[tuple[str, str]], list[RequestShape], list[int]]:
        """Return the endpoints, the distinct request shapes, and the place of each line in that."""
        senders = [int(of_agent(agent)) for agent in lines.agents.values_read]
        together: InterningTable[tuple[int, int, int, int]] = InterningTable()
        sender = map(senders.__getitem__, lines.agent)
        request = [together[one] for one in zip(lines.request, lines.status, lines.service, sender, strict=True)]
        endpoints: InterningTable[tuple[str, str]] = InterningTable()
        found: dict[Access, tuple[str, int]] = {}
        shapes: list[RequestShape] = []
        others: dict[Access, list[int]] = {}
        for place, (request_place, status, service_place, sender_class) in enumerate(together):
            method, path, card = lines.requests.values_read[request_place]
            service = lines.services.values_read[service_place]
            one = Access(0, 0, "", method, path, status, None, None, False, 0, service, "", "", "", card)
            if one not in found:
                route, traffic = self._placed(one)
                found[one] = route, int(traffic)
            route, by_request = found[one]
            if route in _OTHERS:
                others.setdefault(one, []).append(place)
            endpoint = endpoints[(service, route)]
            shapes.append(RequestShape(endpoint, method, path, status, _TOGETHER[by_request][sender_class]))
        if others:
            self._place_again(others, endpoints, shapes, request)
        return endpoints, shapes, request

    def _app_answers(self, lines: Lines) -> tuple[list[AppAnswer | None], list[int | None]]:
        """Return what each line's app said, and its time: as `_app_answer` does, but what repeats is read once."""
        texts = lines.apps.values_read
        words = [read_text(text) for text in texts]
        said: list[AppAnswer | None] = [None] * len(lines)
        times_us: list[int | None] = [None] * len(lines)
        counts = dict.fromkeys(self.app_headers, 0)
        columns = (lines.app, lines.app_time_us, lines.request_time_us, lines.upstream_time_us)
        for number, (place, begins_us, request_time_us, upstream_time_us) in enumerate(zip(*columns, strict=True)):
            if not texts[place]:
                continue
            found = words[place]
            if found is None or (begins_us is not None and found[1] is not None):  # a time, and another one
                counts["malformed"] += 1
                continue
            answer, time_us = found
            time_us = time_us if begins_us is None else begins_us
            if time_us is not None:
                went_on_us = lines.streamed_us(number) if is_long(upstream_time_us) else 0
                times_us[number] = whole_time_us(time_us, request_time_us, went_on_us)
                if times_us[number] is None:
                    counts["implausible"] += 1
                    continue
            counts["read"] += 1
            said[number] = answer
        for word, count in counts.items():
            self.app_headers[word] += count
        return said, times_us

    def _shapes_as_reported(
        self, lines: Lines, reported: Sequence[str]
    ) -> tuple[Iterable[tuple[str, str]], list[RequestShape], list[int]]:
        """Do as `_shapes` where apps reported their routes: these teach, so the order of the lines counts."""
        senders = [int(of_agent(agent)) for agent in lines.agents.values_read]
        endpoints: InterningTable[tuple[str, str]] = InterningTable()
        shapes: list[RequestShape] = []
        placed = self._placed_as_reported
        if len(placed) > PLACED_MAX:
            placed.clear()
        unreported: dict[Access, tuple[str, Traffic]] = {}
        known: dict[tuple[int, int, int, int, str], int] = {}
        request: list[int] = []
        sender = map(senders.__getitem__, lines.agent)
        for key in zip(lines.request, lines.status, lines.service, sender, reported, strict=True):
            place = known.get(key)
            if place is None:
                request_place, status, service_place, sender_class, app_route = key
                of_request = method, path, card = lines.requests.values_read[request_place]
                service = lines.services.values_read[service_place]
                found = placed.get((of_request, service, app_route))
                if found is None:
                    one = Access(0, 0, "", method, path, status, None, None, False, 0, service, "", "", "", card)
                    found = (None if app_route else unreported.get(one)) or self._placed(one, app_route)
                    if app_route and not card and found[0] != OTHER:
                        placed[of_request, service, app_route] = found
                route, by_request = found
                place = len(shapes)
                shapes.append(
                    RequestShape(endpoints[service, route], method, path, status, _TOGETHER[by_request][sender_class])
                )
                # Each that becomes `__other__` is counted, and may have a route later.
                if route not in _OTHERS and (not card or by_request is Traffic.CARD):
                    known[key] = place
                    if not app_route:
                        unreported[one] = found
            request.append(place)
        return endpoints, shapes, request

    def _place_again(
        self,
        others: dict[Access, list[int]],
        endpoints: InterningTable[tuple[str, str]],
        shapes: list[RequestShape],
        request: list[int],
    ) -> None:
        """Do for each line of `__other__` what its first one had: it is counted, or its route is known by now."""
        counts = Counter(request)
        for one, places in others.items():
            lines = sum(counts[place] for place in places)
            if lines == 1:
                continue
            before = self._routes.over_limit_count, self.cards_over_limit
            route, _ = self._placed(one)
            if route in _OTHERS:  # and so it was for those between the first and the last
                self._routes.over_limit_count += (self._routes.over_limit_count - before[0]) * (lines - 2)
                self.cards_over_limit += (self.cards_over_limit - before[1]) * (lines - 2)
                continue
            endpoint = endpoints[(one.service, route)]
            with_route = {number for number, (_, known) in enumerate(endpoints) if known == route}
            known = {place for place, other in enumerate(shapes) if other.endpoint in with_route}
            since = next(row for row, place in enumerate(request) if place in known)
            for place in places:
                shapes.append(shapes[place]._replace(endpoint=endpoint))
                for row in range(since, len(request)):
                    if request[row] == place:
                        request[row] = len(shapes) - 1

    def moved(self, columns: Callable[[list[Any]], Columns]) -> Callable[[list[Any]], Columns]:
        """Return what makes columns of rows that come from another store: with pseudonyms, its names go no further."""
        pseudonyms = self._pseudonyms
        if pseudonyms is None:
            return columns

        def without_names(rows: list[Any]) -> Columns:
            made = columns(rows)
            return made._replace(identities=[pseudonyms.identity(one) for one in made.identities])

        return without_names

    def rejected_line(self, line: RejectedLine) -> RejectedLine:
        """Return a rejected line as it is kept: with pseudonyms its text, which may name anybody, stays out."""
        return line if self._pseudonyms is None else replace(line, text="…")

    def _app_answer(self, access: Access) -> AppAnswer | None:
        said = read(access)
        if isinstance(said, str):
            self.app_headers[said] += 1
            return None
        self.app_headers["read"] += said is not None
        return said

    def _route(self, access: Access, reported: str) -> str:
        if reported:
            return self._routes.reported(access.method, reported, access.service)
        return self._routes.template(access.method, access.path, access.service, access.status)

    def _identified(self, access: Access, holder: Holder) -> tuple[Identity, int]:
        """Return the identity of a line and when that was found out."""
        identity = holder.at(*times_of(access))
        if is_front(access, self._serve):
            peer = peer_of(access)
            by_peer = self._holder(peer).identity if peer != access.address else identity
            identity = identity_in_front(access, identity, by_peer, self._serve) or identity
        return identity, holder.identified_us

    @property
    def folded(self) -> int:
        """Requests that count under `__other__` because more endpoints or cards came than are kept apart."""
        return self._routes.over_limit_count + self.cards_over_limit

    def _refused(self, services: Iterable[str]) -> set[str]:
        """Know services that are new, and return those that are too many: `$host` is what a client says."""
        refused: set[str] = set()
        for service in dict.fromkeys(services):
            if service in self._services:
                continue
            if len(self._services) <= SERVICES_MAX:
                self._services.add(service)
            elif service != OTHER:
                refused.add(service)
        return refused

    def recall(
        self, endpoints: Iterable[str], templates: Iterable[tuple[str, str]] = (), services: Iterable[str] = ()
    ) -> None:
        """Know the endpoints that a store has, the (service, route) that apps told, and the services.

        So the limits of paths, cards and services hold, and routes keep their names, over restarts and imports.
        """
        self._services.update(services)
        known = set(endpoints)
        cards = {one for one in known if one.startswith(CARD_PREFIX)}
        self._cards |= {one.removeprefix(CARD_PREFIX) for one in cards} - {OTHER}
        self._routes.recall(known - cards, templates)

    def _placed(self, access: Access, reported: str = "") -> tuple[str, Traffic]:
        """Return the route of a line without a span, and what the request was for, whoever sent it.

        `reported` is the route that its app said, or empty.
        """
        traffic = of_request(access, self._health_paths, self._static_paths, reported)
        if traffic is Traffic.CARD:
            return self._view(access), traffic
        return self._route(access, reported), traffic

    def _view(self, access: Access) -> str:
        return f"{CARD_PREFIX}{self._card(access.card)}"

    def _card(self, key: str) -> str:
        if key in self._cards:
            return key
        if len(self._cards) >= CARDS_MAX:
            self.cards_over_limit += 1
            return OTHER
        self._cards.add(key)
        return key
