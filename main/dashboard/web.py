"""The HTTP side of the page: which address shows what. It holds no logic of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec
import redis
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as AnyHTTPException

from ..utils.redis.constants import BusNames
from . import words
from .board import Board
from .chart import draw
from .config import DashboardConfig
from .doorkeeper import Doorkeeper
from .guard import SESSION_S, Guard
from .journal_reader import JournalReader
from .panels import FOLDER, PAGES, PANELS_OF, Asker, Panels, signed
from .reader import BoardReader
from .registrar import Answer, Registrar
from .stream import MAX_VIEWERS, Pulse, Viewer

MAX_FORM: Final = 4_096  # bytes
TITLES: Final = {403: "Not accepted", 404: "Not here"}


class Page:
    """The parts of one running page, and how they are shown."""

    def __init__(self, config: DashboardConfig, board: Board, reader: BoardReader) -> None:
        self.config, self.board, self.reader = config, board, reader
        self.guard = Guard(token=config.token)
        self.cookie = f"tickerbus_{config.port}"  # browsers share cookies among ports
        self.registrar = Registrar(config)
        asker = Asker(
            my_id=config.client_id,
            may_let_go_for_others=self.registrar.may_let_go_for_others,
            leases=self.registrar.leases(),
        )
        self.panels = Panels(board, asker)
        self.pulse = Pulse(board, reader)

    def session(self, request: Request) -> tuple[str, bool]:
        """The viewer's session, and whether it is a new one."""
        cookie = request.cookies.get(self.cookie, "")
        fresh = not self.guard.is_session(cookie)
        return (self.guard.new_session() if fresh else cookie), fresh

    def show(
        self, request: Request, view: str, symbol: str = "", status: int = 200, **context: Any
    ) -> HTMLResponse:
        """A whole page, which says all that is known without any event."""
        session, fresh = self.session(request)
        secret, now_s = self.guard.form_secret(session), time.time()
        with self.reader.lock:
            self.board.tick(now_s)
            made = {
                name: signed(self.panels.render(name, now_s, symbol), secret)
                for name in PANELS_OF.get(view, ())
            }
            if view == "tickers":
                context["rows"] = sorted(row.cells for row in self.board.rows.values())
        template = view or context.pop("template")
        html = self.panels.templates.get_template(f"{template}.html").render(
            view=view,
            symbol=symbol,
            pages=PAGES,
            panels=made,
            now_s=now_s,
            form_secret=secret,
            leases=self.registrar.leases(),
            my_id=self.config.client_id,
            **({"answers": ()} | context),
        )
        response = HTMLResponse(html, status_code=status)
        if fresh:
            self.set_session(response, session)
        return response

    def set_session(self, response: Response, session: str) -> None:
        response.set_cookie(
            self.cookie, session, max_age=SESSION_S, httponly=True, samesite="lax", path="/"
        )

    def answer(self, request: Request, answers: list[Answer]) -> HTMLResponse:
        """To a form: the answer alone for htmx, a whole page for a browser without scripts."""
        self.reader.look_now()
        if request.headers.get("hx-request") == "true":
            template = self.panels.templates.get_template("_answers.html")
            return HTMLResponse(template.render(answers=answers))
        return self.show(request, "registrations", answers=answers)


