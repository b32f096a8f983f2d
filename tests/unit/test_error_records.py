"""Errors as they are kept, whatever the exception says of itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import sqlalchemy as sa

from flask_squidmesh import FailStep, RetryStep
from flask_squidmesh.definition.spec import RetryPolicy
from flask_squidmesh.engine.error_records import error as error_of
from flask_squidmesh.runtime.outcomes import (
    MOST_TEXT,
    MOST_TRACEBACK,
    StepBlocked,
    StepCompleted,
    StepFailed,
    error_record,
    failure_of,
    is_a,
    log_error,
    loggable,
    refused_by,
    safely,
    told,
)
from flask_squidmesh.tools.adapter import ToolError

MOST = 1_000
SECRET = "hunter2"


def raising(error: type[BaseException]) -> property:
    """An attribute that raises when it is read."""

    def read(_self: object) -> Any:
        raise error("evil")

    return property(read)


class Spoken(Exception):
    def __str__(self) -> str:
        raise SystemExit("evil")

    __repr__ = __str__


class Talkative(Exception):
    def __str__(self) -> str:
        return "x" * 10_000_000


class Untextual(Exception):
    def __str__(self) -> Any:
        return 7


class Word(str):
    def replace(self, *_: Any) -> Any:
        raise RuntimeError("evil")

    encode = replace  # type: ignore[assignment]

    def __str__(self) -> Any:
        return self


class Worded(Exception):
    def __str__(self) -> str:
        return Word("said")


class Reflective(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Endless(Exception):
    def __str__(self) -> str:
        return str(self)


class Named(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("evil")


class Unnamed(Exception, metaclass=Named):
    pass


class Unmapped(dict[str, Any]):
    def items(self) -> Any:
        raise KeyboardInterrupt


def attributed(**attributes: Any) -> BaseException:
    return type("Evil", (Exception,), attributes)("said")  # type: ignore[no-any-return]


def lazy() -> Iterator[int]:
    yield 1
    raise RuntimeError("evil")


def in_a_circle() -> Exception:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def deep() -> Exception:
    error: Exception = ValueError("innermost")
    for number in range(2_000):
        outer = ValueError(number)
        outer.__cause__ = error
        error = outer
    return error


EVIL: dict[str, Callable[[], BaseException]] = {
    "__str__ exits": Spoken,
    "__str__ is huge": Talkative,
    "__str__ is no text": Untextual,
    "__str__ is text of its own": Worded,
    "__str__ never ends": Endless,
    "nothing can be read": Reflective,
    "the class has no name": Unnamed,
    "__notes__": lambda: attributed(__notes__=raising(RuntimeError)),
    "__notes__ exit": lambda: attributed(__notes__=raising(SystemExit)),
    "__notes__ are none": lambda: attributed(__notes__=7),
    "code": lambda: attributed(code=raising(KeyboardInterrupt)),
    "details": lambda: attributed(details=raising(RuntimeError)),
    "__class__": lambda: attributed(__class__=raising(RuntimeError)),
    "__cause__": lambda: attributed(__cause__=raising(RuntimeError)),
    "__context__": lambda: attributed(__context__=7),
    "__traceback__": lambda: attributed(__traceback__=raising(RuntimeError)),
    "causes in a circle": in_a_circle,
    "very many causes": deep,
    "lazy details": lambda: FailStep("no", details=lazy()),
    "details that cannot be read": lambda: FailStep("no", details=Unmapped(a=1)),
    "a group": lambda: BaseExceptionGroup("many", [KeyboardInterrupt(), Spoken(), in_a_circle()]),
    "no exceptions in a group": lambda: type("Group", (ExceptionGroup,), {"exceptions": raising(RuntimeError)})(
        "many", [ValueError()]
    ),
    "surrogates and NUL": lambda: ValueError("\ud800\0"),
}


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(self.format(record))


@pytest.mark.rule("errors-any-exception")
@pytest.mark.parametrize("make", EVIL.values(), ids=EVIL.keys())
def test_every_exception_becomes_a_record(make: Callable[[], BaseException]) -> None:
    logger, lines = logging.Logger("alone"), Lines()
    logger.addHandler(lines)
    try:
        raise make()
    except BaseException as error:
        record = error_record(error, retryable=True, most=MOST)
        line = told(error)
        log_error(logger, error, "it was %s", "so")
        failed = failure_of(error, RetryPolicy(on=(OSError,)), MOST)
    assert set(record) == {"type", "message", "code", "details", "traceback", "retryable"}
    traceback = record["traceback"] or ""
    assert record["type"]
    assert len(record["message"]) <= MOST_TEXT
    assert len(traceback) <= MOST_TRACEBACK
    assert len(line) <= MOST_TEXT + 250
    for text in (record["type"], record["message"], traceback, line):
        assert "\0" not in text
        assert text.encode().decode() == text
    assert "it was so" in lines.found[0]
    assert not failed.asked


@pytest.mark.rule("errors-any-exception")
def test_an_exception_is_what_it_is_and_not_what_it_says() -> None:
    class Lying(Exception):
        __class__ = FailStep  # type: ignore[assignment]

    class Accepting(type):
        def __subclasscheck__(cls, _other: type) -> bool:
            raise RuntimeError("evil")

        __instancecheck__ = __subclasscheck__

    class Listed(Exception, metaclass=Accepting):
        pass

    assert not is_a(Lying(), FailStep)
    assert not failure_of(Lying(), RetryPolicy(), MOST).final
    assert failure_of(ValueError(), RetryPolicy(on=(Listed,)), MOST).final
    assert failure_of(Listed(), RetryPolicy(on=(Listed,)), MOST).asked


@pytest.mark.rule("errors-limit")
def test_details_have_the_limit_of_outputs() -> None:
    record = error_record(FailStep("no", details={"a": "x" * 2_000}), retryable=False, most=MOST)
    assert record["details"] == {"omitted": "They are 2009 bytes of JSON; SQUIDMESH_MAX_PAYLOAD_BYTES allows 1000."}


@pytest.mark.rule("errors-database")
def test_what_statements_were_given_is_not_told() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        try:
            try:
                connection.execute(sa.text("INSERT INTO nothing VALUES (:word)"), {"word": SECRET})
            except sa.exc.SQLAlchemyError as refused:
                raise RuntimeError("It failed.") from refused
        except RuntimeError as error:
            record, refusal = error_record(error, retryable=False, most=MOST), error.__cause__
    engine.dispose()
    assert "INSERT INTO nothing" in (record["traceback"] or "")
    assert SECRET not in str(record)
    assert refusal is not None
    assert SECRET not in told(refusal)


@pytest.mark.rule("retry-step-after")
@pytest.mark.parametrize(
    ("after", "seconds"),
    [(0, 0.0), (1.5, 1.5), (Decimal("2.5"), 2.5), (Fraction(1, 4), 0.25), (timedelta(minutes=1), 60.0), (None, None)],
)
def test_a_retry_is_asked_for_after_seconds_or_a_timedelta(after: Any, seconds: float | None) -> None:
    assert failure_of(RetryStep("busy", after=after), RetryPolicy(), MOST).after == seconds


@pytest.mark.rule("retry-step-after")
@pytest.mark.parametrize(
    ("after", "error"),
    [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (1e18, ValueError),
        (10**400, ValueError),
        (-1, ValueError),
        (Decimal("NaN"), ValueError),
        (Decimal("sNaN"), ValueError),
        (timedelta(seconds=-1), ValueError),
        ("30", TypeError),
        (True, TypeError),
        ([], TypeError),
    ],
)
def test_what_is_no_delay_is_refused_to_the_step(after: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="write seconds from 0 to 100 years"):
        RetryStep("busy", after=after)
    later = RetryStep("busy")
    later.after = after
    assert failure_of(later, RetryPolicy(), MOST).after is None


@pytest.mark.rule("retry-step-after")
@pytest.mark.parametrize("after", ["nan", float("nan"), "30", -1, 1e18, True])
def test_what_another_side_asks_for_is_no_delay_unless_it_is_one(after: Any) -> None:
    error = ToolError("busy", adapter="http", kind="http", retryable=True, retry_after=after, certain=True)
    assert isinstance(error.as_step_signal(), RetryStep)
    error.retry_after = after
    failed = failure_of(error, RetryPolicy(max_attempts=3), MOST)
    assert (failed.after, failed.final) == (None, False)


def test_what_is_told_in_place_of_a_refused_outcome_can_be_kept_by_every_database() -> None:
    refused = sa.exc.DataError("INSERT", {"word": SECRET}, Exception("no € in a LATIN1 database"))
    ended, blocked = (
        refused_by(refused, StepCompleted(output={})),
        refused_by(refused, StepBlocked(error=error_of("E", "no"))),
    )
    assert isinstance(ended, StepFailed)
    assert isinstance(blocked, StepBlocked)
    assert ended.failure.final
    for error in (ended.failure.error, blocked.error):
        assert "no \\u20ac in a LATIN1 database" in str(error["message"])
        assert SECRET not in str(error)


def test_an_exception_that_no_handler_can_write_is_logged_by_its_text_alone(caplog: pytest.LogCaptureFixture) -> None:
    halved = ValueError("half \ud800 a character")
    assert loggable(halved) is None
    log_error(logging.getLogger("flask_squidmesh"), halved, "run %s went wrong", "r-1")
    [record] = caplog.records
    assert record.exc_info is None
    assert caplog.text.encode()
    assert "run r-1 went wrong (ValueError: half" in caplog.text


class Unspeakable(BaseException):
    """No Exception, and nothing that would end a process."""


@pytest.mark.rule("errors-any-exception")
@pytest.mark.parametrize("error", [RuntimeError, Unspeakable, SystemExit, GeneratorExit, KeyboardInterrupt])
def test_whatever_the_hosts_code_raises_where_something_is_asked_of_it_gives_way(error: type[BaseException]) -> None:
    def make() -> str:
        raise error

    try:
        made: object = safely(make, "otherwise")
    except BaseException as escaped:
        made = type(escaped)
    assert made == "otherwise"
    assert safely(lambda: "made", "otherwise") == "made"
