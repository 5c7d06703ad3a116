"""ASGI: who is let in, and what every answer says to the browser about itself."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from .web import Page

OPEN_PATHS: Final = ("/login", "/static/")
HEADERS: Final = {
    # Nothing from elsewhere, nothing inline: even text that escaped escaping could run nothing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "font-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Doorkeeper:
    """Not Starlette's middleware base: it would stand between a stream and its viewer's leaving."""

    def __init__(self, app: ASGIApp, page: Page) -> None:
        self._app, self._page = app, page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        static = scope["path"].startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers["Cache-Control"] = "no-cache" if static else "no-store"
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, path: str, headers: Headers) -> Any:
        guard = self._page.guard
        if guard.is_from_elsewhere(headers):
            return PlainTextResponse("Open the page itself.\n", status_code=403)
        if not guard.knows_host(headers.get("host")):
            told = "This page answers on loopback only: open it as http://127.0.0.1.\n"
            return PlainTextResponse(told, status_code=421)
        if path.startswith(OPEN_PATHS):
            return None
        cookie = _cookie(headers.get("cookie", ""), self._page.cookie)
        if guard.may_look(cookie, headers.get("authorization")):
            return None
        if "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", status_code=303)
        return PlainTextResponse(
            "Send the token: Authorization: Bearer …\n",
            status_code=401,
            headers={"WWW-Authenticate": "Bearer"},
        )


def _cookie(header: str, name: str) -> str | None:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return None
    return found.value if found else None
