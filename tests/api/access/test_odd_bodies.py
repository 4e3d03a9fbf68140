"""Bodies without a length, without an end, or with what no answer can say: each has the one form of errors."""

import json

import pytest

pytestmark = pytest.mark.anyio
PIECES = 1000


@pytest.fixture
def app(make_api, tokens):
    return make_api(listen="0.0.0.0:8470", access="token")


def in_pieces(taken):
    """A body of 64 MB, which says no length; `taken` is what was read of it."""

    async def body():
        for _ in range(PIECES):
            taken.append(1)
            yield b"x" * 64_000

    return body()


@pytest.mark.parametrize(
    ("path", "who", "status"),
    [
        ("/login", "", 413),
        ("/logout", "", 413),
        ("/analytics/markers", "admin", 413),
        ("/mcp", "admin", 413),
        ("/analytics/markers", "", 401),
        ("/mcp", "", 401),
        ("/nowhere", "", 401),
        ("/nowhere", "admin", 413),
    ],
)
async def test_a_body_without_an_end_is_not_kept(app, ask, tokens, path, who, status):
    taken = []
    answer = await ask(
        app, path, method="POST", token=tokens.get(who, ""), content=in_pieces(taken),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert len(taken) <= 5


async def test_a_short_body_without_a_length_is_read(app, ask, tokens):
    async def body():
        yield b'{"text": "shop 1.4 '
        yield b'deployed"}'

    answer = await ask(
        app, "/analytics/markers", method="POST", token=tokens["admin"], content=body(),
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["text"]) == (201, "shop 1.4 deployed")


@pytest.mark.parametrize(
    "body",
    [
        rb'{"text": "\ud800"}', b'{"text": NaN}', b'{"text": -Infinity}', rb'{"\udfff": 1}', b'{"text": 1e999}', b"[NaN]",
        b'{"code": {"a": [NaN, "\\ud800"]}}', b"{", b"\xff", b"[" * 100_000, b'{"text": %s}' % (b"9" * 9000),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/login", "/analytics/markers"])
async def test_what_no_answer_can_repeat(app, ask, tokens, path, body):
    answer = await ask(
        app, path, method="POST", token=tokens["admin"], content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {400, 422}
    assert list(json.loads(answer.content, parse_constant=pytest.fail)) == ["detail"]


@pytest.mark.parametrize(
    ("method", "more", "status"),
    [
        ("GET", {}, 405),
        ("POST", {"Content-Type": "text/plain"}, 400),
        ("POST", {"Content-Type": "application/json", "Origin": "https://elsewhere.example"}, 403),
    ],
)
async def test_errors_of_mcp_have_the_form_of_all_others(app, ask, tokens, caplog, method, more, status):
    answer = await ask(app, "/mcp", method=method, token=tokens["admin"], content=b"{}", headers=more)
    assert (answer.status_code, list(answer.json())) == (status, ["detail"])
    assert [one for one in caplog.records if one.name.startswith("mcp")] == [], "no line of the log for each"
