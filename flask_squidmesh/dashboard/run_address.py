"""Addresses of pages outside of any request, as mails and chats show them."""

from __future__ import annotations

from typing import Literal

from flask import Flask

from .authorization import Dashboard


def address_of_run(
    app: Flask, external_url: str | None, run_id: str, page: Literal["run", "decide"] = "run"
) -> str | None:
    """The address of the run's page; None where it is not known from outside, or the app has no dashboard.

    page: "decide" leads to the first question that is open there, if there is one.
    """
    mount = next((name for name, each in app.blueprints.items() if isinstance(each, Dashboard)), None)
    if external_url is None or mount is None:
        return None
    path = app.url_map.bind("localhost", script_name="/").build(f"{mount}.run", {"run_id": run_id})
    return external_url + path + ("#question-1" if page == "decide" else "")
