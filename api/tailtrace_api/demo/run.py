"""`tailtrace demo`: starts the stack and its people, shows who is there, ends with a report. The composition root.

| what happens | what the demo does | exit status |
|---|---|---|
| the start | writes `PAST_DAYS` of a past, up to an hour ago: the page is full, the last hour is real | |
| `seconds` over, Ctrl-C, SIGTERM, SIGHUP | says so, awaits the last line, reports | 0, or 1 if it lost one |
| one of these signals before all is up, or a second one | ends at once, without a report | 1 |
| a process of the stack dies | shows the end of its log | 1 |

In each case nothing is left running. Without a terminal the live table gives way to a line now and then.
"""

import asyncio
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack, closing
from pathlib import Path

import httpx
from rich.console import Console
from rich.live import Live
from rich.markup import escape

from tailtrace_api.demo.children import ChildDied
from tailtrace_api.demo.clients import Tally
from tailtrace_api.demo.containers import run_containers
from tailtrace_api.demo.history import history
from tailtrace_api.demo.live_table import LiveTable
from tailtrace_api.demo.outcome import Outcome, settle
from tailtrace_api.demo.people import PEOPLE
from tailtrace_api.demo.running import Running
from tailtrace_api.demo.stack import STORE, run_stack
from tailtrace_bridge.core.errors import BridgeError, SettingsError
from tailtrace_bridge.store.sqlite.store import SqliteStore
from tailtrace_bridge.store.values import DAY_US, HOUR_US, Window
from tailtrace_bridge.traces.joined import join_groups

