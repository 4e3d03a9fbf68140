"""Everything is a door: what is behind a number has its filters, Back comes back, and a member finds their own alone."""

import json
import os
import subprocess
import sys

import httpx
import pytest

pytestmark = pytest.mark.chromium
ANA, BEN = "ana@factory.example", "bruno@factory.example"
NOW_US = 1_759_924_800_000_000  # 2025-10-08T12:00:00Z, a Wednesday, 14:00 in Madrid
MINUTE_US = 60_000_000
AT = "at=2025-10-08T12:00:00Z"
VIEW = "/_tailtrace/view?card=prices"


@pytest.fixture(scope="module")
def house(tmp_path_factory, serving, row):
    """An hour of two people, one call of ten slow, an outage, a card of two variants; an admin's headers, a member's."""
    from tailtrace_bridge.store.sqlite.store import SqliteStore

    folder = tmp_path_factory.mktemp("house")
    rows = []
    for n in range(1, 60):
        one = row(n, (ANA, BEN)[n % 2], ("a-pc", "b-pc")[n % 2], "/page", at_us=NOW_US - n * MINUTE_US,
                  status=500 if n == 30 else 200)  # fmt: skip
        rows.append(one._replace(access=one.access._replace(request_time_us=900_000 if n % 10 == 5 else 5000)))
    rows += [
        row(100 + n, who, "a-pc", f"{VIEW}#{variant}", status=204, traffic="card", at_us=NOW_US - n * MINUTE_US)
        for n, (who, variant) in enumerate([(ANA, "A"), (ANA, "A"), (BEN, "B")], 1)
    ]
    store = SqliteStore(folder / "t.db")
    store.write(rows)
    store.close()
    settings = {"TAILTRACE_ACCESS": "token", "TAILTRACE_TOKENS": str(folder / "tokens.json")}

    def headers(name, *words):
        command = [sys.executable, "-m", "tailtrace_api.main", "token", "create", name, *words, "--json"]
        made = subprocess.run(
            command, env={**os.environ, **settings}, cwd=folder, capture_output=True, text=True, check=True
        )
        return {"Authorization": f"Bearer {json.loads(made.stdout)['token']}"}

    admin, member = headers("root", "--role", "admin"), headers("ben", "--user", BEN)
    with serving(folder, **settings) as url:
        yield url, admin, member


HEAT_CELL = "[data-key='heat-2-13']"
DOORS = [
    # what is clicked, one after another; what the address has then (what begins so); how many requests are listed
    (["#endpoints td[data-label=p95] button"], {"endpoint": "/page", "slower": ""}, 6),
    (["#health .uptime .down"], {"status": "5xx", "from": "2025-10-08T11:30:00.000Z"}, 1),
    (["#health .outages button"], {"status": "5xx", "from": "2025-10-08T11:30:00.000Z"}, 1),
    (["#users tbody .list button"], {"user": ANA, "endpoint": "/page"}, 20),
    (["#cards .variants button"], {"endpoint": f"{VIEW}#A"}, 2),
    (["#cards .seen summary", f"#cards .seen-by button >> text={BEN}"], {"user": BEN, "endpoint": f"{VIEW}#B"}, 1),
    ([HEAT_CELL, "#heat .heat-foot button"], {"from": "2025-10-08T11:00:00.000Z"}, 20),
]


def asked(page):
    return dict(page.evaluate("[...new URLSearchParams(location.search)]"))


def test_behind_each_number_are_its_requests_and_back_comes_back(house, open_page, show_all):
    url, admin, _ = house
    page = open_page(f"{url}/?{AT}", headers=admin)
    for clicks, wished, count in DOORS:
        show_all(page)
        for selector in clicks:
            page.locator(selector).first.click()
        page.until(" && ".join(f"location.search.includes('{key}=')" for key in wished))
        assert [asked(page)[key][: len(value)] for key, value in wished.items()] == list(wished.values()), clicks
        page.until(f"document.querySelectorAll('#requests tbody tr').length === {count}")
        page.evaluate("document.getElementById('said').textContent = ''")
        page.go_back()
        page.until(f"location.search === '?{AT}' && document.querySelectorAll('.chip').length === 0")
        # What stands there until all have answered again is of before, and goes while it is clicked.
        page.until("document.getElementById('said').textContent")


def test_a_members_doors_lead_to_their_own(house, open_page, show_all):
    url, _, member = house
    page = open_page(f"{url}/?{AT}", headers=member)
    show_all(page)
    page.locator("#cards .variants button").first.click()
    page.until("location.search.includes('endpoint=')")
    page.until("document.querySelectorAll('#requests tbody tr').length === 1")
    page.go_back()
    page.until("document.querySelectorAll('#requests tbody tr').length === 20")
    assert page.locator("#requests .person .name").all_text_contents() == [BEN] * 20
    page.goto(f"{url}/?{AT}&user={ANA}")  # a link that a colleague sent
    page.until("document.querySelector('#requests').hidden")
    for path in ("overview", "people", "endpoints", "requests"):
        answer = httpx.get(f"{url}/analytics/panels/{path}?period=24h&to=2025-10-08T12:00:00Z", headers=member).text
        assert BEN in answer or path == "endpoints"
        assert ANA not in answer, path
    page.said[:] = [said for said in page.said if "403" not in said]