async def _form(request: Request) -> dict[str, str]:
    """A form of this viewer's own page, and no other.

    Raises:
        HTTPException: 413, too large; 403, it is another site's, or of a session that is over.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM:
            raise HTTPException(413, f"a form of at most {MAX_FORM} bytes, please")
    fields = {
        name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()
    }
    page: Page = request.app.state.page
    cookie = request.cookies.get(page.cookie)
    if not page.guard.is_own_form(cookie, fields.get("secret", ""), request.headers):
        raise HTTPException(403, "This form is not of this page, or the page was started again.")
    return fields


Form = Annotated[dict[str, str], Depends(_form)]


def make_app(page: Page) -> FastAPI:
    """The application of one page."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        beating = asyncio.create_task(page.pulse.run())
        yield
        page.pulse.closing = True
        await beating

    app = FastAPI(lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.page = page
    app.mount("/static", StaticFiles(directory=FOLDER / "static"))
    _add_pages(app, page)
    _add_forms(app, page)
    _add_live(app, page)
    app.add_middleware(Doorkeeper, page=page)

    @app.exception_handler(AnyHTTPException)  # Starlette's own as well: no such address
    async def refuse(request: Request, error: AnyHTTPException) -> Response:
        if request.headers.get("hx-request") == "true":
            answers = [Answer(ok=False, words=f"{error.detail} Load the page again.")]
            html = page.panels.templates.get_template("_answers.html").render(answers=answers)
            return HTMLResponse(html)  # htmx shows what came with 200
        title = TITLES.get(error.status_code, "That did not work")
        told = "There is no such page." if error.detail == "Not Found" else error.detail
        context = {"template": "refused", "title": title, "words": told}
        return page.show(request, "", status=error.status_code, **context)

    return app


def _add_pages(app: FastAPI, page: Page) -> None:
    def add(view: str, path: str) -> None:
        @app.get(path, name=view, response_class=HTMLResponse)
        def show(request: Request) -> HTMLResponse:
            return page.show(request, view)

    for view, path, _ in PAGES:
        add(view, path)

    @app.get("/ticker/{symbol:path}", response_class=HTMLResponse)
    def ticker(request: Request, symbol: str) -> HTMLResponse:
        shown = words.word(symbol, 32)
        return page.show(request, "ticker", shown, can_register=True)


def _add_forms(app: FastAPI, page: Page) -> None:
    # `def`, not `async def`: they wait for the broker, in a thread of the pool.
    @app.post("/subscribe", response_class=HTMLResponse)
    def subscribe(request: Request, form: Form) -> HTMLResponse:
        lease = form.get("lease_s", "")
        lease_s = int(lease) if lease.isdecimal() and len(lease) < 8 else -1
        return page.answer(request, page.registrar.subscribe(form.get("tickers", ""), lease_s))

    @app.post("/unsubscribe", response_class=HTMLResponse)
    def unsubscribe(request: Request, form: Form) -> HTMLResponse:
        ticker, client_id = form.get("ticker", ""), form.get("client_id", "")
        return page.answer(request, page.registrar.unsubscribe(ticker, client_id))

    @app.get("/login", response_class=HTMLResponse)
    def login(request: Request) -> HTMLResponse:
        return page.show(request, "", template="login", wrong="")

    @app.post("/login")
    def sign_in(request: Request, form: Form) -> Response:
        session = page.guard.sign_in(form.get("token", ""))
        if session is None:
            barred = page.guard.is_barred()
            wrong = "Too many wrong tokens: wait a minute." if barred else "That is not the token."
            return page.show(request, "", status=401, template="login", wrong=wrong)
        response = RedirectResponse("/", status_code=303)
        page.set_session(response, session)
        return response


def _add_live(app: FastAPI, page: Page) -> None:
    @app.get("/stream")
    async def stream(
        request: Request, view: str, symbol: Annotated[str, Query(max_length=64)] = ""
    ) -> StreamingResponse:
        if view not in PANELS_OF:
            raise HTTPException(404, "There is no such view.")
        if page.pulse.viewers >= MAX_VIEWERS:
            raise HTTPException(503, f"{MAX_VIEWERS} viewers are served already.")
        session, _ = page.session(request)
        viewer = Viewer(
            board=page.board,
            reader=page.reader,
            panels=page.panels,
            pulse=page.pulse,
            view=view,
            symbol=words.word(symbol, 32),
            secret=page.guard.form_secret(session),
        )
        return StreamingResponse(viewer.events(), media_type="text/event-stream")

    @app.get("/history/{symbol:path}")
    def history(symbol: str) -> Response:
        """A ticker's chart, out of its journals."""
        client = page.config.redis.client()
        try:
            journals = JournalReader(client, BusNames(page.config.redis.bus_prefix))
            messages, orders = journals.whole(symbol)
        except ValueError:
            messages, orders = [], []  # it can name no journal
        except (redis.RedisError, OSError):
            raise HTTPException(503, "Redis does not answer.") from None
        finally:
            client.close()
        chart = draw(messages, orders, time.time())
        return Response(msgspec.json.encode(chart), media_type="application/json")
