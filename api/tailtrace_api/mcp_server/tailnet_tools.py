"""The tools on the tailnet: its devices, its state, who has an address."""

from collections.abc import Sequence
from dataclasses import replace

from tailtrace_api.mcp_server.outputs import DeviceOutput, DevicesOutput, FoundDeviceOutput, FullDevice
from tailtrace_api.mcp_server.parameters import Address, Number, Text
from tailtrace_api.mcp_server.tool import AnyTool, Call, Rendered, Tool
from tailtrace_api.queries.tailnet import DeviceRow, Devices, FoundDevice, TailnetStatus, Whois

GROUP = "tailscale"
NAMES_SHOWN = 20


def list_devices(answer: Devices, call: Call) -> Rendered[DevicesOutput]:
    """Show `tailscale_list_devices`."""
    words = call.words
    rows = answer.devices[: call.limit]
    structured = DevicesOutput(
        devices=tuple(
            DeviceOutput(
                name=row.name,
                user=row.user,
                online=row.online,
                last_seen=_last_seen(row, call),
                addresses=row.addresses,
                tags=row.tags,
            )
            for row in rows
        ),
        total=answer.total,
        online=answer.online,
        source=answer.source,
    )
    lines = [words.say("devices_head", total=words.count("devices", answer.total), online=answer.online)]
    lines += [_line(row, call) for row in rows]
    if answer.problem:
        lines.append(words.say("problem", problem=answer.problem))
    return Rendered(structured, lines, len(rows), answer.total)


def get_device(answer: FoundDevice, call: Call) -> Rendered[FoundDeviceOutput]:
    """Show `tailscale_get_device`."""
    words, row = call.words, answer.device
    if row is None:
        names = answer.names[:NAMES_SHOWN]
        more = ["…"] if len(answer.names) > NAMES_SHOWN else []
        line = words.say("device_none", name=call.arguments["device"], names=", ".join([*names, *more]))
        return Rendered(FoundDeviceOutput(found=False, device=None), [line])
    device = FullDevice(
        id=row.id,
        name=row.name,
        hostname=row.hostname,
        user=row.user,
        kind=row.kind,
        tags=row.tags,
        addresses=row.addresses,
        online=row.online,
        last_seen=_last_seen(row, call),
        key_expires=row.key_expires,
        last_seen_at=row.last_seen,
    )
    lines = [_line(row, call)]
    told = {"id": row.id, "hostname": row.hostname, "kind": row.kind, "key_expires": row.key_expires}
    lines += [f"{name}: {value}" for name, value in told.items() if value]
    lines += [f"tags: {', '.join(row.tags)}"] if row.tags else []
    return Rendered(FoundDeviceOutput(found=True, device=device), lines)


def get_status(answer: TailnetStatus, call: Call) -> Rendered[TailnetStatus]:
    """Show `tailscale_get_status`."""
    words = call.words
    unknown, none = words.say("unknown"), words.say("none_f")
    expired, soon = answer.keys_expired, answer.keys_expiring_soon
    structured = replace(answer, keys_expired=expired[: call.limit], keys_expiring_soon=soon[: call.limit])
    is_cut = max(len(expired), len(soon)) > call.limit
    note = words.say("keys_cut", shown=call.limit) if is_cut else ""
    lines = [
        words.say(
            "status",
            state=answer.backend_state or unknown,
            tailnet=answer.tailnet or unknown,
            device=answer.this_device or unknown,
            online=answer.devices_online,
            total=answer.devices_total,
            expired=_some(expired, call.limit) or none,
            soon=_some(soon, call.limit) or none,
        )
    ]
    lines += [note] if note else []
    lines += [words.say("problem", problem=problem) for problem in answer.problems]
    return Rendered(structured, lines, note=note)


def _some(names: Sequence[str], limit: int) -> str:
    more = f" (+{len(names) - limit})" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def who_is(answer: Whois, call: Call) -> Rendered[Whois]:
    """Show `tailscale_who_is`."""
    return Rendered(answer, [f"{call.arguments['address']}: {answer.description}"])


def _line(row: DeviceRow, call: Call) -> str:
    words = call.words
    state = words.say("online") if row.online else words.say("offline", ago=words.ago(row.last_seen_seconds))
    return words.say(
        "device_row",
        name=row.name,
        who=row.user or ",".join(row.tags) or words.kind(row.kind),
        state=state if row.online is not None else words.say("unknown"),
        addresses=", ".join(row.addresses),
    )


def _last_seen(row: DeviceRow, call: Call) -> str:
    return call.words.say("now") if row.online else call.words.ago(row.last_seen_seconds)


TOOLS: tuple[AnyTool, ...] = (
    Tool(
        "tailscale_list_devices",
        GROUP,
        "Devices of the tailnet, online first.",
        Devices,
        (Number("limit", 15, 1, 100),),
        DevicesOutput,
        list_devices,
        "devices",
    ),
    Tool(
        "tailscale_get_device",
        GROUP,
        "One device of the tailnet.",
        FoundDevice,
        (Text("device", r"[^/\x00-\x1f]+", "ana-laptop", "name, address or node id", required=True),),
        FoundDeviceOutput,
        get_device,
    ),
    Tool(
        "tailscale_get_status",
        GROUP,
        "State of the tailnet and of tailscaled here; expiring keys.",
        TailnetStatus,
        (),
        TailnetStatus,
        get_status,
    ),
    Tool(
        "tailscale_who_is",
        GROUP,
        "Who has a tailnet address.",
        Whois,
        (Address("address", r"[0-9A-Fa-f:.]{2,45}", "100.64.0.7", "IPv4 or IPv6, without a port", required=True),),
        Whois,
        who_is,
    ),
)
