"""Reaching an object store: patience with what passes, one clear error for what does not.

Icechunk tries a request again that was refused with 5xx or whose connection broke, but not one whose
reply broke off half-way, and waits without end for a reply that does not begin.
"""

from __future__ import annotations

import errno
import logging
import random
import re
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import icechunk

from stvd.product.errors import ProductError, StorageRefused, StorageUnavailable

log = logging.getLogger("stvd.product")

T = TypeVar("T")
GONE = ("not found", "range was invalid", "InvalidRange", "NoSuchKey")
"""What Icechunk says of an object that is not there or shorter than it was."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
CREDENTIALS = {
    *("SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken"),
    *("TokenRefreshRequired", "AuthFailure", "InvalidClientTokenId"),
}
DENIED = {"AccessDenied", "AllAccessDisabled", "Forbidden"}
LASTING = {errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOSPC, errno.EPERM, errno.EROFS}
REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}


def no_room(error: icechunk.IcechunkError, uri: str) -> StorageRefused | None:
    """What an error of a local folder means that waiting does not mend; None for another."""
    found = re.search(r"([^:(>]*)\(os error (\d+)\)", str(error))
    if found is None or int(found[2]) not in LASTING:
        return None
    return StorageRefused(
        f"{uri} cannot be written: {found[1].strip()}. What readers see is as it was. Make room or "
        "give the right to write, then run it again."
    )


def patiently(
    call: Callable[[], T],
    *,
    where: str,
    explain: Callable[[icechunk.IcechunkError], ProductError | None],
    patience: float,
    timeout: float,
) -> T:
    """The result of `call`, tried again with growing random pauses while its store is out of reach.

    Parameters
    ----------
    call : may be made several times, also while an earlier one still waits for its answer
    where : address, for messages
    explain : the error in our words, None if the store is not to blame
    patience : seconds after which no third attempt begins; 0: there is but one
    timeout : seconds after which an attempt is given up

    Raises
    ------
    StorageUnavailable
        If the last attempt failed too.
    StorageRefused
        At once, if waiting does not help.
    """

    def attempt() -> T:
        try:
            return call()
        except icechunk.IcechunkError as error:
            if (explained := explain(error)) is None:
                raise
            raise explained from error

    end, pause, tries = time.monotonic() + patience, FIRST_PAUSE, 0
    while True:
        try:
            return _within(timeout, attempt, where)
        except StorageUnavailable as error:
            tries += 1
            wait = random.uniform(0.0, pause)
            if time.monotonic() + wait > end and (tries > 1 or not patience):
                raise
            log.warning("%s Next attempt in %.1f s.", error, wait)
        time.sleep(wait)
        pause = min(2 * pause, LONGEST_PAUSE)


def explained(
    error: icechunk.IcechunkError, uri: str, endpoint: str, ask: Callable[[], Any]
) -> ProductError | None:
    """What an error of Icechunk means for who reaches `uri`; None if the store is not to blame.

    Parameters
    ----------
    endpoint : the server, for the message
    ask : a request with a body in its reply, whose failure says what that to a HEAD leaves out
    """
    text = str(error)
    if not is_access(error):
        return None
    code = _code(text)
    if not code and "service error" in text:
        try:
            ask()
        except icechunk.IcechunkError as reason:
            code = _code(str(reason))
    if "loading credentials" in text or "no providers in chain" in text:
        return StorageRefused(
            f"No credentials for {uri} were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "in the environment, or name a profile with AWS_PROFILE."
        )
    if code == "NoSuchBucket":
        bucket = uri.removeprefix("s3://").split("/", 1)[0]
        return StorageRefused(
            f"There is no bucket {bucket} at {endpoint}, which {uri} names. Create the bucket, or "
            "correct the address."
        )
    if code in CREDENTIALS:
        return StorageRefused(
            f"{endpoint} refuses the credentials in the environment for {uri} ({code}). Check "
            "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_PROFILE."
        )
    if code in DENIED:
        return StorageRefused(
            f"{endpoint} denies access to {uri} ({code}). Whoever writes a product must be allowed "
            "to read, write, list and delete there; who reads it, to read and list."
        )
    if code in REGION:
        return StorageRefused(f"{uri} lies in another region ({code}). Set AWS_REGION to its own.")
    said = code or text.strip().splitlines()[-1].strip(" |`->")
    return StorageUnavailable(f"{uri} cannot be reached at {endpoint}: {said}.")


def is_access(error: icechunk.IcechunkError) -> bool:
    """Whether an error comes from how the store is reached, not from what is in it."""
    text = str(error)
    return "object store" in text and not any(sign in text for sign in GONE)


def _code(text: str) -> str:
    found = re.search(r'code: "(\w+)"', text)
    return found[1] if found else ""


def _within(timeout: float, call: Callable[[], T], where: str) -> T:
    """The result of `call`, made in a thread that is left behind if it takes longer."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if errors:
        raise errors[0]
    if results:
        return results[0]
    raise StorageUnavailable(
        f"The object store of {where} gave no usable answer for {timeout:.0f} s: it may be down, "
        "overloaded or out of reach."
    )
