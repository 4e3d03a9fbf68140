import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailtrace_bridge.core.records import OTHER
from tailtrace_bridge.rows.routes import ROUTE_LENGTH_MAX, Routes


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", "/"),
        ("/metrics/sticker/438", "/metrics/sticker/{id}"),
        ("/packs/all", "/packs/all"),
        ("/a//b/", "/a/b"),
        ("/v1/users/-5", "/v1/users/{id}"),
        ("/days/2025-10-08/2025-10-08T14:32:15Z", "/days/{id}/{id}"),
        ("/range/1,2,3", "/range/{id}"),
        ("/o/5af7183f-b1d4-4f5f-a0b5-a2d7d4b3c1aa", "/o/{id}"),
        ("/commit/1a2b3c4d", "/commit/{id}"),
        ("/word/deadbeef", "/word/deadbeef"),
        ("/t/AbC1AbC1AbC1AbC1AbC1.pdf", "/t/{id}"),  # as base64 it has dots of its own
        ("/t/abcdefghijklmnopq1234.pdf", "/t/{id}.pdf"),
        ("/t/abcdefghijklmnopq123.m4", "/t/abcdefghijklmnopq123.m4"),  # a digit of the extension is none of it
        ("/1.5.x2/7.tar.gz/x7", "/{id}.x2/7.tar.gz/x7"),
        ("/t/cus9s6XKzkNRiz8i3", "/t/{id}"),
        ("/t/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/t/{id}"),
        ("/blog/how-to-use-python-3-well", "/blog/how-to-use-python-3-well"),
        ("/people/ann@example.com/edit", "/people/{id}/edit"),
        ("/search/caf%C3%A9", "/search/{id}"),
        ("/x/" + "a" * 65, "/x/{id}"),
        ("/reports/438.pdf", "/reports/{id}.pdf"),
        ("/reports/year.pdf", "/reports/year.pdf"),
        ("/static/css/app.3f9a.js", "/static/*.js"),
        ("/favicon.ico", "/*.ico"),
        ("/438/logo.PNG", "/{id}/*.png"),
        ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
    ],
)
def test_a_path_without_a_template_is_folded(path, route):
    assert Routes().template("GET", path) == route


@pytest.mark.parametrize(
    ("method", "path", "status", "route"),
    [
        ("_OTHER", "/dav", 200, OTHER),
        ("GET", "%16%03", 400, OTHER),
        ("CONNECT", "host:443", 200, OTHER),
        ("GET", "/wp-login.php", 404, OTHER),
        ("GET", "/wp-login.php", 400, OTHER),
        ("GET", "/wp-login.php", 444, OTHER),
        ("GET", "/broken", 500, "/broken"),
    ],
)
def test_what_no_app_knows_is_other(method, path, status, route):
    assert Routes().template(method, path, status=status) == route


def test_a_404_counts_to_a_route_that_others_have_shown():
    routes = Routes()
    assert routes.template("GET", "/packs/9", status=404) == OTHER
    assert routes.template("GET", "/packs/1") == "/packs/{id}"
    assert routes.template("GET", "/packs/9", status=404) == "/packs/{id}"


LEARNED = [
    ("GET", "/items/{item_id}"),
    ("DELETE", "/items/{id}"),
    ("GET", "/items/new"),
    ("GET", "/items/{item_id}/parts/{part}"),
    ("GET", "/files/{rest:path}"),
    ("GET", "/files/{name}.json"),
    ("GET", "/{page}"),
    ("PUT", "/items/new"),
    ("POST", "/{any}/new"),
]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", "/items/chocolate", "/items/{item_id}"),
        ("GET", "/items/chocolate/", "/items/{item_id}"),
        ("DELETE", "/items/chocolate", "/items/{id}"),
        ("HEAD", "/items/chocolate", "/items/{item_id}"),
        ("GET", "/items/new", "/items/new"),
        ("POST", "/items/new", "/{any}/new"),
        ("GET", "/items/new/parts/7", "/items/{item_id}/parts/{part}"),
        ("GET", "/files/a/b/c", "/files/{rest:path}"),
        ("GET", "/files/a.json", "/files/{name}.json"),
        ("GET", "/files/.json", "/files/{rest:path}"),
        ("GET", "/about", "/{page}"),
        ("GET", "/", "/"),
        ("_OTHER", "/about", "/{page}"),
    ],
)
@pytest.mark.parametrize("learned", [LEARNED, LEARNED[::-1]], ids=["forth", "back"])
def test_the_most_specific_template_wins_in_whatever_order_they_were_learned(learned, method, path, route):
    routes = Routes()
    for template in learned:
        routes.learn(*template)
    if method == "HEAD":  # any template of the path will do: it has none of its own
        assert routes.template(method, path) in {"/items/{item_id}", "/items/{id}"}
    else:
        assert routes.template(method, path) == route


