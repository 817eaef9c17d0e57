"""Tokens of Hubs stay with their Hub, also where huggingface_hub follows a redirect or a link by itself.

It takes another port of the same host for the same server, trusts hosts of huggingface.co whoever redirects
to them, and sends them the token as well. So each request is looked at as it leaves.
"""

from __future__ import annotations

import threading

from ml_intern.secrets.credentials import KEEPER, Credential, hosts_of

OFFICIAL_HOSTS = (".huggingface.co", ".hf.co")

_lock = threading.Lock()
_installed = False


def keep_token(token: str, endpoint: str, *, official: bool) -> None:
    """From now on, in this process, a token goes to its Hub's address only."""
    KEEPER.keep(Credential(token, OFFICIAL_HOSTS if official else hosts_of([endpoint])))


def guard_library() -> None:
    """Have huggingface_hub make clients whose requests are looked at. Done once; later calls cost nothing."""
    global _installed
    with _lock:
        if _installed:
            return
        from huggingface_hub.utils import _http

        _http.set_client_factory(KEEPER.guarding(_http._GLOBAL_CLIENT_FACTORY))
        _installed = True
