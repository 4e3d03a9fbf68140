"""The static map: a TOML or JSON file that says who is behind an address or a range.

    "100.64.0.7" = { user = "ana@example.com", device = "ana-laptop" }
    "10.20.0.0/16" = { device = "office", kind = "unknown" }
    "fd7a:115c:a1e0::9" = { device = "runner", tags = ["tag:ci"] }

The same under a table `[addresses]`, where the file has one. A name that ends in `.json` is JSON, any other TOML.

| what | rule |
|---|---|
| key | an address, a range in CIDR form, or `unix:` (a client that came over a unix socket) |
| several ranges hold the address | the longest prefix wins; the order in the file does not matter |
| `kind` left out | user where there is a `user`, tagged where there are `tags`, else unknown |
| `tags` or kind tagged with a `user` | refused: a service is not a person |
| a joined emoji | its joiner is written out, as in the name that Tailscale tells of a device |
| a line of any time | is named: the file says who has an address, not since when |
| the file changed | read again, at most once a second; a broken one is logged once and the old map stays |
"""

import ipaddress
import json
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tailtrace_bridge.core.errors import IdentityError
from tailtrace_bridge.core.files.signature import signature_of
from tailtrace_bridge.core.records import Identity
from tailtrace_bridge.core.text import TEXT_LENGTH_MAX, parse_address, printable
from tailtrace_bridge.identity.chain import Answer, Found, NotFound

FILE_BYTES_MAX = 8 * 1024 * 1024
ENTRIES_MAX = 100_000
CHECK_EVERY_US = 1_000_000
KINDS = ("user", "tagged", "shared", "self", "subnet", "funnel", "external", "unknown")
ENTRY_KEYS = ("user", "device", "kind", "tags")
_ENTRY_KEYS = frozenset(ENTRY_KEYS)

_Network = tuple[int, int, int]
"""IP version, prefix length, network address as a number."""
_JOINERS = dict.fromkeys(map(ord, "\u200c\u200d"))
"""They join letters, and emoji; alone of what is not printable they are in names that people give."""
_log = logging.getLogger(__name__)
PIECE_LENGTH = 10_000
"""Read at once, characters; up to where the next entry begins."""


@dataclass(slots=True)
class IdentityMap:
    """Ranges and who they are; finds the longest prefix that holds an address."""

    exact: dict[str, Identity] = field(default_factory=dict)
    """Keys that are no address: `unix:`."""
    networks: dict[tuple[int, int], dict[int, Identity]] = field(default_factory=dict)
    """(IP version, prefix length), longest first → network address as a number → identity."""

    def find(self, text: str) -> Identity | None:
        """Return the identity of an address, or None."""
        address = parse_address(text)
        if address is None:
            return self.exact.get(text)
        number = int(address)
        for (version, length), identities in self.networks.items():
            if version != address.version:
                continue
            host_bits = address.max_prefixlen - length
            if found := identities.get(number >> host_bits << host_bits):
                return found._replace(address=text)
        return None


class IdentityFile:
    """The provider `static`. `clock` gives microseconds and never goes back.

    Raises `IdentityError` if the file cannot be used when it is first read, never later.
    """

    name = "static"

    def __init__(self, path: Path, *, clock: Callable[[], int]) -> None:
        self.reloads = 0
        self.reload_failures = 0
        self._path = path
        self._clock = clock
        self._checked_us = clock()
        self._signature = signature_of(self._path)
        self._map = load_identities(path)

    def whois(self, address: str) -> Answer:
        """Return who the file says it is."""
        now_us = self._clock()
        if now_us - self._checked_us >= CHECK_EVERY_US:
            self._checked_us = now_us
            self._reload_if_changed()
        identity = self._map.find(address)
        return NotFound() if identity is None else Found(identity, since_us=0)

    def _reload_if_changed(self) -> None:
        signature = signature_of(self._path)
        if signature == self._signature:
            return
        # Remembered also when the new file is broken, so that it is read, and complained about, once.
        self._signature = signature
        try:
            self._map = load_identities(self._path)
        except IdentityError as error:
            self.reload_failures += 1
            _log.warning("identities: the old map stays in use: %s", error)
        else:
            self.reloads += 1