def test_a_learned_template_holds_for_a_404_and_for_paths_seen_before():
    routes = Routes()
    assert routes.template("GET", "/users/ann") == "/users/ann"
    routes.learn("GET", "/users/{name}")
    assert routes.template("GET", "/users/ann") == "/users/{name}"
    assert routes.template("GET", "/users/bob", status=404) == "/users/{name}"


def test_a_template_learned_for_a_service_holds_for_it_alone():
    routes = Routes()
    routes.learn("GET", "/{everything}")
    routes.learn("GET", "/{shop}", "shop.example")
    assert routes.template("GET", "/a", "shop.example") == "/{shop}"
    assert routes.template("GET", "/a", "other.example") == "/{everything}"


def test_folded_paths_are_bounded_and_what_is_over_is_counted():
    routes = Routes(limit=2)
    given = ["/a", "/b", "/c", "/c", "/a", "/d"]
    assert [routes.template("GET", path) for path in given] == ["/a", "/b", OTHER, OTHER, "/a", OTHER]
    assert routes.over_limit_count == 3


def test_learned_templates_are_bounded_and_what_is_over_is_counted():
    routes = Routes(limit=1)
    for route in ["/a/{x}", "/a/{x}", "/b/{x}"]:
        routes.learn("GET", route)
    assert routes.unlearned_count == 1
    assert routes.template("GET", "/a/word") == "/a/{x}"
    assert routes.template("GET", "/b/word") == "/b/word"


def test_features_have_the_names_of_the_openapi_file():
    routes = Routes()
    routes.learn_openapi(
        {
            "paths": {
                "/predict/prices/{week}": {"post": {"summary": "Post it"}, "get": {"summary": " Weekly prices "}},
                "/plain": {"get": {}, "parameters": []},
            }
        }
    )
    assert routes.template("GET", "/predict/prices/next") == "/predict/prices/{week}"
    assert routes.feature("/predict/prices/{week}") == "Weekly prices"
    assert routes.feature("/plain") == "/plain"
    assert routes.feature("/unknown") == "/unknown"


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["paths", "get", "post", "summary", "/a"]), inner),
)


@settings(deadline=None)
@given(JSON)
def test_a_malformed_openapi_file_is_passed_over(paths):
    routes = Routes()
    routes.learn_openapi({"paths": paths})
    assert routes.template("GET", "/b") == "/b"


@settings(deadline=None)
@given(st.lists(st.text("/{}:path.a1", max_size=12)), st.text("/a1.%{}", max_size=12))
def test_any_templates_and_any_path_give_a_route(learned, path):
    routes = Routes()
    for route in learned:
        routes.learn("GET", route)
    assert routes.template("GET", path).startswith(("/", OTHER))


@pytest.mark.parametrize(
    ("template", "path", "route"),
    [
        ("/items/{id}", "/items/7/parts", "/items/{id}/parts"),  # only starts alike
        ("/items/{id}", "/shop/items/7", "/shop/items/{id}"),  # only ends alike
        ("/items/{id}/parts", "/items/7", "/items/{id}"),  # the template goes on
        ("/shop/items/{id}", "/items/7", "/items/{id}"),  # the template began before
        ("/a/v{version}", "/a/v2", "/a/v{version}"),
        ("/a/v{version}", "/a/x2", "/a/x2"),  # only ends alike
        ("/a/{name}.pdf", "/a/word.pdf", "/a/{name}.pdf"),
        ("/a/{name}.pdf", "/a/word.png", "/a/*.png"),  # only starts alike
    ],
)
def test_a_template_fits_a_whole_path_and_no_part_of_one(template, path, route):
    routes = Routes()
    routes.learn("GET", template)
    assert routes.template("GET", path) == route


def test_a_path_as_deep_and_a_segment_as_long_as_may_be_stay():
    deep = "/" + "/".join("abcdefgh")
    assert Routes().template("GET", deep) == deep
    assert Routes().template("GET", "/x/" + "a" * 64) == "/x/" + "a" * 64


@pytest.mark.parametrize(
    ("route", "is_learned"),
    [("/" + "r" * (ROUTE_LENGTH_MAX - 1), True), ("/" + "r" * ROUTE_LENGTH_MAX, False), ("items", False)],
)
def test_what_is_learned(route, is_learned):
    routes = Routes()
    routes.learn("GET", route)
    assert routes.learned() == ([("GET", route)] if is_learned else [])


