"""The pages: words, escaping, the page's own policy, and the PDF with its fonts."""

import base64
import dataclasses
import hashlib
import io
import random
import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from tailtrace_api.answers.deployments import Deployment, Side
from tailtrace_api.monthly import charts, pdf
from tailtrace_api.monthly.month import Month
from tailtrace_api.monthly.page import displayed, lead, note, render, spaced, tiles
from tailtrace_api.monthly.report import FILL_MIN, make, make_of, read_numbers
from tailtrace_api.monthly.words import Words
from tailtrace_api.terminal.month import print_month
from tailtrace_bridge.core.records import Identity, Traffic
from tailtrace_bridge.rows.routes import Routes
from tailtrace_bridge.settings.table import Settings
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.texts.catalogue import read

EXAMPLE = runpy.run_path(str(Path(__file__).parents[3] / "docs" / "report_example.py"))
SETTINGS = Settings(timezone="Europe/Madrid")
HOSTILE = "<script>alert('1')</script>\"&\u202e\x1b[31m"


def numbers_of(folder, rows, routes, now_us=EXAMPLE["MADE_US"]):
    store = SqliteStore(folder / "t.db")
    store.write(rows)
    try:
        return read_numbers(SETTINGS, store, routes, Month(2025, 10), now_us)
    finally:
        store.close()


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return numbers_of(tmp_path_factory.mktemp("store"), list(EXAMPLE["rows"](random.Random(2025))), EXAMPLE["routes"]())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """As much as there can be of everything, and each name is long and means harm."""
    chance, rows, key = random.Random(1), [], 0
    templates = [f"/{HOSTILE}/{number}/" + "segment/" * 9 for number in range(40)]
    start_us = {9: EXAMPLE["MADE_US"] - 60 * 86_400_000_000, 10: EXAMPLE["MADE_US"] - 31 * 86_400_000_000}
    for month in (9, 10):
        for number in range(6000):
            key += 1
            template = number % 40
            if template % 7 == month - 8 or (month == 9 and template % 5 == 0 and number % 3):
                continue  # some only in one of the months, some less in the first
            who = number % 23 + (8 if month == 10 else 0)
            name = f"{who} {HOSTILE}" + ("超长的名字" * 20 if who % 2 else "w" * 90)
            identity = Identity(f"100.64.1.{who}", "user", name, "d")
            time_us = start_us[month] + number * 400_000_000
            slow_us = 900_000 if (template % 3 == 0) == (month == 10) else 90_000
            rows.append(
                EXAMPLE["row"](time_us, key, identity, templates[template], chance.choice((200, 200, 500)), slow_us)
            )
            if number % 5 == 0:
                card = f"/_tailtrace/view?card={template % 9} {HOSTILE * 5}"
                rows.append(EXAMPLE["row"](time_us + 1, key + 10**6, identity, card, 204, 1, Traffic.CARD))
    known = Routes()
    route = "".join(filter(str.isprintable, HOSTILE))  # another is not learned
    known.learn_openapi(
        {"paths": {f"/never/{route}/{n}": {"get": {"summary": f"{HOSTILE} summary" * 9}} for n in range(99)}}
    )
    rows.append(
        EXAMPLE["row"](start_us[9] - 86_400_000_000 * 20, 1, Identity("100.64.0.1", "user", "old"), "/a", 200, 1)
    )
    return numbers_of(tmp_path_factory.mktemp("store"), rows, known)


