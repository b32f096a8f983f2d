"""Addresses at which other services send events: a signed request comes in, a receipt goes out."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn, TypeVar

import sqlalchemy as sa
from flask import Blueprint, Request, current_app, jsonify, request
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response

from .app_settings import Text, text_of
from .errors import ConfigurationError, ConflictError, ManualActionError, PayloadError, given
from .runtime.event_sending import EventReceipt
from .runtime.outcomes import let_ctrl_c_through, log_error
from .runtime.runtime import configured_runtime, current_runtime

NAME: Final = "squidmesh_receive"
TOLERANCE: Final = timedelta(minutes=5)
PROBE: Final = "squidmesh.probe"
"""In the environment of a request that only looks; no header of a request from outside can stand there."""

logger = logging.getLogger("flask_squidmesh")


@dataclass(frozen=True, slots=True)
class Event:
    """What a request brings, for `send_event`; the arguments are those."""

    name: str
    _: KW_ONLY
    key: str | int
    payload: BaseModel | Mapping[str, object] | None = None
    event_id: str | None = None
    tenant: str = ""


Received = Event | Sequence[Event] | None
Verify = Callable[[Request], bool]
Receiver = TypeVar("Receiver", bound=Callable[[Request], Received])


@dataclass(slots=True)
class Probe:
    """Whether a request that only looks has arrived."""

    arrived: bool = False


class HmacSignature:
    """Whether a request is signed: its header holds the hex HMAC-SHA256 of the body as it came, by the secret.

    header: such as "X-Signature". secret: text, a Setting or a function that answers it; several are tried in turn, so
    that one can be changed for another. timestamp_header: the header that holds the time of the request, in seconds
    since 1970; then the signature is of `<timestamp>.<body>`. tolerance: how far that may be from now. prefix: what
    stands before the signature, such as "sha256=". Raises ConfigurationError.
    """

    def __init__(
        self,
        header: str,
        secret: Text | Sequence[Text],
        *,
        timestamp_header: str | None = None,
        tolerance: timedelta = TOLERANCE,
        prefix: str = "",
    ) -> None:
        secrets = list(secret) if isinstance(secret, list | tuple) else [secret]
        if not isinstance(header, str) or not header:
            raise ConfigurationError("HmacSignature: header is the name of a header, such as 'X-Signature'.")
        if not secrets or any(isinstance(each, str) and not each for each in secrets):
            raise ConfigurationError("HmacSignature: secret is empty.")
        if not isinstance(tolerance, timedelta) or tolerance <= timedelta(0):
            raise ConfigurationError("HmacSignature: tolerance is a timedelta of more than nothing.")
        self._header, self._timestamp_header, self._prefix = header, timestamp_header, prefix
        self._secrets: Sequence[Any] = secrets
        self._tolerance = tolerance.total_seconds()

    def __call__(self, request: Request) -> bool:
        """Whether one of the secrets has signed the request, lately if it says when."""
        said = request.headers.get(self._header, "")
        if not said.startswith(self._prefix):
            return False
        body = request.get_data(cache=True)
        if self._timestamp_header is not None:
            at = request.headers.get(self._timestamp_header, "")
            if not (at.isascii() and at.isdigit() and len(at) < 12 and abs(time.time() - int(at)) <= self._tolerance):
                return False
            body = f"{at}.".encode() + body
        signature = said.removeprefix(self._prefix).strip().lower().encode()
        return any(hmac.compare_digest(_signed(secret, body), signature) for secret in self._secrets)


def _signed(secret: Text, body: bytes) -> bytes:
    key = text_of(secret, "The secret of a signature").encode()
    return hmac.new(key, body, hashlib.sha256).hexdigest().encode()


class Receivers:
    """The addresses that a host has declared, and what makes events of the requests that come in there."""

    def __init__(self) -> None:
        self._declared: dict[str, tuple[Verify, Callable[[Request], Received]]] = {}
        self._closed = False

    def open_copy(self) -> Receivers:
        """The same addresses, for another app; more can be declared."""
        made = Receivers()
        made._declared.update(self._declared)
        return made

    def declare(self, rule: str, verify: Verify, function: Callable[[Request], Received]) -> None:
        """Take one up. Raises ConfigurationError."""
        if self._closed:
            raise ConfigurationError(f"receive({given(rule)}) comes after init_app. Declare it before.")
        if not isinstance(rule, str) or not rule.startswith("/") or "<" in rule:
            raise ConfigurationError(f"receive takes an address such as '/hooks/payments', not {given(rule)}.")
        if rule in self._declared:
            raise ConfigurationError(f"receive({given(rule)}) is declared twice. Give one of them another address.")
        if not callable(verify) or not callable(function):
            raise ConfigurationError(f"receive({given(rule)}) needs a function, and verify= that can be called.")
        self._declared[rule] = (verify, function)

    def blueprint(self) -> Blueprint | None:
        """All of them, to be registered on an app; None where there are none. From here on no more can be declared."""
        self._closed = True
        if not self._declared:
            return None
        made = Blueprint(NAME, __name__)
        for number, (rule, (verify, function)) in enumerate(self._declared.items()):
            made.add_url_rule(rule, f"address_{number}", _answering(verify, function), methods=["POST"])
        made.url_value_preprocessor(lambda _endpoint, _values: _expect_programs(made))
        return made


def _expect_programs(made: Blueprint) -> None:
    """Before the host's own handlers: no form of a browser's is expected, and no more is read than may be kept."""
    protection: Any = current_app.extensions.get("csrf")
    if hasattr(protection, "exempt"):
        protection.exempt(made)
    most = current_runtime().settings.max_payload_bytes
    with suppress(AttributeError):  # Flask 3.0 takes it from the app's settings alone
        request.max_content_length = most


def _answering(verify: Verify, function: Callable[[Request], Received]) -> Callable[[], Response]:
    def view() -> Response:
        probe: Probe | None = request.environ.get(PROBE)
        if probe is not None:
            probe.arrived = True
            return Response(status=204)
        try:
            return _received(verify, function)
        except _NotTaken as refused:
            return _problem(refused.status, str(refused), refused.details)

    return view


class _NotTaken(Exception):
    """The request is not taken. status: the answer's; details: what else it says."""

    def __init__(self, status: int, said: str, details: Mapping[str, object] | None = None) -> None:
        self.status, self.details = status, details or {}
        super().__init__(said)


