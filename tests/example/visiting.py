"""A person with cookies who uses the shop through HTTP, as a browser without JavaScript would."""

from __future__ import annotations

import re
from html import unescape

import httpx

FORM = re.compile(r"<form\b(?P<attributes>[^>]*)>(?P<body>.*?)</form>", re.S)
FIELD = re.compile(r"<(?:input|button)\b[^>]*>", re.S)
LINK = re.compile(r'<a\b[^>]*href="(?P<href>[^"]*)"[^>]*>(?P<text>.*?)</a>', re.S)


class Visitor:
    """Opens pages, follows links by their text and sends the forms that pages hold."""

    def __init__(self, base: str) -> None:
        self.http = httpx.Client(base_url=base, follow_redirects=True, trust_env=False, timeout=120)
        self.page = httpx.Response(200)

    def open(self, path: str) -> httpx.Response:
        """Open a page and remember it."""
        self.page = self.http.get(path)
        return self.page

    def log_in(self, email: str) -> Visitor:
        """Log in with the demo's password."""
        self.open("/login")
        self.send("/login", email=email, password="demo")
        assert f"{email.split('@')[0].title()}, " in self.page.text
        return self

    def follow(self, text: str) -> httpx.Response:
        """Follow the first link of the page that reads so."""
        found = next(match["href"] for match in LINK.finditer(self.page.text) if text in _plain(match["text"]))
        return self.open(str(self.page.url.join(unescape(found))))

    def send(self, action: str, **values: str) -> httpx.Response:
        """Send the page's form whose address ends so, with its hidden fields and these values."""
        form = next(match for match in FORM.finditer(self.page.text) if self._address(match).path.endswith(action))
        hidden = {
            name: _attribute(field, "value") or ""
            for field in FIELD.findall(form["body"])
            if (name := _attribute(field, "name")) and _attribute(field, "type") == "hidden"
        }
        address = self._address(form)
        headers = {"Origin": str(address.join("/")).rstrip("/"), "Referer": str(self.page.url)}
        self.page = self.http.post(address, data={**hidden, **values}, headers=headers)
        return self.page

    def close(self) -> None:
        """Close the connections."""
        self.http.close()

    def _address(self, form: re.Match[str]) -> httpx.URL:
        return self.page.url.join(unescape(_attribute(form["attributes"], "action") or ""))


def text_of(page: httpx.Response) -> str:
    """What a person reads on the page."""
    return _plain(page.text)


def _plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return unescape(found[1]) if found else None