WISHED_PORT = 8080
WISHED_API_PORT = 8470
REFRESH_S = 1.0
PLAIN_LINE_EACH = 5
"""Refreshes between two lines where there is no terminal."""
PAST_DAYS = 14
PAGE_ROWS = 500
"""Rows of a refresh: more than a second's requests at any rate that the demo is for."""
Start = Callable[..., AbstractAsyncContextManager[Running]]
"""`run_stack`, or `run_containers`."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(
    *,
    seconds: float | None = None,
    rate: float = 20.0,
    port: int = WISHED_PORT,
    api_port: int = WISHED_API_PORT,
    folder: Path | None = None,
    docker: bool = False,
) -> int:
    """Run the demo for `seconds`, or until a signal, at `rate` requests a second (above 0); give the exit status.

    `docker`: as the containers of docker-compose.yml, with InfluxDB.

    `port` (nginx's) and `api_port` are wishes. `folder`, a new or an empty one, keeps the logs and the store;
    without it they are in a temporary folder, which goes at the end.
    """
    console = Console()
    with ExitStack() as stack:
        try:
            home = _new_folder(folder, stack)
            demo = _Demo(console, home, seconds, rate)
            return asyncio.run(demo.run(run_containers if docker else run_stack, port, api_port))
        except* (ChildDied, BridgeError) as group:
            for error in _leaves(group):
                console.print(f"[red]demo:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
    return 1


def _new_folder(wished: Path | None, stack: ExitStack) -> Path:
    """Make the folder. One with an older run's log in it would spoil the count."""
    if wished is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailtrace-demo-")))
    try:
        wished.mkdir(parents=True, exist_ok=True)
        if any(wished.iterdir()):
            raise SettingsError(f"{wished}: is not empty; name a new folder, or none for a temporary one")
    except OSError as error:
        raise SettingsError(f"{wished}: cannot be used as a folder ({error.strerror}); name another one") from error
    return wished.absolute()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


class _Demo:
    """One run."""

    def __init__(self, console: Console, folder: Path, seconds: float | None, rate: float) -> None:
        self._console, self._folder = console, folder
        self._seconds, self._rate = seconds, rate
        self._stop = asyncio.Event()
        self._tally = Tally()
        self._up = False

    async def run(self, start: Start, port: int, api_port: int) -> int:
        """Run, and give the exit status."""
        work = asyncio.create_task(self._work(start, port, api_port))
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal, work)
        try:
            return await work
        except asyncio.CancelledError:
            self._say("stopped before the report; nothing is left running")
            return 1

    def _on_signal(self, work: asyncio.Task[int]) -> None:
        if self._up and not self._stop.is_set():
            self._say("ending: awaits the last lines, then reports; Ctrl-C again ends at once")
            self._stop.set()
        elif not work.cancelling():  # once: the clean-up must not be cut short
            work.cancel()

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    async def _work(self, start: Start, port: int, api_port: int) -> int:
        await asyncio.to_thread(write_past, self._folder / STORE, time.time_ns() // 1000 - HOUR_US)
        async with (
            start(self._folder, people=PEOPLE, port=port, api_port=api_port, say=self._say) as stack,
            httpx.AsyncClient(timeout=10) as client,
        ):
            self._greet(stack)
            self._up = True
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(stack.watch())
                show = group.create_task(self._show(stack, client))
                name = group.create_task(self._name_a_trace(stack, client))
                timer = group.create_task(self._end_in_time())
                await stack.drive(self._rate, self._tally, self._stop)
                timer.cancel()
                show.cancel()
                name.cancel()
                await asyncio.wait([show, name])
                outcome = await settle(stack, client, sent=self._tally.sent, failed=self._tally.failed)
                self._console.file.flush()
                await stack.report()
                watch.cancel()
            return self._conclude(outcome)

    def _greet(self, stack: Running) -> None:
        self._say(f"the app, through nginx   {stack.url}/dashboard/complete")
        self._say(f"the dashboard            {stack.api_url}/")
        self._say(f"who used what            {stack.api_url}/analytics/access-logs?hours=1")
        self._say(f"what broke               {stack.api_url}/analytics/errors")
        self._say(f"for an assistant (MCP)   {stack.api_url}/mcp")
        self._say(f"in the terminal          {stack.command('report')}")
        self._say(f"logs and store           {self._folder}")
        ends = "Ctrl-C ends it" if self._seconds is None else f"it ends after {self._seconds:g} s, or with Ctrl-C"
        self._say(f"{len(PEOPLE)} devices send {self._rate:g} requests a second; {ends}")

    async def _name_a_trace(self, stack: Running, client: httpx.AsyncClient) -> None:
        """Return where the first request that broke is drawn, once its trace is kept."""
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                answer = await client.get(f"{stack.api_url}/analytics/errors", params={"hours": 1})
            except httpx.TransportError:
                continue  # the watch tells if the API is gone
            if not answer.is_success:
                continue
            traces = [one for group in answer.json()["groups"] for one in group["traces"] if one["kept"]]
            if traces:
                trace_id = traces[0]["trace_id"]
                self._say(f"a request that broke     {stack.api_url}/?request={trace_id}")
                self._say(f"the same in the terminal {stack.command(f'trace {trace_id}')}")
                return

    async def _end_in_time(self) -> None:
        if self._seconds is not None:
            await asyncio.sleep(self._seconds)
            self._stop.set()

    async def _show(self, stack: Running, client: httpx.AsyncClient) -> None:
        """Show the table, or a line now and then, until cancelled."""
        if not self._console.is_terminal:
            await self._refresh(stack, client, self._plain_line())
            return
        with Live(console=self._console, auto_refresh=False) as live:
            await self._refresh(stack, client, lambda table: live.update(table.render(), refresh=True))

    async def _refresh(self, stack: Running, client: httpx.AsyncClient, show: Callable[[LiveTable], None]) -> None:
        table = LiveTable()
        while True:
            await asyncio.sleep(REFRESH_S)
            try:
                answer = await client.get(
                    f"{stack.api_url}/analytics/access-logs", params={"hours": 1, "limit": PAGE_ROWS}
                )
            except httpx.TransportError:
                continue  # the watch tells if the API is gone
            if answer.is_success:
                table.absorb(answer.json())
                show(table)

    def _plain_line(self) -> Callable[[LiveTable], None]:
        refreshes = 0

        def show(table: LiveTable) -> None:
            nonlocal refreshes
            refreshes += 1
            if refreshes % PLAIN_LINE_EACH == 0:
                sent = f"{self._tally.sent} requests sent, " if self._tally.sent else ""  # containers tell at the end
                self._say(f"{sent}{table.total} stored")

        return show

    def _conclude(self, outcome: Outcome) -> int:
        tally = self._tally
        self._say(str(outcome))
        if tally.held_back or tally.failed:
            self._say(f"of the clients' requests {tally.failed} failed, and {tally.held_back} were held back")
        if outcome.complete:
            return 0
        self._say("some of that is missing: that is a defect; run it again with a folder to keep the logs")
        return 1


def write_past(store: Path, end_us: int) -> None:
    """Write what the people did in the `PAST_DAYS` before `end_us`, µs since the epoch, into a new store.

    What failed is grouped, as an import would.
    """
    with closing(SqliteStore(store)) as past:
        past.write(sorted(history(PEOPLE, end_us, PAST_DAYS), key=lambda row: row.access.time_us))
        join_groups(past, Window(end_us - (PAST_DAYS + 1) * DAY_US, end_us))
