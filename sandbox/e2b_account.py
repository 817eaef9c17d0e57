"""E2B through its own client: sandboxes made, found and ended, and its refusals in one line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_intern.errors import Denied, InternError

if TYPE_CHECKING:
    from e2b_code_interpreter import Sandbox

NAMES = ("E2B_API_KEY", "E2B_API_URL", "E2B_SANDBOX_URL", "E2B_DOMAIN")
KEY_HINT = "Run: export E2B_API_KEY=… (a key is at https://e2b.dev/dashboard?tab=keys)."
CHECK_S = 4.0
ASK_S = 8.0
"""A question to the control plane; making a sandbox may take `MAKE_S`."""

MAKE_S = 60.0
HOME = "/opt/ml-intern"
"""Where our files are inside; root's own."""

INSIDE = (
    "kernel.py",
    "e2b_inside.py",
    "e2b_bundle.py",
    "e2b_command.py",
    "e2b_outbox.py",
    "e2b_tree.py",
)


class Account:
    """A key and the addresses that go with it.

    Args:
        env: Where `NAMES` are looked up, and nowhere else.

    Raises:
        Denied: There is no key.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {name: env[name].strip() for name in NAMES if env.get(name, "").strip()}
        if "E2B_API_KEY" not in self.env:
            raise Denied("E2B needs a key, and E2B_API_KEY is not set.", KEY_HINT)

    @property
    def options(self) -> dict[str, Any]:
        """The client's options for this account."""
        names = {
            "api_key": "E2B_API_KEY",
            "api_url": "E2B_API_URL",
            "sandbox_url": "E2B_SANDBOX_URL",
            "domain": "E2B_DOMAIN",
        }
        return {option: self.env.get(name) for option, name in names.items()}

    def check(self) -> None:
        """Ask E2B whether it takes the key.

        Raises:
            Denied: It does not, or cannot be reached.
        """
        from e2b_code_interpreter import Sandbox

        with told(self):
            Sandbox.list(limit=1, request_timeout=CHECK_S, retries=0, **self.options).next_items()

    def make(
        self, template: str | None, timeout_s: int, metadata: Mapping[str, str], network: bool = False
    ) -> Sandbox:
        """A new sandbox with our files in it.

        Raises:
            Denied: E2B refuses.
        """
        from e2b_code_interpreter import Sandbox

        with told(self, template):
            made = Sandbox.create(
                template,
                timeout=timeout_s,
                metadata=dict(metadata),
                secure=True,
                allow_internet_access=network,
                request_timeout=MAKE_S,
                **self.options,
            )
        try:
            with told(self):
                here = Path(__file__).parent
                made.files.write_files(
                    [{"path": _place(name), "data": (here / name).read_bytes()} for name in INSIDE],
                    user="root",
                )
        except InternError:
            self.end(made.sandbox_id)
            raise
        return made

    def connect(self, sandbox: str, timeout_s: int) -> Sandbox:
        """A sandbox that runs or is paused, by its id.

        Raises:
            InternError: It is gone.
        """
        from e2b_code_interpreter import Sandbox

        with told(self):
            return Sandbox.connect(sandbox, timeout=timeout_s, request_timeout=MAKE_S, **self.options)

    def end(self, sandbox: str) -> None:
        """End a sandbox; it may have ended already, and where E2B cannot be reached it ends in its time."""
        from e2b.exceptions import AuthenticationException, SandboxException, ServiceBusyException
        from e2b_code_interpreter import Sandbox
        from httpx import HTTPError

        for wait in (0.0, 0.5, 2.0):
            time.sleep(wait)
            try:
                Sandbox.kill(sandbox, request_timeout=ASK_S, **self.options)
                return
            except AuthenticationException:
                return
            except (SandboxException, ServiceBusyException, HTTPError, OSError):
                continue  # it ends by itself when its time is over

    def find(self, metadata: Mapping[str, str]) -> list[str]:
        """The ids of the sandboxes that were made with this metadata."""
        from e2b.sandbox.sandbox_api import SandboxQuery
        from e2b_code_interpreter import Sandbox

        found: list[str] = []
        with told(self):
            pages = Sandbox.list(SandboxQuery(dict(metadata)), request_timeout=ASK_S, **self.options)
            while pages.has_next:
                found += [page.sandbox_id for page in pages.next_items()]
        return found


@contextmanager
def told(account: Account, template: str | None = None) -> Iterator[None]:
    """The client's errors as one line and the command that mends it."""
    from connectrpc.errors import ConnectError
    from e2b import exceptions as e
    from httpx import HTTPError

    api = account.env.get("E2B_API_URL") or f"https://api.{account.env.get('E2B_DOMAIN') or 'e2b.app'}"
    try:
        yield
    except e.AuthenticationException:
        raise Denied("E2B does not accept the key in E2B_API_KEY.", KEY_HINT) from None
    except e.RateLimitException:
        raise InternError(
            "E2B takes no more for now: its rate limit is reached.", "Wait, or run fewer at once."
        ) from None
    except e.ServiceBusyException:
        raise InternError("E2B is busy and has no room for a sandbox.", "Try again in a minute.") from None
    except e.SandboxNotFoundException:
        raise InternError("The E2B sandbox is gone: it was ended, or its time was over.") from None
    except e.SandboxException as error:
        first = (str(error).splitlines() or ["no reason given"])[0][:300]
        if error.status_code in (400, 403, 404) and template is not None:
            raise Denied(
                f"E2B has no template {template!r} for this key ({first}).",
                "Name another in e2b_template, or build it: e2b template build.",
            ) from None
        if error.status_code == 403:
            raise Denied(f"E2B does not permit that: {first}", KEY_HINT) from None
        raise InternError(f"E2B failed: {first}") from None
    except (HTTPError, ConnectError, OSError):
        raise Denied(
            f"E2B cannot be reached at {api}.",
            f"Check the network: curl {api}/health, or run with --sandbox local.",
        ) from None


def _place(name: str) -> str:
    return f"{HOME}/{name}" if name == "kernel.py" else f"{HOME}/ml_intern/sandbox/{name}"
