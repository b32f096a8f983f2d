"""The pages say what is so: examples run, settings are all there, links and commands lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from blinker import NamedSignal
from pydantic import BaseModel, SecretStr

import flask_squidmesh
from flask_squidmesh import DefinitionError, cli, config, errors, signals
from flask_squidmesh.commands import Commands
from flask_squidmesh.runtime.deliveries import DeliveryOutcome
from flask_squidmesh.secret_names import SECRET_KEYS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^( *)```(\w*)( run)?\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"flask squidmesh((?: [a-z_]+)+)")
SETTING = re.compile(r"^\| `(SQUIDMESH_\w+)` \|[^|]*\| (.*?) \|", re.MULTILINE)

pytestmark = pytest.mark.source


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced piece of code. line: where it begins."""

    page: Path
    line: int
    language: str
    runs: bool
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    def compiled(self) -> Any:
        """The code with the page's own line numbers."""
        padding = "\n" * (self.line - 1)
        return compile(padding + self.code, str(self.page), "exec", dont_inherit=True)


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCED.finditer(text):
            indent, language, runs, code = found.groups()
            yield Block(
                page=page,
                line=text.count("\n", 0, found.start(4)) + 1,
                language=language,
                runs=runs is not None,
                code=re.sub(f"^{indent}", "", code, flags=re.MULTILINE),
            )


MISTAKES = """
a = Step(f); b = Step(f)
a = Step(f); b = Step(f, after=[a]); flow = [a >> b]
a = Step(misspelt)
a = Step(f); b = Step(f); c = Step(f); flow = [a >> b.on_error >> c]
a = Step(f); b = Step(f); c = Step(f); flow = [a >> b, a >> c]
a = Approval(); b = Step(f); flow = [a >> b]
a = Step(f); b = Step(f); flow = [a >> b >> a]
a = Step(f); b = Step(f); c = Step(f); flow = [a >> b]
a = Step(f); flow = [a >> "end"]
a = Step(f); b = Step(f); flow = [a >> End("shipped") >> b]
a = Wait(5); b = Step(f); flow = [a.on_error >> b]
a = Decision(options=("yes",)); b = Step(f); flow = [a >> b]
a = Decision(options=("yes",)); b = Step(f); flow = [a.on("yes") >> b, a.on("no") >> b]
a = Pause(); b = Step(f); flow = [a >> b, a.on_timeout >> b]
a = Pause(within=3600, remind=7200)
start = Manual(Managed); a = Step(f, within="manager")
a = Decision()
a = Step(f); b = a
version = Step(f)
start = None; a = Step(f)
a = Step(f, retry=3)
a = Step(f, irreversible=True, compensate=f)
a = Step(coroutine, transaction=True)
a = Wait(0)
subject = "Order {order.id}"; a = Step(f)
start = Manual(Keyed); a = Step(f)
start = Cron("0 9 * * *", Dated); a = Step(f)
start = Every(0); a = Step(f)
start = Cron("0 9 * * *", overlap="skp"); a = Step(f)
""".strip().splitlines()

PYTHON = [block for block in blocks() if block.language == "python"]


def prose(page: Path) -> str:
    """A page without its pieces of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_example_compiles(block: Block) -> None:
    block.compiled()


@pytest.mark.parametrize("block", [block for block in PYTHON if block.runs], ids=str)
def test_every_example_that_runs_does(block: Block) -> None:
    exec(block.compiled(), {"__name__": "example"})


def test_workflows_are_explained_with_examples_that_run() -> None:
    assert len([block for block in PYTHON if block.runs and block.page.name == "workflows.md"]) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(path), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    for words in COMMAND.findall(page.read_text(encoding="utf-8")):
        command: click.Command = cli.group
        for word in words.split():
            if not isinstance(command, click.Group):
                break
            assert word in command.commands, f"flask squidmesh{words}: there is no {word}"
            command = command.commands[word]


class Order(BaseModel):
    order_id: str


class Managed(BaseModel):
    manager: str


class Keyed(BaseModel):
    key: SecretStr


class Dated(BaseModel):
    day: str


def f() -> None: ...


def misspelt(order_idd: str) -> None: ...


async def coroutine() -> None: ...


def refusals() -> Iterator[str]:
    """What is answered to each of the mistakes."""
    bodies = ["class W(Workflow): start = Manual(Order); " + mistake for mistake in MISTAKES]
    for source in [*bodies, "class W(Workflow): start = Manual(); a = Step(f)\nclass V(W): pass"]:
        with pytest.raises(DefinitionError) as refused:
            exec(source, {**vars(flask_squidmesh), **globals()})
        yield from refused.value.problems


def test_what_is_said_about_a_mistake_is_what_the_library_says() -> None:
    section = (ROOT / "docs/workflows.md").read_text(encoding="utf-8").partition("## What is refused")[2]
    answers = re.findall(r"^\| .* \| (.*) \|$", section, re.MULTILINE)[1:]
    assert len(answers) > 20
    assert set(answers) <= set(refusals())


def documented() -> dict[str, str]:
    """The default that the page gives for each setting, as it is written."""
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    return {key: default.strip("`") for key, default in SETTING.findall(text)}


def defaults() -> dict[str, Any]:
    owners = ((config.DASHBOARD_PREFIX, config.DashboardConfig()), (config.KEY_PREFIX, config.Config()))
    return {prefix + each.name.upper(): getattr(owner, each.name) for prefix, owner in owners for each in fields(owner)}


def test_every_setting_is_explained_once_and_no_other() -> None:
    text = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert [key for key, _ in SETTING.findall(text)] == list(config.KEYS)


@pytest.mark.parametrize("key", [key for key in config.KEYS if not key.endswith("REDACT_KEYS")])
def test_the_default_of_a_setting_is_the_one_explained(key: str) -> None:
    assert ast.literal_eval(documented()[key]) == defaults()[key]


def test_the_names_that_are_hidden_by_default_are_listed() -> None:
    key = "SQUIDMESH_DASHBOARD_REDACT_KEYS"
    [listing] = [block for block in PYTHON if block.code.startswith(f"{key} = ")]
    assert ast.literal_eval(listing.code.partition("=")[2].strip()) == list(SECRET_KEYS)


def test_every_action_is_named() -> None:
    named = set(re.findall(r"`(\w+)`", (ROOT / "docs/settings.md").read_text(encoding="utf-8")))
    assert set(config.ACTIONS) <= named


def listed(page: str, heading: str) -> list[str]:
    """The names in the first column of the table that begins with this heading."""
    _, _, table = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"| {heading} |")
    return re.findall(r"^\| `(\w+)", table.partition("\n\n")[0], re.MULTILINE)


def test_every_signal_is_explained() -> None:
    sent = {name for name, each in vars(signals).items() if isinstance(each, NamedSignal)}
    assert set(listed("running.md", "Signal")) == sent


def test_every_outcome_of_a_delivery_is_explained() -> None:
    assert sorted(listed("executors.md", "Outcome")) == sorted(get_args(DeliveryOutcome))


def test_every_control_call_is_explained_and_no_other() -> None:
    calls = [name for name, each in vars(Commands).items() if callable(each) and not name.startswith("_")]
    assert set(listed("running.md", "Call")) == set(calls)


def test_every_error_is_listed() -> None:
    page = (ROOT / "docs/running.md").read_text(encoding="utf-8")
    tree = re.findall(r"^[├└]── (\w+)", page, re.MULTILINE)
    assert {"SquidMeshError", *tree} == {name for name in vars(errors) if name.endswith("Error")}
