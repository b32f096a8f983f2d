"""Apprise, by its own means for tests: a service that is a function, and one that is an HTTP server."""

from __future__ import annotations

import json

import pytest
from flask import Flask

from flask_squidmesh import ChannelError, ConfigurationError, Setting
from flask_squidmesh.channels import Apprise, apprise_channel
from tests.integration.channels.conftest import Service, notice

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@pytest.mark.rule("apprise")
def test_a_notice_goes_to_each_of_the_services(app: Flask, service: Service) -> None:
    app.config["CHAT"] = service.url.replace("http://", "json://")
    Apprise(Setting("CHAT")).send("", [notice()])
    [(_, body)] = service.got
    assert json.loads(body)["title"] == "To decide: Pay 400 EUR to Müller & Söhne?"
    assert str(notice().url) in json.loads(body)["message"]


@pytest.mark.rule("apprise")
def test_the_receiver_may_be_the_address(app: Flask, service: Service) -> None:
    Apprise().send(service.url.replace("http://", "json://"), [notice()])
    assert len(service.got) == 1


@pytest.mark.rule("apprise")
def test_what_a_service_refuses_is_told_without_its_address(
    app: Flask, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = lambda _: (500, {"Content-Length": "0"})
    for url in (service.url.replace("http://", "json://user:t0ken@"), "nothing://t0ken"):
        with pytest.raises(ChannelError) as refused:
            Apprise(url).send("", [notice()])
        assert "t0ken" not in str(refused.value)
    with pytest.raises(ChannelError, match="no address"):
        Apprise().send("", [notice()])


@pytest.mark.rule("apprise")
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise_channel, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"flask-squidmesh\[apprise\]"):
        Apprise("json://localhost")
