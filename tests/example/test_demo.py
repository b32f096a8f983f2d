"""`python -m example_app.demo` as somebody starts it: processes of its own, a free port, an empty database."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.example.visiting import Visitor, text_of

Eventually = Callable[..., object]
ROOT = Path(__file__).parent.parent.parent
SLOW = 180


class Demo:
    """A running demo and what it has printed so far."""

    def __init__(self, folder: Path, database_url: str, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.lines: list[str] = []
        environment = {
            **os.environ,
            **{"PORT": str(port), "DATABASE_URL": database_url, "SHOP_INSTANCE": str(folder)},
            **{"SHOP_SETTLE_SECONDS": "0.2", "SHOP_PAYMENT_SECONDS": "600"},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "example_app.demo"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def printed(self) -> str:
        """Everything that it printed."""
        return "".join(self.lines)

    @property
    def worker(self) -> int:
        """The process id of the worker that was started last."""
        return int(re.findall(r"(?:Worker: +pid|another worker \(pid) (\d+)", self.printed)[-1])

    def stop(self) -> int:
        """Stop it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(SLOW)
        self._reader.join(SLOW)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)


@pytest.fixture
def start_demo(tmp_path: Path, database_url: str, eventually: Eventually) -> Iterator[Callable[[], Demo]]:
    """Starts the demo and waits until it says where it is; each start on the same data."""
    started: list[Demo] = []

    def start() -> Demo:
        demo = Demo(tmp_path, database_url, free_port())
        started.append(demo)
        eventually(lambda: "Ctrl-C stops" in demo.printed or demo.process.poll() is not None, timeout=SLOW)
        assert demo.process.poll() is None, demo.printed
        return demo

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.stop()


def test_buy_approve_and_a_worker_killed_during_a_step(start_demo: Callable[[], Demo], eventually: Eventually) -> None:
    demo = start_demo()
    ben, fiona = Visitor(demo.address).log_in("ben@shop.test"), Visitor(demo.address).log_in("fiona@shop.test")

    first = buy(ben, "darjeeling")
    follow_mail(fiona, first, eventually)
    decide(fiona)
    eventually(lambda: "Paid." in text_of(ben.open(first)), timeout=SLOW)

    ben.open("/gateway")
    ben.send("/gateway", mode="slow")
    second = buy(ben, "biscuits")
    eventually(lambda: "We are asking your bank." in text_of(ben.open(second)), timeout=SLOW)
    killed = demo.worker
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: "started another worker" in demo.printed.lower(), timeout=SLOW)
    assert f"The worker (pid {killed}) was ended by SIGKILL." in demo.printed
    ben.open("/gateway")
    ben.send("/gateway", mode="fine")
    approve(fiona, second, ben, eventually)
    eventually(lambda: "Paid." in text_of(ben.open(second)), timeout=SLOW)

    assert demo.stop() == 0
    again = start_demo()
    eventually(lambda: "Paid." in text_of(Visitor(again.address).log_in("ben@shop.test").open(second)), timeout=SLOW)
    assert again.stop() == 0


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        demo = Demo(tmp_path, f"sqlite:///{tmp_path}/shop.sqlite", port)
        assert demo.process.wait(SLOW) == 1
    demo.stop()
    assert f"Port {port} is taken by another program. Choose another one: PORT={port + 1} make demo" in demo.printed


def buy(visitor: Visitor, sku: str) -> str:
    """Order one piece and return the path of the order's page."""
    visitor.open(f"/products/{sku}")
    return visitor.send("/orders", quantity="1").url.path


def approve(fiona: Visitor, order: str, ben: Visitor, eventually: Eventually) -> None:
    """Approve the order's payment in the dashboard once it waits for that."""
    eventually(lambda: "A colleague from finance" in text_of(ben.open(order)), timeout=SLOW)
    fiona.open(order)
    fiona.follow("See its run")
    decide(fiona)


def follow_mail(fiona: Visitor, order: str, eventually: Eventually) -> None:
    """Follow the link of the mail that asks about the order, once it has come."""
    question = f"for order {order.rpartition('/')[2]}?"
    eventually(lambda: question in text_of(fiona.open("/mailbox")), timeout=SLOW)
    fiona.follow(question)
    fiona.follow("/squidmesh/runs/")


def decide(fiona: Visitor) -> None:
    """Approve on the page of a run."""
    fiona.follow("Approve")
    assert fiona.send("/approve", comment="known customer").status_code == 200


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
