"""`tailtrace serve` that believes an identity for a second only, so that a test sees a change in time.

python serve.py FOUND_TTL_US NOT_FOUND_TTL_US
"""

import sys

from tailtrace_api.commands.cli import app
from tailtrace_bridge.identity.chain import Identities

ttls = Identities.__init__.__kwdefaults__
assert {"ttl_us", "watched_ttl_us", "not_found_ttl_us"} <= ttls.keys(), ttls
ttls.update(ttl_us=int(sys.argv[1]), watched_ttl_us=int(sys.argv[1]), not_found_ttl_us=int(sys.argv[2]))
app(["serve"])
