import ipaddress
import json
import os
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tailtrace_bridge.core.errors import IdentityError
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import printable
from tailtrace_bridge.identity.chain import Found, NotFound
from tailtrace_bridge.identity.static_file import FILE_BYTES_MAX, IdentityFile, load_identities, parse_identities
from tailtrace_bridge.testing import FakeClock

SAMPLE = Path(__file__).parents[1] / "samples" / "identities.toml"


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        ("100.64.0.7", Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "", "", "static")),
        ("::ffff:100.64.0.7", Identity("::ffff:100.64.0.7", "user", "ana@example.com", "ana-laptop", "", "", "static")),
        ("127.0.0.11", Identity("127.0.0.11", "user", "ana@example.com", "ana-laptop", "", "", "static")),
        (
            "fd7a:115c:a1e0::9",
            Identity("fd7a:115c:a1e0::9", "tagged", "", "runner", "", "tag:ci,tag:server", "static"),
        ),
        ("10.20.1.1", Identity("10.20.1.1", "unknown", "", "office", "", "", "static")),
        ("10.20.30.1", Identity("10.20.30.1", "shared", "cleo@example.org", "workshop", "", "", "static")),
        ("10.20.30.40", Identity("10.20.30.40", "user", "dan@example.com", "bench", "", "", "static")),
        ("2001:db8:1::1", Identity("2001:db8:1::1", "unknown", "", "branch", "", "", "static")),
        ("unix:", Identity("unix:", "self", "", "sidecar", "", "", "static")),
    ],
)
def test_the_sample_names(address: str, identity: Identity) -> None:
    assert IdentityFile(SAMPLE, clock=FakeClock()).whois(address) == Found(identity, since_us=0)  # of any time