def test_a_value_with_words_around_it_goes_before_any_value():
    routes = Routes()
    for route in ("/a/{id}", "/a/{id}.json", "/a/x{id}"):
        routes.learn("GET", route)
    assert [routes.template("GET", path) for path in ("/a/5", "/a/5.json", "/a/x5")] == [
        "/a/{id}",
        "/a/{id}.json",
        "/a/x{id}",
    ]


def test_what_an_app_tells_is_a_route_up_to_the_limit():
    routes = Routes(limit=1)
    assert [routes.reported("GET", route) for route in ("/a", "/a", "/b")] == ["/a", "/a", OTHER]
    assert (routes.over_limit_count, routes.unlearned_count) == (1, 1)


def test_what_is_malformed_in_an_openapi_file_is_passed_over_and_the_rest_is_learned():
    paths = {"/a\x1b": {"get": {}}, 7: {"get": {}}, "/b": ["get"], "/c": {"get": {"summary": "See"}}}
    routes = Routes()
    routes.learn_openapi({"paths": paths})
    assert (routes.learned(), routes.feature("/c")) == ([("GET", "/c")], "See")


def test_the_cache_keeps_what_it_found_and_is_bounded(monkeypatch):
    monkeypatch.setattr("tailtrace_bridge.rows.routes.CACHE_ENTRIES_MAX", 2)
    routes = Routes()
    sizes = []
    for path in ("/a", "/b", "/c"):
        routes.template("GET", path)
        sizes.append(len(routes._cache))
    assert sizes == [1, 2, 1]


def test_the_limit_holds_over_restarts():
    routes = Routes(limit=3)
    routes.recall(["/a", "/b/{id}", "card:x", "__other__", "/items/{item_id}", "/files/{name:path}"])
    asked = [routes.template("GET", path) for path in ("/a", "/b/7", "/c", "/d", "/items/7")]
    assert asked == ["/a", "/b/{id}", "/c", OTHER, OTHER]
    assert routes.over_limit_count == 2
    assert routes.template("GET", "/a", status=404) == "/a", "what was once there is no scanner's"


def test_what_a_store_recalls_keeps_its_name_and_no_more():
    routes = Routes(limit=3)
    told = [
        ("shop", "/items/{item_id}"),
        ("", "/files/{name:path}"),
        ("shop", "/orders/{id}"),
        ("shop", "/z"),
        ("", "*"),
    ]
    routes.recall([], told)
    asked = [
        routes.template("GET", path, service)
        for path, service in (
            *(("/items/7", "shop"), ("/items/7", "other"), ("/files/a/b", "shop"), ("/orders/x", "shop")),
        )
    ]
    assert asked == ["/items/{item_id}", "/items/{id}", "/files/{name:path}", "/orders/{id}"]
    assert routes.learned() == [], "of no method that is known"
    routes.learn("POST", "/items/{new}", "shop")
    assert routes.template("POST", "/items/7", "shop") == "/items/{new}"
    assert routes.template("GET", "/items/7", "shop") == "/items/{item_id}"


def test_no_more_than_the_limit_is_recalled():
    routes = Routes(limit=1)
    routes.recall([], [("shop", "/first/{name}"), ("shop", "/second/{name}")])
    assert [routes.template("GET", path, "shop") for path in ("/first/x", "/second/x")] == [
        "/first/{name}",
        "/second/x",
    ]


def test_an_app_may_report_what_was_recalled_and_no_more_than_the_limit_with_it():
    routes = Routes(limit=2)
    routes.recall([], [("", "/items/{item_id}")])
    assert [routes.reported("GET", route) for route in ("/a", "/b", "/items/{item_id}", "/a")] == [
        "/a",
        OTHER,
        "/items/{item_id}",
        "/a",
    ]


def test_routes_of_apps_are_no_more_after_any_number_of_restarts():
    stored, over = set(), 0
    for restart in range(4):
        routes = Routes(limit=3)
        routes.recall([], stored)
        told = [routes.reported("GET", f"{slash}v{restart}/{n}/{{x}}", "shop") for slash in ("/", "") for n in range(2)]
        stored |= {("shop", route) for route in told}
        over += routes.over_limit_count
    assert (len(stored), over) == (3 + 1, 4 * 4 - 3)


def test_braces_in_a_requested_path_name_nothing():
    assert Routes().template("GET", "/{{7*7}}/a{b}.pdf") == "/{id}/{id}"
