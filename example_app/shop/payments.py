"""Where the payment company calls back."""

from __future__ import annotations

from flask import Request

from flask_squidmesh import Event, HmacSignature, Setting

from ..extensions import mesh
from ..gateway.client import CALLBACK_PATH

SIGNED = HmacSignature("Gateway-Signature", Setting("GATEWAY_SECRET"), timestamp_header="Gateway-Timestamp")


@mesh.receive(CALLBACK_PATH, verify=SIGNED)
def payments(request: Request) -> Event:
    """Pass on to the run that waits for it what has become of a payment."""
    told = request.get_json()
    return Event(told["type"], key=told["payment_id"], payload={"order_id": told["order_id"]}, event_id=told["id"])