@pytest.mark.parametrize("address", ["100.64.0.9", "127.0.0.1", "10.21.0.1", "::1", "2001:db9::1", "nonsense", ""])
def test_the_sample_does_not_name(address: str) -> None:
    assert IdentityFile(SAMPLE, clock=FakeClock()).whois(address) == NotFound()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", '"100.64.0.7" = { user = "ana@example.com", device = "ana-laptop" }'),
        ("a.toml", '[addresses]\n"100.64.0.7" = { user = "ana@example.com", device = "ana-laptop" }'),
        ("a.toml", '[addresses."100.64.0.7"]\nuser = "ana@example.com"\ndevice = "ana-laptop"'),
        ("a.toml", '\ufeff["100.64.0.7/32"]\nuser = "ana@example.com"\ndevice = "ana-laptop"'),
        ("a.toml", '["::ffff:100.64.0.7"]\nuser = "ana@example.com"\ndevice = "ana-laptop"'),
        ("a.json", '{"100.64.0.7": {"user": "ana@example.com", "device": "ana-laptop"}}'),
        ("a.json", '{"addresses": {"100.64.0.7": {"user": "ana@example.com", "device": "ana-laptop"}}}'),
    ],
)
def test_forms_that_mean_the_same(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    ana = Identity("100.64.0.7", "user", "ana@example.com", "ana-laptop", "", "", "static")
    assert load_identities(tmp_path / name).find("100.64.0.7") == ana


def test_an_empty_file_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    assert load_identities(tmp_path / "a.toml").find("100.64.0.7") is None


def test_a_joined_emoji_is_shown_as_in_a_name_from_tailscale(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('"10.0.0.1" = { device = "ana \U0001f469\u200d\U0001f4bb" }', encoding="utf-8")
    found = load_identities(tmp_path / "a.toml").find("10.0.0.1")
    assert found is not None
    assert found.device == printable("ana \U0001f469\u200d\U0001f4bb") == "ana \U0001f469\\u200d\U0001f4bb"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", '"x" = 1 1', "not valid TOML: "),
        ("a.toml", '"100.64.0.7" = { user = "a" }\n"100.64.0.7" = { user = "b" }', "not valid TOML: "),
        ("a.json", "{", "not valid JSON: "),
        ("a.json", '{"10.0.0.1": {"user": "a"}, "10.0.0.1": {"user": "b"}}', "'10.0.0.1' stands in it twice; keep one"),
        ("a.json", "[" * 100_000, "not valid JSON: "),
        ("a.json", "[]", "must be a table"),
        ("a.json", '{"addresses": []}', "addresses must be a table"),
        ("a.toml", '[addresses]\n[adresses]\n"10.0.0.1" = {}', "unknown key 'adresses' beside [addresses]"),
        ("a.toml", '"10.0.0.300" = { user = "a" }', "'10.0.0.300': neither an address nor a range; write"),
        ("a.toml", '10.0.0.1 = { user = "a" }', "'10': neither an address nor a range; write \"100.64.0.7\""),
        ("a.toml", '"10.0.0.0/33" = { user = "a" }', "'10.0.0.0/33': neither an address nor a range"),
        ("a.toml", '"10.0.0.0/ab" = { user = "a" }', "'10.0.0.0/ab': neither an address nor a range"),
        ("a.toml", '"10.0.0.0/²" = { user = "a" }', "'10.0.0.0/²': neither an address nor a range"),
        ("a.toml", '"10.0.0.0/" = { user = "a" }', "'10.0.0.0/': neither an address nor a range"),
        ("a.toml", '"10.0.0.0/-8" = { user = "a" }', "'10.0.0.0/-8': neither an address nor a range"),
        ("a.toml", '"10.0.0.01" = { user = "a" }', "'10.0.0.01': neither an address nor a range"),
        ("a.toml", '"10.0.0.1\\u0000" = { user = "a" }', "neither an address nor a range"),
        ("a.toml", '"10.0.0.1/8" = { user = "a" }', 'write "10.0.0.0/8" or "10.0.0.1"'),
        (
            "a.toml",
            '"10.0.0.1" = { user = "a" }\n"10.0.0.1/32" = { user = "b" }',
            "'10.0.0.1/32': the same as '10.0.0.1' further up; keep one",
        ),
        (
            "a.toml",
            '"fd7a:115c:a1e0::1" = { user = "a" }\n"FD7A:115C:A1E0:0::1" = { user = "b" }',
            "the same as 'fd7a:115c:a1e0::1' further up",
        ),
        (
            "a.toml",
            '"10.0.0.1" = { users = "a" }',
            "'10.0.0.1': unknown key 'users'; known are user, device, kind, tags",
        ),
        ("a.toml", '"10.0.0.1" = "ana"', "'10.0.0.1': must be a table"),
        ("a.toml", '"10.0.0.1" = { user = 7 }', "'10.0.0.1': user must be text in quotes"),
        ("a.toml", '"10.0.0.1" = { user = "a\\u001b[31m" }', "user must be at most 254 printable characters"),
        ("a.toml", f'"10.0.0.1" = {{ device = "{"x" * 255}" }}', "device must be at most 254 printable characters"),
        ("a.toml", '"10.0.0.1" = { user = "a", kind = "person" }', "kind 'person' is none of user, tagged"),
        ("a.toml", '"10.0.0.1" = { device = "a", kind = "user" }', "kind user needs a user"),
        ("a.toml", '"10.0.0.1" = { user = "a", kind = "tagged" }', "a service, not a person; remove user"),
        ("a.toml", '"10.0.0.1" = { user = "a", tags = ["tag:ci"] }', "a service, not a person; remove user"),
        ("a.toml", '"10.0.0.1" = { tags = ["ci"] }', 'tags must be a list such as ["tag:ci"]'),
        ("a.toml", '"10.0.0.1" = { tags = ["tag:a,tag:b"] }', "without commas"),
        ("a.toml", '"10.0.0.1" = {}', "'10.0.0.1': says nothing; give it a user or a device"),
    ],
)
def test_what_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(IdentityError) as raised:
        load_identities(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


@pytest.mark.parametrize("name", ["a.toml", "a.json"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_named_with_what_to_do(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_text('"10.0.0.1" = { user = "é" }', encoding=encoding)
    with pytest.raises(IdentityError, match="save it as UTF-8") as raised:
        load_identities(path)
    assert "codec" not in str(raised.value)


_ADDRESSES = st.ip_addresses().map(str) | st.from_regex(r"[0-9a-f:.]{1,20}", fullmatch=True) | st.text(max_size=8)
_LENGTHS = st.just("") | st.integers(-1, 130).map("/{}".format) | st.text("/0123456789.²x", max_size=5)


@given(_ADDRESSES, _LENGTHS)
@example("::ffff:100.64.0.7", "/120")
@example("fe80::1%eth0", "")
@example("10.0.0.0", "/255.0.0.0")
@example("10.0.0.0", "/008")
def test_a_key_is_what_the_standard_library_takes_it_for(address: str, length: str) -> None:
    key = address + length
    if key == "unix:":
        return
    try:
        network = ipaddress.ip_network(key.replace("%", "no scope"))
    except ValueError:
        with pytest.raises(IdentityError):
            parse_identities({key: {"user": "ana"}}, "a.toml")
        return
    names = parse_identities({key: {"user": "ana"}}, "a.toml")
    assert names.find(str(network[0])) is not None
    assert names.find(str(network[-1])) is not None
    if network.prefixlen:
        outside = int(network[0]) ^ (1 << network.max_prefixlen - network.prefixlen)
        assert names.find(str(type(network[0])(outside))) is None


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        IdentityError, match=r"none\.toml: cannot be read \(No such file or directory\); mend it or unset"
    ):
        IdentityFile(tmp_path / "none.toml", clock=FakeClock())
    with pytest.raises(IdentityError, match=r"cannot be read \(Is a directory\)"):
        load_identities(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'"10.0.0.1" = { user = "Zo\xe9" }')
    with pytest.raises(IdentityError, match=r"not UTF-8 \(byte 26\); save it as UTF-8"):
        load_identities(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (FILE_BYTES_MAX + 1))
    with pytest.raises(IdentityError, match="larger than 8388608 bytes"):
        load_identities(tmp_path / "big.toml")


def _write(path: Path, user: str, mtime_s: int) -> None:
    path.write_text(json.dumps({"10.0.0.1": {"user": user}}))
    os.utime(path, (mtime_s, mtime_s))


def test_a_changed_file_is_read_again_at_most_once_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.json", FakeClock()
    _write(path, "ana", 1000)
    provider = IdentityFile(path, clock=clock)

    def user() -> str:
        answer = provider.whois("10.0.0.1")
        return answer.identity.user if isinstance(answer, Found) else ""

    _write(path, "ben", 1001)
    clock.now_us = 999_999
    assert user() == "ana"
    clock.now_us = 1_000_000
    assert user() == "ben"
    _write(path, "cat", 1002)
    clock.now_us = 1_999_999
    assert user() == "ben"
    clock.now_us = 2_000_000
    assert user() == "cat"
    assert (provider.reloads, provider.reload_failures) == (2, 0)


def test_a_broken_new_file_keeps_the_old_map_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "a.json", FakeClock()
    _write(path, "ana", 1000)
    provider = IdentityFile(path, clock=clock)
    path.write_text("{")
    for _ in range(5):
        clock.now_us += 1_000_000
        assert isinstance(provider.whois("10.0.0.1"), Found)
    assert len(caplog.records) == 1
    assert caplog.records[0].message.startswith(f"identities: the old map stays in use: {path}: not valid JSON: ")
    path.unlink()
    for _ in range(5):
        clock.now_us += 1_000_000
        assert isinstance(provider.whois("10.0.0.1"), Found)
    assert len(caplog.records) == 2
    assert "cannot be read (No such file or directory)" in caplog.records[1].message
    _write(path, "ben", 1000)
    clock.now_us += 1_000_000
    assert provider.whois("10.0.0.1") == Found(Identity("10.0.0.1", "user", "ben", "", "", "", "static"), 0)
    assert (provider.reloads, provider.reload_failures) == (1, 2)


def both(tmp_path, text, name="a.json"):
    """Return how the file is read, as it comes and as a whole, or what is wrong with it."""
    path = tmp_path / name
    path.write_text(text)
    said = []
    for read in (load_identities, whole):
        try:
            found = read(path)
            said.append((found.exact, found.networks))
        except IdentityError as error:
            said.append(str(error))
    return said


def whole(path):
    text = path.read_text()
    try:
        document = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise IdentityError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from error
    return parse_identities(document, str(path))


ANA = '{"user": "ana"}'


@pytest.mark.parametrize(
    "text",
    [
        "{}", f'{{"10.0.0.1": {ANA}}}', f' {{\n"10.0.0.1" :{ANA} ,\t"unix:":{ANA}}}\n', f'{{"addresses": {{"10.0.0.1": {ANA}}}}}',
        f'{{"10.0.0.1": {ANA}}} x', f'{{"10.0.0.1": {ANA},}}', f'{{"10.0.0.1": {ANA}', f'{{"10.0.0.1" {ANA}}}', "[]", "", "{",
        f"{{1: {ANA}}}", f'{{"10.0.0.1": {ANA}, "10.0.0.1/32": {ANA}}}', f'{{"10.0.0.1": {ANA}, "x": {ANA}}}',
        '{"10.0.0.1": {"user": "{\\"a\\"}"}}', f'{{"\\u0031.0.0.1": {ANA}}}',
    ],
)  # fmt: skip
def test_json_is_read_as_it_comes_as_if_it_were_read_whole(tmp_path, text):
    as_it_comes, as_a_whole = both(tmp_path, text)
    assert as_it_comes == as_a_whole


@pytest.mark.parametrize(
    "text",
    [
        "", '"10.0.0.1" = { user = "ana" }\n# and\n"unix:" = { user = "ben" }', '["10.0.0.1"]\nuser = "ana"\ndevice = "b"\n',
        '"10.0.0.1".user = "ana"\n"10.0.0.1".device = "b"', '[addresses]\n"10.0.0.1" = { user = "ana" }\n"10.0.0.2" = { user = "b" }',
        '"10.0.0.1" = { user = """\\\n"10.0.0.2" = { }""" }\n', '"10.0.0.1" = { user = "ana" }\n"10.0.0.1" = { user = "b" }',
        '"10.0.0.1" = { user = "ana", tags = [\n] }\n', '"10.0.0.1" = {', '"unix:" = { user = "ana" }\n"unix:" = { user = "b" }',
    ],
)  # fmt: skip
@pytest.mark.parametrize("length", [1, 20, 50_000])
def test_toml_is_read_some_lines_at_a_time_as_if_it_were_read_whole(tmp_path, monkeypatch, text, length):
    monkeypatch.setattr("tailtrace_bridge.identity.static_file.PIECE_LENGTH", length)
    as_it_comes, as_a_whole = both(tmp_path, text, "a.toml")
    if isinstance(as_a_whole, str):  # told in the words of another reader of TOML
        assert isinstance(as_it_comes, str)
    else:
        assert as_it_comes == as_a_whole
