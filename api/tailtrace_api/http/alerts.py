"""The HTTP side of alerts. The parameter is checked here; the answer is `alerts`."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from tailtrace_api.answers.alerts import Alerts, alerts
from tailtrace_api.http.errors import ERRORS
from tailtrace_api.http.parameters import KNOWN_ONLY
from tailtrace_bridge.settings.alert_rules import AlertRule
from tailtrace_bridge.store.protocol import Store
from tailtrace_bridge.store.values import EVENTS_MAX
from tailtrace_bridge.texts.catalogue import Lang


def alert_router(store: Store, rules: Sequence[AlertRule]) -> APIRouter:
    """Make the route."""
    router = APIRouter(prefix="/analytics", tags=["analytics"], dependencies=[KNOWN_ONLY], responses=ERRORS)

    @router.get("/alerts")
    def get_alerts(
        *,
        limit: Annotated[int, Query(ge=1, le=EVENTS_MAX, description="Events at most.")] = 100,
        lang: Annotated[Lang | None, Query(description="Of the texts; left out, that of the messages.")] = None,
    ) -> Alerts:
        """Return the alerts that fire now, the rules with their state, and what was told, newest first."""
        return alerts(store, rules, limit=limit, lang=lang)

    return router
