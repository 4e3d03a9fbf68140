import pytest

from tailtrace_bridge.core.records import Access, Traffic
from tailtrace_bridge.rows.traffic import classify, static_extension


def access(path: str, agent: str = "", status: int = 200, card: str = "") -> Access:
    return Access(1, 1, "100.64.0.7", "GET", path, status, None, None, False, 0, "", "", "", agent, card)


FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"


@pytest.mark.parametrize(
    ("request_", "traffic"),
    [
        (access("/_tailtrace/view", FIREFOX, 204, "Prices"), Traffic.CARD),
        (access("/_tailtrace/view", FIREFOX, 204, ""), Traffic.STATIC),
        (access("/_tailtrace/view", FIREFOX, 404, "Prices"), Traffic.STATIC),
        (access("/health"), Traffic.HEALTH),
        (access("/healthz/"), Traffic.HEALTH),
        (access("/metrics"), Traffic.HEALTH),
        (access("/metrics/sticker/438"), Traffic.APP),
        (access("/", "kube-probe/1.30"), Traffic.HEALTH),
        (access("/", "ELB-HealthChecker/2.0"), Traffic.HEALTH),
        (access("/", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"), Traffic.HEALTH),
        (access("%16%03%01"), Traffic.BOT),
        (access("host:443"), Traffic.BOT),
        (access("", FIREFOX, 400), Traffic.BOT),
        (access("/", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), Traffic.BOT),
        (access("/app.css", "Mozilla/5.0 (compatible; bingbot/2.0)"), Traffic.BOT),
        (access("/", "Baiduspider/2.0"), Traffic.BOT),
        (access("/", "masscan/1.0"), Traffic.BOT),
        (access("/", "Dalvik/2.1.0 (Linux; U; Android 7.0; CUBOT_NOTE_S Build/NRD90M)"), Traffic.APP),
        (access("/", "Dalvik/2.1.0 (Linux; U; Android 7.1.2; M bot Tab 103 Build/NHG47K)"), Traffic.APP),
        (access("/static/anything"), Traffic.STATIC),
        (access("/deep/Logo.PNG", FIREFOX), Traffic.STATIC),
        (access("/robots.txt"), Traffic.STATIC),
        (access("/report.pdf"), Traffic.APP),
        (access("/png"), Traffic.APP),
        (access("/", "curl/8.5.0"), Traffic.APP),
        (access("/", "python-requests/2.32"), Traffic.APP),
        (access("/dashboard", FIREFOX), Traffic.APP),
    ],
)
def test_what_a_request_was_for(request_, traffic):
    assert classify(request_) is traffic


@pytest.mark.parametrize(
    "path", ["/.env", "/api/.env.local", "/.git/config", "/wp-login.php", "/blog/wp-admin/", "/phpmyadmin/index.php", "/config.json", "/cgi-bin/luci", "/backup.sql.gz", "/etc/passwd", "/current_config/passwd"]
)  # fmt: skip
def test_what_scanners_look_for_is_no_usage_whatever_their_agent(path):
    for status in (404, 403, 300, 301, 502, 400):
        assert classify(access(path, FIREFOX, status)) is Traffic.BOT
    for status in (200, 304):  # it is there: a site of that kind
        assert classify(access(path, FIREFOX, status)) is not Traffic.BOT
    assert classify(access(path, FIREFOX, 404), route=path) is not Traffic.BOT, "the app has it"


@pytest.mark.parametrize(
    "path", ["/environment", "/wp-loginsomething", "/gitlab/config", "/items/env", "/configs", "/my.env.page"]
)
def test_what_only_looks_like_it_is_usage(path):
    assert classify(access(path, FIREFOX, 404)) is Traffic.APP


@pytest.mark.parametrize(
    ("path", "route", "traffic"),
    [
        ("/tiles/3/2/1.png", "/tiles/{z}/{x}/{y}.png", Traffic.APP),
        ("/maps/tiles/3/2/1.png", "/tiles/{z}/{x}/{name}", Traffic.APP),  # a prefix that nginx took off
        ("/chart.svg", "/chart.svg", Traffic.APP),
        ("/static/app.js", "/static", Traffic.STATIC),  # a folder of files that the app mounts
        ("/static/app.js", "", Traffic.STATIC),
        ("/ui/index", "/ui/{path:path}", Traffic.STATIC),
        ("/ui/app.js", "/ui/{path:path}", Traffic.STATIC),
    ],
)
def test_what_a_route_of_the_app_answered_is_its_own(path, route, traffic):
    assert classify(access(path, FIREFOX), static_paths=("/ui/",), route=route) is traffic


def test_health_paths_are_a_setting():
    assert classify(access("/alive"), frozenset({"/alive"})) is Traffic.HEALTH
    assert classify(access("/health"), frozenset({"/alive"})) is Traffic.APP


@pytest.mark.parametrize(("path", "extension"), [("/a.b/c", ""), ("/a.CSS", "css"), ("css", ""), ("/x.js.map", "map")])
def test_the_extension_of_a_static_file(path, extension):
    assert static_extension(path) == extension
