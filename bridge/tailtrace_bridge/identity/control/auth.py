"""What goes into `Authorization`: an API key, or the short-lived token of an OAuth client.

| the token | what happens |
|---|---|
| none yet, or it ends within `REFRESH_BEFORE_US` (or a tenth of its life) | one caller fetches a new one for all |
| the API refuses it all the same (401) | it is forgotten, and the call is made once more |

A secret is in no `repr`, log or error: it lives in `Secret`, and `redact` takes it out of what a server says.
Sources: https://tailscale.com/api#description/authentication, https://tailscale.com/kb/1215/oauth-clients (a token
lives one hour), RFC 6749 section 4.4.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import anyio

from tailtrace_bridge.core.errors import BadKeyError, ControlAnswerError
from tailtrace_bridge.core.secret import Secret

TOKEN_PATH = "/api/v2/oauth/token"  # noqa: S105 - a path
REFRESH_BEFORE_US = 300_000_000
TOKEN_LIFE_S = 3600
"""Of a token that does not say how long it lives."""
TOKENS_KNOWN_MAX = 4
"""Tokens that are still taken out of texts: forgotten ones may be good for an hour yet."""

Post = Callable[[str, Mapping[str, str]], Awaitable[Mapping[str, object]]]
"""Sends a form to a path and gives the JSON object of the answer."""


class Credentials(Protocol):
    """Something that lets us in."""

    @property
    def setting(self) -> str:
        """The setting that holds it."""

    async def authorization(self, post: Post) -> str:
        """Return the value of `Authorization`."""

    def forget(self) -> bool:
        """Forget what was fetched; whether there is hope in another try."""

    def redact(self, text: str) -> str:
        """Take every secret out of `text`."""


class ApiKey:
    """A key of Tailscale (`tskey-api-…`) or of Headscale."""

    setting = "TAILSCALE_API_KEY"

    def __init__(self, key: Secret | str) -> None:
        self._key = _checked(key, self.setting)

    async def authorization(self, post: Post) -> str:  # noqa: ARG002 - a key needs no fetching
        """Return the key as bearer, which both services take."""
        return f"Bearer {self._key.get_secret_value()}"

    def forget(self) -> bool:
        """Do nothing: there is only this key."""
        return False

    def redact(self, text: str) -> str:
        """Take the key out of `text`."""
        return text.replace(self._key.get_secret_value(), "***")


class OAuthClient:
    """An OAuth client of a tailnet. `clock` gives microseconds."""

    setting = "TAILSCALE_OAUTH_CLIENT_SECRET"

    def __init__(self, client_id: str, secret: Secret | str, *, clock: Callable[[], int]) -> None:
        self.tokens = 0
        """Tokens fetched so far."""
        self._id = client_id
        self._secret = _checked(secret, self.setting)
        self._clock = clock
        self._lock = anyio.Lock()
        self._token = Secret("")
        self._known = deque[Secret](maxlen=TOKENS_KNOWN_MAX)
        self._renew_at_us = 0

    async def authorization(self, post: Post) -> str:
        """Return a token that is good for a while yet. Raises `ControlApiError`."""
        async with self._lock:
            if not self._token or self._clock() >= self._renew_at_us:
                await self._fetch(post)
            return f"Bearer {self._token.get_secret_value()}"

    def forget(self) -> bool:
        """Forget the token."""
        had, self._token = bool(self._token), Secret("")
        return had

    def redact(self, text: str) -> str:
        """Take the secret and the last tokens out of `text`, forgotten ones too."""
        for secret in (self._secret, *self._known):
            text = text.replace(secret.get_secret_value(), "***")
        return text

    async def _fetch(self, post: Post) -> None:
        asked_us = self._clock()
        form = {
            "grant_type": "client_credentials",
            "client_id": self._id,
            "client_secret": self._secret.get_secret_value(),
        }
        answer = await post(TOKEN_PATH, form)
        token, life_s = answer.get("access_token"), answer.get("expires_in", TOKEN_LIFE_S)
        if not isinstance(token, str) or not _is_key(token) or not isinstance(life_s, int) or life_s < 1:
            raise ControlAnswerError(f"{TOKEN_PATH} gave no token; check TAILSCALE_API_URL")
        life_us = life_s * 1_000_000
        self.tokens += 1
        self._token = Secret(token)
        self._known.append(self._token)
        self._renew_at_us = asked_us + life_us - min(REFRESH_BEFORE_US, life_us // 10)


def _checked(key: Secret | str, setting: str) -> Secret:
    text = (key.get_secret_value() if isinstance(key, Secret) else key).strip()
    if not _is_key(text):
        raise BadKeyError(f"{setting} has characters that no key has, or is empty; copy the key anew")
    return Secret(text)


def _is_key(text: str) -> bool:
    """Whether it can stand in a header: `http` libraries quote what cannot in their errors."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text