def load_identities(path: Path) -> IdentityMap:
    """Read the file. Raises `IdentityError` that names the file, the key and what to do.

    Of 100,000 identities a parsed document would take twice the memory of the map that is made of it: so that is made
    while the document is read. What is wrong, the reader of whole documents tells.
    """
    is_json, file = path.suffix == ".json", str(path)
    try:
        text = _read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IdentityError(
            f"{file}: not UTF-8 (byte {error.start + 1}); save it as UTF-8, or convert it with iconv"
        ) from error
    with suppress(IdentityError, ValueError, RecursionError):
        return _map_of(_json_entries(text) if is_json else _toml_entries(text), file)
    try:
        document = json.loads(text, object_pairs_hook=_unique) if is_json else _toml(text)
    except (ValueError, RecursionError) as error:
        raise _not_valid(file, error, is_json=is_json) from error
    return parse_identities(document, file)


def _not_valid(file: str, error: Exception, *, is_json: bool) -> IdentityError:
    return IdentityError(f"{file}: not valid {'JSON' if is_json else 'TOML'}: {error}")


def _json_entries(text: str) -> Iterator[tuple[str, object]]:
    """Read an object some members at a time. Raises ValueError where one of them is no object, or has `addresses`.

    A piece that ends elsewhere than behind a member, as within a text, has a quote or a brace too few.
    """
    start, end = text.find("{") + 1, text.rfind("}")
    if text[:start].strip() != "{" or text[end:].strip() != "}":
        raise ValueError(start)
    while start <= end:
        cut = text.find("},", start + PIECE_LENGTH, end) + 1 or end
        document = json.loads(f"{{{text[start:cut]}}}", object_pairs_hook=_unique)
        if not document or "addresses" in document:
            raise ValueError(start)
        yield from document.items()
        start = cut + 1


def _toml_entries(text: str) -> Iterator[tuple[str, object]]:
    """Read a document some lines at a time. Raises ValueError where one of its values has several lines, or a table."""
    import rtoml  # noqa: PLC0415 - most have no such file

    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_LENGTH) + 1 or len(text)
        document = rtoml.loads(text[start:end])
        if "addresses" in document:
            raise ValueError(start)
        yield from document.items()
        start = end


def _toml(text: str) -> object:
    """Read a whole document. Raises ValueError that says in one line what is wrong."""
    import tomllib  # noqa: PLC0415

    import rtoml  # noqa: PLC0415 - 100,000 identities are to be there within a second; tomllib takes five

    with suppress(ValueError):
        return rtoml.loads(text)
    return tomllib.loads(text)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise IdentityError(
            f"{path}: cannot be read ({error.strerror}); mend it or unset TAILTRACE_IDENTITIES"
        ) from error
    if len(data) > FILE_BYTES_MAX:
        raise IdentityError(f"{path}: larger than {FILE_BYTES_MAX} bytes; name ranges instead of single addresses")
    return data


def parse_identities(document: object, file: str) -> IdentityMap:
    """Check a parsed document, and empty it on the way: together they would take twice the memory.

    `file` is what errors call it. Raises `IdentityError`.
    """
    table = _table(document, file)
    return _map_of(((key, table.pop(key)) for key in list(table)), file)


def _map_of(entries: Iterable[tuple[str, object]], file: str) -> IdentityMap:
    result = IdentityMap()
    for count, (key, entry) in enumerate(entries):
        if count >= ENTRIES_MAX:
            raise IdentityError(f"{file}: one too many")
        try:
            _put(result, key, entry)
        except IdentityError as error:
            raise IdentityError(f"{file}: {key[:TEXT_LENGTH_MAX]!r}: {error}") from None
    result.networks = dict(sorted(result.networks.items(), key=lambda item: -item[0][1]))
    return result


def _put(into: IdentityMap, key: str, entry: object) -> None:
    if key == "unix:":
        identities: dict[Any, Identity] = into.exact
        place: str | int = key
    else:
        version, length, place = _network(key)
        identities = into.networks.setdefault((version, length), {})
    if place in identities:
        raise IdentityError(f"the same as {identities[place].address!r} further up; keep one of the two")
    identities[place] = _identity(key, entry)


