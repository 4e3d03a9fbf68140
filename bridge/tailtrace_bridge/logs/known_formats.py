"""The formats that people have, by name: what `--log-format NAME` takes, and what `recognise` calls what it finds.

Sources: nginx's log module and its packaged nginx.conf (combined, main); Apache's vhost_combined; the documentation of
ingress-nginx (log-format-upstream), Nginx Proxy Manager (log-proxy.conf) and Traefik (common log format).
"""

from tailtrace_bridge.logs.format import COMBINED_FORMAT, NAMED_FORMATS

_INGRESS = (
    " $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name]"
    " $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id"
)
_PROXY_MANAGER = (
    '$status - $request_method $scheme $host "$request_uri" [Client $remote_addr] [Length $body_bytes_sent]'
)

KNOWN_FORMATS: dict[str, str] = {
    **NAMED_FORMATS,
    "vhost": "$host:$server_port " + COMBINED_FORMAT,
    "main": COMBINED_FORMAT + ' "$http_x_forwarded_for"',
    "ingress-nginx": COMBINED_FORMAT + _INGRESS,
    "nginx-proxy-manager": "[$time_local] $upstream_cache_status $upstream_status "
    + _PROXY_MANAGER
    + ' [Gzip $gzip_ratio] [Sent-to $server] "$http_user_agent" "$http_referer"',
    "nginx-proxy-manager-standard": "[$time_local] "
    + _PROXY_MANAGER
    + ' [Gzip $gzip_ratio] "$http_user_agent" "$http_referer"',
    "traefik": COMBINED_FORMAT + ' $column_word_requests "$column_router" "$column_server" $request_time',
}
RECOGNISED_WHOLE = ("ingress-nginx", "nginx-proxy-manager", "nginx-proxy-manager-standard", "traefik")
"""Those that no other format looks like: a line that fits is of that format."""
