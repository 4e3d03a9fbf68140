"""No word of the server's own, `no-such-node`, and no English text stands on the page in Spanish."""

import json
import time
from pathlib import Path
from typing import get_args

import pytest
from tests.browser.test_waterfall import TRACE, few, kept

from tailtrace_bridge.identity.chain import REASONS
from tailtrace_bridge.texts import catalogue

pytestmark = [pytest.mark.chromium, pytest.mark.long]
KINDS = ("user", "tagged", "shared", "self", "subnet", "funnel", "external", "unknown")
SOURCES = ("localapi", "snapshot", "control", "history", "static", "serve")
SPANS = ("server", "client", "internal", "producer", "consumer")
VIA = ("", "router", "forwarded by 10.0.0.1", "router, PROXY protocol by 10.0.0.1", "serve by unix:", "Funnel by unix:")
LEAVES = """(host) => [...host.querySelectorAll('*')]
    .flatMap((one) => [...one.childNodes].filter((node) => node.nodeType === 3))
    .filter((node) => !node.parentElement.closest('script, style, select, [lang=en], [translate=no]')).map((node) => node.data.trim())"""


def texts(area, lang):
    return set(json.loads((Path(catalogue.__file__).parent / lang / f"{area}.json").read_text("utf-8")).values())


def foreign(openapi):
    """What must not stand on a Spanish page: each word that an answer can have, and the English texts."""
    words = {*REASONS, *KINDS, *SOURCES, *SPANS, "forwarded by", "static", "health", "card", "started", "ended", "seen"}

    def collect(node):
        if isinstance(node, dict):
            words.update(one for one in node.get("enum", []) if isinstance(one, str))
            node = list(node.values())
        if isinstance(node, list):
            for one in node:
                collect(one)

    collect(openapi)
    areas = [area for area in get_args(catalogue.Area) if area in {"page", "request"}]
    spanish = set().union(*(texts(area, "es") for area in areas))
    return (words | set().union(*(texts(area, "en") for area in areas))) - spanish - {"json", "csv", "parquet", "app"}


@pytest.fixture(scope="module")
def strange(tmp_path_factory, serving, row):
    """A request for each reason, each source, each kind, each way that it can have come; give the traces too."""
    from tailtrace_bridge.core.records import Traffic
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    folder = tmp_path_factory.mktemp("strange")
    kept(folder, few)
    who = [
        *({"kind": "unknown", "reason": reason} for reason in REASONS),
        *({"kind": kind, "provider": source} for kind, source in zip(KINDS, SOURCES * 2, strict=False)),
        *({"kind": "subnet", "via": via} for via in VIA),
        *({} for _ in Traffic),
    ]
    rows, now_us = [], time.time_ns() // 1000
    for number, identity in enumerate(who):
        traffic = "app" if identity else [*Traffic][number - len(who)].name.lower()
        made = row(1000 + number, traffic=traffic, at_us=now_us - (60 + number) * 1_000_000)
        named = made.identity._replace(**{"provider": "", **identity})
        rows.append(made._replace(access=made.access._replace(trace_id=f"{number + 1:032x}"), identity=named))
    store = SqliteStore(folder / "t.db")
    store.write(rows)
    store.close()
    with serving(folder) as url:
        yield url, [TRACE, *(one.access.trace_id for one in rows)]


def test_the_spanish_page_has_no_word_of_the_server(strange, open_page, show_all):
    url, traces = strange
    page = open_page(f"{url}/?period=1h", locale="es-ES")
    show_all(page)
    bad = foreign(page.request.get(f"{url}/openapi.json").json())
    assert {"no-such-node", "Who used it", "snapshot"} <= bad
    found = {(text, "page") for text in page.locator("body").evaluate(LEAVES) if text in bad}
    for trace in traces:
        page.goto(f"{url}/?request={trace}")
        page.locator("dialog .whole").first.wait_for()
        page.locator("dialog .waterfall summary" if trace == TRACE else "dialog .stations").first.wait_for()
        page.locator("dialog details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
        page.until("[...document.querySelectorAll('dialog dd > span[title]')].every((one) => one.textContent)")
        said = page.locator("dialog.request").evaluate(LEAVES)
        found |= {(text, trace) for text in said if text in bad or " by " in text}
    assert found == set()


def test_a_reason_is_said_in_the_readers_language(strange, open_page):
    url, traces = strange
    place = list(REASONS).index("no-such-node") + 1
    for locale, said in (
        ("es-ES", "ningún nodo de la tailnet tiene esa dirección"),
        ("en-GB", REASONS["no-such-node"]),
    ):
        page = open_page(f"{url}/?request={traces[place]}", locale=locale, ready="dialog .stations")
        page.get_by_text(said, exact=True).wait_for()
        assert page.get_by_title("no-such-node").text_content() == said


def test_what_alerts_told_is_in_the_readers_language_and_follows_it(tmp_path, serving, open_page, show_all, row):
    from tailtrace_bridge.store.sqlite.store import SqliteStore
    from tailtrace_bridge.store.values import AlertEvent

    store, now_us = SqliteStore(tmp_path / "t.db"), time.time_ns() // 1000
    store.write([row(1)])
    english = "p95 1.50 s in the last 10 min (limit 800 ms), of 64 requests."
    store.add_alert_events([AlertEvent(now_us - 60_000_000, "slow plans", "p95", "started", "", 1500.0, english)])
    store.close()
    with serving(tmp_path) as url:
        page = open_page(url, locale="es-ES")
        show_all(page)
        alerts = page.locator("#alerts")
        alerts.get_by_text("p95 1,50 s en los últimos 10 min (límite 800 ms), de 64 peticiones.").wait_for()
        page.select_option("#lang", "en")
        alerts.get_by_text(english).wait_for()
