"""Errors of the Hub's client, each in one line with a way on."""

from __future__ import annotations

from ml_intern.errors import ToolError

_PASSING = (408, 425, 429)


def missing_token(endpoint: str) -> ToolError:
    """There is no token for a Hub that wants one."""
    return ToolError(
        f"There is no token for {endpoint}.",
        "Set HF_TOKEN or run hf auth login, or set HF_ENDPOINT to another Hub.",
    )


def explain(error: Exception, what: str, hub: str, embedded: bool) -> ToolError | None:
    """A final error in words; None for what may pass, or is not the Hub's.

    Args:
        error: What the client raised.
        what: What was asked for.
        hub: Which Hub it is, in words.
        embedded: Whether it is the embedded one.
    """
    from huggingface_hub import errors

    if isinstance(error, errors.RevisionNotFoundError):
        return ToolError(f"{what} has no such revision.", "inspect_repo lists its branches and tags.")
    if isinstance(error, errors.EntryNotFoundError):
        return ToolError(f"{what}: there is no such file.", "inspect_repo lists its files.")
    if isinstance(error, errors.RepositoryNotFoundError):
        hint = "HF_TOKEN or HF_ENDPOINT lead to another Hub." if embedded else "Is it private? Set HF_TOKEN."
        return ToolError(f"There is no {what} on {hub}.", hint)
    if isinstance(error, errors.HFValidationError):
        return ToolError(" ".join(str(error).split()))
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        return _refused(error, what, hub)
    return None


def reason(error: Exception) -> str:
    """Why something failed, in one line: what the server said, else what the error says."""
    from huggingface_hub import errors

    said = ""
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        said = error.response.headers.get("X-Error-Message") or error.server_message or ""
    return (said or str(error) or type(error).__name__).strip().partition("\n")[0].rstrip(".")


def _refused(error: Exception, what: str, hub: str) -> ToolError | None:
    status = error.response.status_code  # type: ignore[attr-defined]
    if not 400 <= status < 500 or status in _PASSING:
        return None
    hint = "Is the token right, and may it write there?" if status in (401, 403) else ""
    said = error.response.headers.get("X-Error-Message") or error.server_message  # type: ignore[attr-defined]
    told = (said or "no reason given").rstrip(".")
    return ToolError(f"{hub} refused {what} ({status}): {told}.", hint)
