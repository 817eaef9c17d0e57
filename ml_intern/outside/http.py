"""A server over HTTP: its token goes to its own address and nowhere else, and its answers are bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from mcp.client.streamable_http import streamable_http_client

LONGEST_ANSWER = 8 << 20
CONNECT_S = 10.0


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error where it is longer than an answer may be."""

    def __init__(self, body: httpx2.AsyncByteStream, limit: int) -> None:
        self.body, self.left = body, limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self.body:
            self.left -= len(chunk)
            if self.left < 0:
                raise httpx2.ReadError(f"the answer is longer than {LONGEST_ANSWER >> 20} MB")
            yield chunk

    async def aclose(self) -> None:
        await self.body.aclose()


@dataclass
class Address:
    """Where a server is reached, and what became known of it.

    Attributes:
        url: Its endpoint.
        headers: Sent with each request; for this address alone.
        refused: What it answered last instead of an answer; empty where all is well.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    refused: str = ""


class OwnHost(httpx2.AsyncBaseTransport):
    """Carries requests to one origin only, whoever asks: the SDK, a redirect, a message of the server."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.origin = _origin(httpx2.URL(address.url))
        self.inner = httpx2.AsyncHTTPTransport(trust_env=False)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            ConnectError: It would leave the server's own address.
        """
        if _origin(request.url) != self.origin:
            raise httpx2.ConnectError("the server sends elsewhere, which is not followed", request=request)
        response = await self.inner.handle_async_request(request)
        self.address.refused = _refusal(response.status_code)
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise httpx2.ReadError("the answer is compressed, which nobody asked for", request=request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            response.stream = _Bounded(response.stream, LONGEST_ANSWER)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self.inner.aclose()


@asynccontextmanager
async def reach(address: Address) -> AsyncIterator[tuple[Any, Any]]:
    """Carry messages to an address.

    No proxy and no ``.netrc`` of the environment is used: both would see, or add, credentials.
    """
    own = {**address.headers, "Accept-Encoding": "identity"}
    timeout = httpx2.Timeout(CONNECT_S, read=None)
    client = httpx2.AsyncClient(headers=own, timeout=timeout, transport=OwnHost(address), trust_env=False)
    async with client, streamable_http_client(address.url, http_client=client) as streams:
        yield streams


def _refusal(status: int) -> str:
    if 300 <= status < 400:
        return f"it sends elsewhere (HTTP status {status}), which is not followed"
    # 405 is how a server says that it has no stream of its own.
    return f"it answered with HTTP status {status}" if status >= 400 and status != 405 else ""


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