class Elements(HTMLParser):
    """Every element and attribute of a page."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text, self.opened = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


# --- words ---------------------------------------------------------------------------------------------------------


def test_every_text_is_used():
    folder = Path(charts.__file__).parent
    code = "".join(
        (folder / name).read_text(encoding="utf-8") for name in ("page.py", "page.html", "../terminal/month.py")
    )
    built = ("kpi.", "table.", "lead.", "compared.")  # put together from two parts
    unused = [
        key
        for key in read("monthly", "en")
        if f'"{key.removesuffix(".one").removesuffix(".other")}"' not in code and not key.startswith(built)
    ]
    assert unused == []


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("en", ("12,345", "1,234.5", "12%", "99.92%", "83 ms", "1.53 s", "0.4 ms", "12 min", "3 h 16 min", "12.3k", "1 request", "2 requests")),
        ("es", ("12.345", "1.234,5", "12 %", "99,92 %", "83 ms", "1,53 s", "0,4 ms", "12 min", "3 h 16 min", "12,3k", "1 acceso", "2 accesos")),
    ],
)  # fmt: skip
def test_numbers_as_a_reader_writes_them(lang, expected):
    w = Words(lang)
    said = (
        w.number(12345), w.number(1234.5), w.percent(0.1234), w.percent(0.99917, 2), w.duration(83.1), w.duration(1530),
        w.duration(0.42), w.hours(0.2), w.hours(3.26), w.short(12345), w.count("requests", 1), w.count("requests", 2),
    )  # fmt: skip
    assert tuple(text.replace("\N{NO-BREAK SPACE}", " ") for text in said) == expected
    assert w.duration(None) == "–"


def test_dates():
    day = Month(2025, 10).days[22]
    assert [Words("en").month(Month(2025, 10)), Words("en").day(day), Words("en").short_day(day)] == [
        "October 2025", "23 October 2025", "Thursday 23 October",
    ]  # fmt: skip
    assert [Words("es").month(Month(2025, 10)), Words("es").day(day), Words("es").short_day(day)] == [
        "octubre de 2025", "23 de octubre de 2025", "jueves 23 de octubre",
    ]  # fmt: skip


def test_the_first_words(example):
    assert lead(example, Words("en")) == [
        "11 people used the service in 257 sessions and made 4,919 requests.",
        "That is 27% more requests than in September.",
        "The busiest day was Thursday 23 October, the busiest time Wednesday at 15:00.",
        "It was up in 99.92% of the minutes with traffic, and down in 3 minutes, when most answers were errors; all traffic had 4 server errors.",
    ]


@pytest.mark.parametrize(
    ("lang", "people", "said"),
    [
        ("en", 0, "Nobody with a name used the service: services, and addresses without a name, made 1 request in 1 session."),
        ("es", 0, "Nadie con nombre usó el servicio: los servicios y las direcciones sin nombre hicieron 1 acceso en 1 sesión."),
        ("en", 1, "1 person used the service in 1 session and made 1 request."),
        ("es", 1, "Uso del servicio: 1 persona, 1 sesión y 1 acceso."),
    ],
)  # fmt: skip
def test_one_and_none(example, lang, people, said):
    now = dataclasses.replace(example.now, people=people, sessions=1, requests=1)
    assert lead(dataclasses.replace(example, now=now), Words(lang))[0] == said


def test_a_point_of_uptime(example):
    now, before = (dataclasses.replace(example.now, uptime_percent=percent) for percent in (99.5, 98.5))
    one = dataclasses.replace(example, now=now, before=before)
    assert [tiles(one, Words(lang))[4].change for lang in ("en", "es")] == ["▲ 1 point", "▲ 1 punto"]


def test_each_number_says_what_it_is_of(example):
    assert note(example, Words("en")) == (
        "Requests, people and sessions are usage, the response time that of the app. All traffic was 4,919 requests: "
        "0 more than usage, for health checks, robots and files."
    )
    page = Elements(render(example, "es")).text
    assert "Todo el tráfico fueron 4.919 accesos: 0 más que el uso" in page
    assert "De los accesos a la aplicación; los demás errores fueron de otro tráfico." in page


def test_what_is_missing_is_said(example):
    empty = dataclasses.replace(example.before, requests=0, all_requests=0)
    alone = dataclasses.replace(example, before=empty, comparable=False, began=Month(2025, 10).days[6])
    assert lead(alone, Words("en"))[-2:] == [
        "Nothing is stored of September 2025, so there is nothing to compare with.",
        "What is stored begins on 7 October 2025.",
    ]
    part = dataclasses.replace(example, comparable=False, began=Month(2025, 9).days[6])
    assert lead(part, Words("es"))[-1] == (
        "Lo guardado empieza el 7 de septiembre de 2025: septiembre de 2025 no está completo y no se compara."
    )
    assert {tile.change for tile in tiles(part, Words("en"))} == {""}
    nothing = dataclasses.replace(example, now=empty)
    assert lead(nothing, Words("en"))[0] == "Nothing is stored of this month: not one request."
    assert "<svg" not in render(nothing, "en")


def test_the_tiles(example):
    assert [(tile.label, tile.value, tile.before_value, tile.change, tile.tone) for tile in tiles(example, Words("en"))] == [
        ("Requests", "4,919", "3,882", "▲ 27%", "good"), ("People", "11", "9", "▲ 22%", "good"),
        ("Sessions", "257", "187", "▲ 37%", "good"), ("Server errors, all traffic", "4", "9", "▼ 56%", "good"),
        ("Uptime, all traffic", "99.92%", "99.86%", "▲ 0.05 points", "good"), ("Response time, p95", "857\N{NO-BREAK SPACE}ms", "1.09\N{NO-BREAK SPACE}s", "▼ 21%", "good"),
    ]  # fmt: skip


def test_the_terminal(example):
    console = Console(file=io.StringIO(), width=120)
    print_month(console, example, "es")
    text = console.file.getvalue().replace("\N{NO-BREAK SPACE}", " ")
    for part in ("Informe de uso, octubre de 2025", "4.919", "3.882", "▲ 27 %", "99,92 %"):
        assert part in text


# --- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ana@example.com", "ana@example.com"),
        ("a\u202eb\x1b[31m\n", "a\\u202eb\\x1b[31m\\n"),
        ("👨\u200d👩\u200d👧 می\u200cخواهم", "👨\u200d👩\u200d👧 می\u200cخواهم"),
        ("/reports/" + "x" * 60 + "/end", "/reports/xxxxxxxxxxxxxxxxxxxxxxxxx…xxxxxxxxxxxxx/end"),
    ],
)
def test_what_is_shown_of_a_stranger_s_text(text, expected):
    assert displayed(text) == expected
    assert len(displayed(text)) <= 52


@pytest.mark.parametrize("lang", ["en", "es"])
def test_a_hostile_name_stays_text(hostile, lang):
    page = render(hostile, lang)
    elements = Elements(page)
    assert {tag for tag, _ in elements.found} <= {
        "html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "p", "h1", "h2", "h3", "div",
        "span", "bdi", "table", "colgroup", "col", "thead", "tbody", "tr", "th", "td",
        "svg", "rect", "text", "line", "polyline", "circle",
    }  # fmt: skip
    names = {name for _, attributes in elements.found for name in attributes}
    assert not {name for name in names if name.startswith("on")} | ({"style", "src", "href"} & names)
    assert "<script>alert('1')" in elements.text
    assert not {"\u202e", "\x1b"} & set(page)


def test_the_page_s_policy_lets_in_its_own_style_and_nothing_else(example):
    page = render(example, "en")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(attributes["content"] for tag, attributes in Elements(page).found if attributes.get("http-equiv"))
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert "url(" not in style
    assert "@import" not in style


def test_charts_are_well_formed_and_escape():
    svg = ET.fromstring(
        charts.bars([3, 0, 1], ["<a>", "b", "c"], muted=[False] * 3, title='"<t>', number="{:.0f}".format, empty="none")
    )
    shapes = [child for child in svg if child.tag.endswith("rect") and child.get("fill") != "#ffffff"]
    assert len(shapes) == 2  # nothing is no bar
    assert [float(shape.get("height")) for shape in shapes] == [141.0, 47.0]
    assert svg.get("aria-label") == '"<t>'
    heat = ET.fromstring(charts.heat([[0] * 24] * 6 + [[0] * 23 + [9]], list("abcdefg"), title="t", number=str))
    fills = [child.get("fill") for child in heat if child.tag.endswith("rect")]
    assert (len(fills), fills[0], fills[-1]) == (168, "#f5f6f4", "#0f766e")
    dots = ET.fromstring(charts.line([1, None, 2, 3], list("abcd"), title="t", number=str, empty="none"))
    assert [child.tag.rpartition("}")[2] for child in dots if child.get("r") or child.get("points")] == [
        "circle",
        "polyline",
    ]


def test_days_that_are_not_whole_are_marked_and_the_mark_is_explained(example):
    whole = render(example, "en")
    days = Month(2025, 10).days
    nine_us = EXAMPLE["MADE_US"] - 10 * 86_400_000_000  # 22 October, 9 in the morning: of summer time
    found = dataclasses.replace(example, until_us=nine_us, began=days[2])
    assert found.days_in_part == {days[2], days[21]}
    assert (example.days_in_part, "grey ground" in whole) == (set(), False)
    html = render(found, "en")
    assert html.count(f'fill="{charts.IN_PART}"') == 4  # of the requests and of the errors
    assert "On grey ground" in html
    assert "Con fondo gris" in render(found, "es")
    midnight = dataclasses.replace(example, until_us=nine_us - 9 * 3_600_000_000)
    assert midnight.days_in_part == set()


def test_a_chart_of_nothing_says_so_and_has_no_axis():
    for chart in (
        charts.bars([0, 0], ["1", "2"], muted=[False] * 2, title="t", number=str, empty="<none>"),
        charts.line([None, None], ["1", "2"], title="t", number=str, empty="<none>"),
    ):
        svg = ET.fromstring(chart)
        assert [child.text for child in svg if child.tag.endswith("text")] == ["<none>"]
        assert [child for child in svg if child.tag.endswith("line")] == []


def test_no_line_of_the_grid_goes_through_the_highest_number():
    svg = ET.fromstring(
        charts.bars([1, 38, 20], ["a", "b", "c"], muted=[False] * 3, title="t", number="{:.0f}".format, empty="none")
    )
    kinds = [child.tag.rpartition("}")[2] for child in svg]
    ground, number = list(svg)[-2:]
    assert (kinds[-2:], ground.get("fill"), number.text) == (["rect", "text"], "#ffffff", "38")
    top = float(ground.get("y"))
    bottom, baseline = top + float(ground.get("height")), float(number.get("y"))
    assert top <= baseline - 5.2 < baseline <= bottom  # digits are 0.74 of the letters' size high
    # Here the grid's line of 40 would do it.
    assert any(child.tag.endswith("line") and top < float(child.get("y1")) < bottom for child in svg)
    assert bottom <= min(float(child.get("y")) for child in svg if child.get("fill") == charts.BAR)


@pytest.mark.parametrize(("value", "ceiling"), [(0, 1), (0.4, 1), (1, 1), (7, 8), (11, 15), (317, 400), (8001, 10000)])
def test_the_end_of_an_axis(value, ceiling):
    assert charts.nice_ceiling(value) == ceiling


# --- the PDF -------------------------------------------------------------------------------------------------------


@pytest.mark.pdf
@pytest.mark.parametrize(
    ("lang", "title"), [("en", "Usage report, October 2025"), ("es", "Informe de uso, octubre de 2025")]
)
def test_the_pdf(example, lang, title):
    import pypdf

    report = make_of(example, lang, pdf=True)
    assert report.missing == ""  # no box stands in for a character
    assert report.title == title
    assert report.summary == " ".join(lead(example, Words(lang)))
    document = pypdf.PdfReader(io.BytesIO(report.pdf))
    assert len(document.pages) == 3
    assert document.metadata.title == title
    assert document.root_object["/Lang"] == lang
    text = "\n".join(page.extract_text() for page in document.pages)
    for name in (
        "ana@factory.example",
        "李小龙@factory.example",
        "Юлия Петрова",
        "김민준@factory.example",
        "नेहा",
        "🍫",
        "/quality/samples",
    ):
        assert name in text
    assert set("فاطمة") <= set(text)  # an extractor may turn its order round
    for page in document.pages:
        for font in page["/Resources"]["/Font"].values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            assert {"/FontFile2", "/FontFile3"} & descendant["/FontDescriptor"].get_object().keys()


def deployed(count):
    """Return deployments of hostile names, each with an hour before and one after."""
    before = Side(minutes=60.0, requests=1234, requests_per_minute=20.57, error_rate=0.01234, p95_ms=1234.5)
    after = Side(minutes=60.0, requests=12, requests_per_minute=0.2, error_rate=None, p95_ms=None)
    return [
        Deployment(
            time=f"2025-10-{7 + day:02}T09:00:00.000Z", kind="version", service=HOSTILE, text="1.4 " + "w" * 90,
            of=None, before=before, after=after, new_errors=day,
        )
        for day in range(count)
    ]  # fmt: skip


def test_deployments_have_a_line_with_before_and_after(example):
    page = render(example, "en", deployed(1))
    assert "7 Oct, 11:00" in page
    assert [said in page for said in ("20.6 → 0.2", "1.2% → –", "1.23\N{NO-BREAK SPACE}s → –")] == [True] * 3
    assert "<script" not in page
    assert "Deployments" not in render(example, "en")


def test_what_an_operator_can_do_is_in_the_message_not_on_the_pages(tmp_path):
    bare = numbers_of(tmp_path, list(EXAMPLE["rows"](random.Random(2025)))[-50:], Routes())
    report = make_of(bare, "en", pdf=False)
    assert ("TAILTRACE_OPENAPI" in report.summary, "TAILTRACE_" in report.html) == (True, False)


def test_emoji_keep_a_distance():
    assert str(spaced("<b> 🍫🍫 André")) == '&lt;b&gt; <span class="emoji">🍫🍫</span> André'


@pytest.mark.pdf
def test_no_page_is_nearly_empty(tmp_path):
    """Of two people alone, what is left for the third page is little: the second gives it some."""
    import pypdf

    two = {"ana@factory.example", "André 🍫"}
    few = [one for one in EXAMPLE["rows"](random.Random(2025)) if one.identity.user in two]
    numbers = numbers_of(tmp_path, few, EXAMPLE["routes"]())
    left, spread = (pdf.make_pdf(render(numbers, "en", is_spread=is_spread)) for is_spread in (False, True))
    assert (left.pages, left.last_fill < FILL_MIN, spread.pages, spread.last_fill > FILL_MIN) == (3, True, 3, True)
    made = make_of(numbers, "en", pdf=True).pdf
    pages = [[page.extract_text() for page in pypdf.PdfReader(io.BytesIO(one)).pages] for one in (made, spread.content)]
    assert pages[0] == pages[1]


@pytest.mark.pdf
@pytest.mark.parametrize("lang", ["en", "es"])
def test_as_much_as_there_can_be_stays_on_three_pages(hostile, lang):
    import pypdf

    assert hostile.comparable
    assert (len(hostile.changes), len(hostile.unused), len(hostile.people), len(hostile.cards)) == (9, 14, 10, 5)
    assert len(pypdf.PdfReader(io.BytesIO(make_of(hostile, lang, deployed(3), pdf=True).pdf)).pages) == 3


@pytest.mark.pdf
def test_little_takes_two_pages(tmp_path):
    import pypdf

    store = SqliteStore(tmp_path / "t.db")
    store.write(list(EXAMPLE["rows"](random.Random(2025)))[-3:])
    report = make(SETTINGS, store, Routes(), month=Month(2025, 10), now_us=EXAMPLE["MADE_US"], lang="es")
    store.close()
    assert len(pypdf.PdfReader(io.BytesIO(report.pdf)).pages) == 2


@pytest.mark.pdf
def test_a_character_without_a_font_is_told():
    assert pdf.make_pdf("<p>a\U0010fffd b").missing == "\U0010fffd"


@pytest.mark.pdf
def test_nothing_is_fetched(tmp_path):
    (tmp_path / "secret.css").write_text("p { content: 'x' }", encoding="utf-8")
    opened = []
    import sys

    sys.addaudithook(
        lambda event, args: opened.append(args[0]) if event == "open" and "secret.css" in str(args[0]) else None
    )
    made = pdf.make_pdf(
        f'<link rel=stylesheet href="file://{tmp_path}/secret.css"><img src="file://{tmp_path}/secret.css"><p>a'
    )
    assert made.content.startswith(b"%PDF-")
    assert opened == []


def test_without_the_library_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(pdf.PdfError, match=r"pip install 'tailtrace\[pdf\]'"):
        pdf.make_pdf("<p>")


def test_without_pango_the_packages_are_named(monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **more):
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0': no such file\nand more")
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        pdf.PdfError, match=r"lacks \(cannot load library 'libpango-1.0-0': no such file\): apt install libpango-1.0-0"
    ):
        pdf.make_pdf("<p>")
