"""Where clients send pictures: as Gradio's own, but it gives tokens and never a path."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.page.guard import Message, Receive
from fashion_transfer.page.uploads import Uploads, own_name

OVERHEAD = 2**16
"""Bytes of a request beside its pictures: names and boundaries."""

MEGABYTE = 1_000_000

NO_FILES = "This is not a form with files."


class _RefusedError(Exception):
    """A request that is not taken: the HTTP status, and the reason in words."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def upload_route(
    uploads: Uploads, max_pictures: int, max_megabytes: float
) -> Callable[[Any], Awaitable[Any]]:
    """Returns a handler of `POST` requests with files, for Starlette: a list of tokens comes back.

    Args:
        uploads: where pictures wait.
        max_pictures: of a request.
        max_megabytes: of a picture.
    """
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, PlainTextResponse

    limit = int(max_megabytes * MEGABYTE)
    total = max_pictures * limit + OVERHEAD
    too_much = f"Pictures are read up to {max_megabytes:g} MB, {max_pictures} at once."

    async def upload(request: Request) -> Any:
        try:
            if int(request.headers.get("content-length") or 0) > total:
                raise _RefusedError(413, too_much)
            limited = Request(request.scope, _limited(request.receive, total, too_much))
            async with limited.form(max_files=max_pictures, max_fields=10) as form:
                return JSONResponse(await _store(uploads, form.getlist("files"), limit))
        except _RefusedError as error:
            return PlainTextResponse(str(error), error.status)
        except HTTPException as error:
            many = "Too many files" in str(error.detail)
            return PlainTextResponse(*((too_much, 413) if many else (NO_FILES, 400)))
        except FashionTransferError as error:
            return PlainTextResponse(f"{str(error)[:1].upper()}{str(error)[1:]}.", 503)

    return upload


async def _store(uploads: Uploads, files: Sequence[Any], limit: int) -> list[str]:
    """Stores all files, and returns their tokens; or none of them."""
    from starlette.concurrency import run_in_threadpool

    tokens: list[str] = []
    try:
        if not files or any(isinstance(file, str) or file.size is None for file in files):
            raise _RefusedError(400, NO_FILES)
        for file in files:
            name = own_name(file.filename or "")
            if file.size > limit:
                text = f"{name} is too large: pictures are read up to {limit / MEGABYTE:g} MB."
                raise _RefusedError(413, text)
            tokens.append(await run_in_threadpool(uploads.add, file.file, name, file.size))
    except BaseException:
        with uploads.claim(tokens):
            raise
    return tokens


def _limited(receive: Receive, limit: int, too_much: str) -> Receive:
    """A `receive` that gives no more than `limit` bytes."""
    count = 0

    async def limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > limit:
            raise _RefusedError(413, too_much)
        return message

    return limited