def _table(document: object, file: str) -> dict[str, object]:
    if not isinstance(document, dict):
        raise IdentityError(f'{file}: must be a table: {{"100.64.0.7": {{"user": "ana@example.com"}}}}')
    table = document
    if "addresses" in document:
        table = document["addresses"]
        if others := sorted(document.keys() - {"addresses"}):
            raise IdentityError(f"{file}: unknown key {others[0]!r} beside [addresses]; put it under [addresses]")
        if not isinstance(table, dict):
            raise IdentityError(f"{file}: addresses must be a table of addresses")
    if len(table) > ENTRIES_MAX:
        raise IdentityError(f"{file}: {len(table)} addresses, at most {ENTRIES_MAX}; name ranges instead")
    return table


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse what TOML refuses by itself and JSON lets pass: a key that stands twice."""
    result = dict(pairs)
    if len(result) < len(pairs):
        ((key, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"{key!r} stands in it twice; keep one of the two")
    return result


def _network(key: str) -> _Network:
    text, slash, length = key.partition("/")
    family, bits = (socket.AF_INET6, 128) if ":" in text else (socket.AF_INET, 32)
    try:  # a fifth of the time that ipaddress takes, which says what is wrong and knows the rarer forms
        number = int.from_bytes(socket.inet_pton(family, text))
        host_bits = bits - int(length) if slash else 0
        if host_bits >= 0 and (not slash or _is_short_number(length)) and not number & ((1 << host_bits) - 1):
            return _unmapped(4 if bits == 32 else 6, bits - host_bits, number)
    except (OSError, ValueError):
        pass
    return _checked(key)


def _is_short_number(text: str) -> bool:
    return len(text) <= 3 and text.isascii() and text.isdigit()


def _checked(key: str) -> _Network:
    try:
        network = ipaddress.ip_network(key, strict=False)
    except ValueError:
        raise IdentityError(
            'neither an address nor a range; write "100.64.0.7", "10.0.0.0/8" or "unix:", with the quotes'
        ) from None
    address = ipaddress.ip_interface(key).ip
    if address != network.network_address:
        raise IdentityError(f'an address with a range\'s length; write "{network}" or "{address}"')
    return _unmapped(network.version, network.prefixlen, int(network.network_address))


def _unmapped(version: int, length: int, number: int) -> _Network:
    """Return an IPv4 network in IPv6 clothes as the IPv4 network."""
    if version == 6 and length >= 96 and number >> 32 == 0xFFFF:
        return 4, length - 96, number & 0xFFFFFFFF
    return version, length, number


def _identity(address: str, entry: object) -> Identity:
    if not isinstance(entry, dict):
        raise IdentityError('must be a table: { user = "ana@example.com", device = "ana-laptop" }')
    if not entry.keys() <= _ENTRY_KEYS:
        unknown = sorted(entry.keys() - _ENTRY_KEYS)
        raise IdentityError(f"unknown key {unknown[0]!r}; known are {', '.join(ENTRY_KEYS)}")
    user, device = _text(entry, "user"), _text(entry, "device")
    tags = _tags(entry["tags"]) if "tags" in entry else ""
    kind = (_text(entry, "kind") if "kind" in entry else "") or ("user" if user else "tagged" if tags else "unknown")
    if kind not in KINDS:
        raise IdentityError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if kind == "user" and not user:
        raise IdentityError("kind user needs a user; add user, or leave kind out")
    if user and (tags or kind == "tagged"):
        raise IdentityError("a tagged device is a service, not a person; remove user or the tags")
    if not (user or device or tags or "kind" in entry):
        raise IdentityError("says nothing; give it a user or a device")
    return Identity(address, kind, user, device, "", tags, IdentityFile.name)


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise IdentityError(f"{key} must be text in quotes")
    if value.isascii() and value.isprintable() and len(value) <= TEXT_LENGTH_MAX:  # most; the rest takes twice as long
        return value.strip()
    if len(value) > TEXT_LENGTH_MAX or not value.translate(_JOINERS).isprintable():
        raise IdentityError(f"{key} must be at most {TEXT_LENGTH_MAX} printable characters")
    return printable(value.strip())


def _tags(value: object) -> str:
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag.startswith("tag:") for tag in value):
        raise IdentityError('tags must be a list such as ["tag:ci"]')
    tags = ",".join(value)
    if "," in "".join(value) or len(tags) > TEXT_LENGTH_MAX or not tags.isprintable():
        raise IdentityError(f"tags must be at most {TEXT_LENGTH_MAX} printable characters without commas")
    return tags
