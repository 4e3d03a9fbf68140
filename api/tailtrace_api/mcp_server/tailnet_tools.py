"""The tools on the tailnet: its devices, its state, who has an address."""

from collections.abc import Mapping
from typing import Any

from tailtrace_api.mcp_server.parameters import Address, Number, Text
from tailtrace_api.mcp_server.tool import Asked, Fields, Shown, Tool

GROUP = "tailscale"
NAMES_SHOWN = 20
_DEVICE = {"name": "string", "user": "string?", "online": "boolean?", "last_seen": "string", "addresses": ["string"]}


def list_devices(answer: Fields, asked: Asked) -> Shown:
    """Show `tailscale_list_devices`."""
    words = asked.words
    rows = answer["devices"][: asked.limit]
    structured = {
        "devices": [
            {
                **{key: row[key] for key in ("name", "user", "online")},
                "last_seen": _last_seen(row, asked),
                "addresses": row["addresses"],
                **({"tags": row["tags"]} if row["tags"] else {}),
            }
            for row in rows
        ],
        "total": answer["total"],
        "online": answer["online"],
        "source": answer["source"],
    }
    lines = [words.say("devices_head", total=words.count("devices", answer["total"]), online=answer["online"])]
    lines += [_line(row, asked) for row in rows]
    if answer["problem"]:
        lines.append(words.say("problem", problem=answer["problem"]))
    return Shown(structured, lines, len(rows), answer["total"])


def get_device(answer: Fields, asked: Asked) -> Shown:
    """Show `tailscale_get_device`."""
    words, row = asked.words, answer["device"]
    if row is None:
        names = answer["names"][:NAMES_SHOWN]
        more = ["…"] if len(answer["names"]) > NAMES_SHOWN else []
        line = words.say("device_none", name=asked.arguments["device"], names=", ".join([*names, *more]))
        return Shown({"found": False, "device": None}, [line])
    device = {**row, "last_seen": _last_seen(row, asked), "last_seen_at": row["last_seen"]}
    device.pop("last_seen_seconds")
    lines = [_line(row, asked)]
    lines += [f"{key}: {row[key]}" for key in ("id", "hostname", "kind", "key_expires") if row[key]]
    lines += [f"tags: {', '.join(row['tags'])}"] if row["tags"] else []
    return Shown({"found": True, "device": device}, lines)


def get_status(answer: Fields, asked: Asked) -> Shown:
    """Show `tailscale_get_status`."""
    words = asked.words
    unknown, none = words.say("unknown"), words.say("none")
    structured = dict(answer)
    for key in ("keys_expired", "keys_expiring_soon"):
        structured[key] = answer[key][: asked.limit]
        if len(answer[key]) > asked.limit:
            structured["note"] = words.say("keys_cut", shown=asked.limit)
    lines = [
        words.say(
            "status",
            state=answer["backend_state"] or unknown,
            tailnet=answer["tailnet"] or unknown,
            device=answer["this_device"] or unknown,
            online=answer["devices_online"],
            total=answer["devices_total"],
            expired=_some(answer["keys_expired"], asked.limit) or none,
            soon=_some(answer["keys_expiring_soon"], asked.limit) or none,
        )
    ]
    lines += [structured["note"]] if "note" in structured else []
    lines += [words.say("problem", problem=problem) for problem in answer["problems"]]
    return Shown(structured, lines)


def _some(names: list[str], limit: int) -> str:
    more = f" (+{len(names) - limit})" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def who_is(answer: Fields, asked: Asked) -> Shown:
    """Show `tailscale_who_is`."""
    return Shown(dict(answer), [f"{asked.arguments['address']}: {answer['description']}"])


def _line(row: Mapping[str, Any], asked: Asked) -> str:
    words = asked.words
    state = words.say("online") if row["online"] else words.say("offline", ago=words.ago(row["last_seen_seconds"]))
    return words.say(
        "device_row",
        name=row["name"],
        who=row["user"] or ",".join(row["tags"]) or row["kind"],
        state=state if row["online"] is not None else words.say("unknown"),
        addresses=", ".join(row["addresses"]),
    )


def _last_seen(row: Mapping[str, Any], asked: Asked) -> str:
    return asked.words.say("now") if row["online"] else asked.words.ago(row["last_seen_seconds"])


TOOLS = (
    Tool(
        "tailscale_list_devices",
        GROUP,
        "Devices of the tailnet, online first.",
        "devices",
        (Number("limit", 15, 1, 100),),
        {"devices": [_DEVICE], "total": "integer", "online": "integer", "source": "string"},
        list_devices,
        "devices",
    ),
    Tool(
        "tailscale_get_device",
        GROUP,
        "One device of the tailnet.",
        "device",
        (Text("device", r"[^/\x00-\x1f]+", "ana-laptop", "name, address or node id", required=True),),
        {"found": "boolean", "device": "object?"},
        get_device,
    ),
    Tool(
        "tailscale_get_status",
        GROUP,
        "State of the tailnet and of tailscaled here; expiring keys.",
        "status",
        (),
        {
            "running": "boolean",
            "backend_state": "string?",
            "tailnet": "string?",
            "devices_total": "integer",
            "devices_online": "integer",
            "keys_expired": ["string"],
            "keys_expiring_soon": ["string"],
            "problems": ["string"],
        },
        get_status,
    ),
    Tool(
        "tailscale_who_is",
        GROUP,
        "Who has a tailnet address.",
        "whois",
        (Address("address", r"[0-9A-Fa-f:.]{2,45}", "100.64.0.7", "IPv4 or IPv6, without a port", required=True),),
        {"address": "string", "found": "boolean", "user": "string?", "device": "string?", "kind": "string"},
        who_is,
    ),
)
