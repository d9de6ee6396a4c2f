"""What our HTTP listener answers: metrics and health. What they say comes from those who are handed in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

PATIENCE = timedelta(seconds=5)
"""How long the answers to `/metrics` and `/readyz` may take before they are a 503."""

_FIELDS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Ready = Callable[[], Awaitable[Sequence[str]]]
"""Names what is wrong (the store cannot be written, a listener is down), one line each; nothing when all is well."""


class Metrics(Protocol):
    """What answers a scrape."""

    def content_type(self, accept: str) -> str:
        """Return the media type of what `expose` returns for an Accept field's value."""
        ...

    async def expose(self, accept: str) -> bytes:
        """Return all metrics.

        Raises:
            TimeoutError: they cannot be collected now.
        """
        ...


def build_app(metrics: Metrics, ready: Ready, patience: timedelta = PATIENCE) -> Starlette:
    """Return the application.

    `GET /metrics` (Prometheus' text, or OpenMetrics by Accept), `/healthz` (200 while the process lives), `/readyz`
    (200, or 503 with what is wrong).
    """

    async def show_metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        try:
            async with asyncio.timeout(patience.total_seconds()):
                content = await metrics.expose(accept)
        except TimeoutError:
            return _text("the metrics could not be collected in time", 503)
        response = Response(content, headers=_FIELDS)
        # set as it is: the charset is already in it
        response.headers["Content-Type"] = metrics.content_type(accept)
        return response

    async def show_life(request: Request) -> Response:
        return _text("ok")

    async def show_readiness(request: Request) -> Response:
        try:
            async with asyncio.timeout(patience.total_seconds()):
                problems = await ready()
        except TimeoutError:
            problems = ["the check took too long: the store or the machine is overloaded"]
        return _text("\n".join(problems), 503) if problems else _text("ok")

    return Starlette(
        routes=[
            Route("/metrics", show_metrics),
            Route("/healthz", show_life),
            Route("/readyz", show_readiness),
        ]
    )


def _text(text: str, status: int = 200) -> Response:
    return PlainTextResponse(f"{text}\n", status, headers=_FIELDS)