def _received(verify: Verify, function: Callable[[Request], Received]) -> Response:
    if (request.content_length or 0) > current_runtime().settings.max_payload_bytes:
        raise _NotTaken(413, "The body is too large.")
    if not _asked(lambda: request.get_data(cache=True) is not None and verify(request), 401):
        raise _NotTaken(401, "The request is not signed as it has to be.")
    found = _asked(lambda: function(request), 400)
    several = [] if found is None else [found] if isinstance(found, Event) else list(_events_in(found))
    receipts = [_sent(event) for event in several]
    if isinstance(found, Event):
        return _answer(receipts[0].to_dict(), receipts)
    return _answer({"receipts": [receipt.to_dict() for receipt in receipts]}, receipts)


def _events_in(found: object) -> Iterable[Event]:
    if isinstance(found, list | tuple) and all(isinstance(each, Event) for each in found):
        return found
    message = f"it answered {given(found)}, and has to answer an Event, a list of them, or None"
    logger.warning("squidmesh: the function for %s: %s", request.path, message)
    raise _NotTaken(400, "The request could not be read.")


def _asked(call: Callable[[], Any], status: int) -> Any:
    """What the host's function answers. What it raises is told in the log, and to whoever asks only that it failed."""
    try:
        return call()
    except RequestEntityTooLarge as error:
        raise _NotTaken(413, "The body is too large.") from error
    except HTTPException as error:
        _give_up(error.code or status, error.description or error.name)
    except BaseException as error:
        let_ctrl_c_through(error)
        log_error(logger, error, "squidmesh: a request to %s could not be read", request.path)
        raise _NotTaken(status, "The request could not be read.") from error


def _give_up(status: int, said: str) -> NoReturn:
    raise _NotTaken(status, said)


def _sent(event: Event) -> EventReceipt:
    try:
        return configured_runtime().events.send(
            event.name,
            key=event.key,
            payload=event.payload,
            event_id=event.event_id,
            tenant=event.tenant,
            actor=request.path,
        )
    except PayloadError as error:
        fields = {
            "missing_fields": error.missing_fields,
            "unknown_fields": error.unknown_fields,
            "invalid_types": error.invalid_types,
        }
        raise _NotTaken(400, str(error), fields) from error
    except (ConflictError, ManualActionError) as error:
        raise _NotTaken(400, str(error)) from error
    except (ConfigurationError, sa.exc.SQLAlchemyError) as error:
        log_error(logger, error, "squidmesh: an event that came to %s could not be kept", request.path)
        raise _NotTaken(503, "The event could not be kept. Send it again.") from error


def _answer(document: Mapping[str, object], receipts: Sequence[EventReceipt]) -> Response:
    """202 for what is new; 200 where nothing is."""
    answer = jsonify(document)
    answer.status_code = 200 if all(receipt.repeated for receipt in receipts) else 202
    return answer


def _problem(status: int, said: str, details: Mapping[str, object]) -> Response:
    answer = jsonify({"title": said, "status": status, **details})
    answer.status_code, answer.mimetype = status, "application/problem+json"
    return answer
