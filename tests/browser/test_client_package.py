"""The npm package topten-client as another team uses it: built, on pages of another origin, in a real Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import BrowserContext, Page, Route, expect

from codegen.build import ROOT, VERSION
from edge.graphql.execution.shared_texts import digest_of
from services.cli.system.client import GraphqlClient
from tests.browser.visitor import requests_of, short_quiz
from tests.node import FOLDER, NODE
from tests.players import PASSWORD, Player, endpoints, register
from tests.replicas import second_instance
from tests.servers import RunningStack, unique

EXAMPLES = ROOT / "codegen" / "client" / "example"
MODULES = FOLDER / "node_modules"
TYPES = {
    "compilerOptions": {
        "target": "es2023", "module": "es2022", "moduleResolution": "bundler", "noEmit": True, "strict": True,
        "lib": ["es2023", "dom", "dom.iterable"], "types": [], "checkJs": True,
    },
    "files": ["app.js"],
}  # fmt: skip
# The versions of a room that are shown, of those that an edge sends.
WENT_BACK = """async () => {
  let source;
  window.EventSource = class extends EventTarget {
    constructor() { super(); source = this; }
    close() {}
  };
  const { follow } = await import('/assets/0000000000000000/client/stream.js');
  return new Promise((resolve) => {
    const shown = [];
    const onFrame = ({ version }) => shown.push(version) === 3 && resolve(shown);
    follow('room:1', { streamUrl: () => '' }, { onFrame, onMe() {}, onState() {} });
    for (const version of [9, 7, 10, 3, 4]) {
      const data = JSON.stringify({ version, phase: 'question' });
      source.dispatchEvent(new MessageEvent('state', { data, lastEventId: `${version}-0` }));
    }
  });
}"""
# Requests that need a token, from a second client in the page that is open.
REQUEST = """async url => {
  const { connect } = await import('topten-client');
  return (await connect({ url }).session.request('{ me { username } }')).me.username;
}"""
EXPIRE = """() => {
  const key = Object.keys(localStorage).find(each => each.startsWith('topten:tokens:'));
  const tokens = JSON.parse(localStorage[key]);
  localStorage[key] = JSON.stringify({ ...tokens, accessToken: tokens.accessToken.slice(0, -8) + 'AAAAAAAA' });
}"""

CLAIM = """async ([url, username, password]) => {
  const { connect } = await import('topten-client');
  const { session } = connect({ url, storage: sessionStorage });
  const changes = [];
  session.addEventListener('change', () => changes.push([session.user.userId, ...session.user.roles]));
  await session.continueAsGuest('anna');
  await session.register({ username, password, country: null });
  return changes;
}"""


# Each holds a response back until something newer has happened, and returns who is signed in then, and in the storage.
LATE = """async ([url, username, password, other]) => {
  const { connect } = await import('topten-client');
  const real = fetch;
  const opened = () => {
    sessionStorage.clear();
    return connect({ url, storage: sessionStorage }).session;
  };
  const holding = () => {
    let release;
    const gate = new Promise((resolve) => (release = resolve));
    window.fetch = async (...request) => {
      window.fetch = real;
      const response = await real(...request);
      await gate;
      return response;
    };
    return release;
  };
  const stored = async (session) => (session.credentials.accessToken
    ? (await session.connection.send('{ me { username } }')).me.username : null);
  const found = [];
  const note = async (session) => found.push([session.user?.username ?? null, await stored(session)]);

  let session = opened();
  let release = holding();
  const refused = session.resume();
  await session.login({ username, password });
  release();
  await refused;
  await note(session);

  session = opened();
  release = holding();
  const login = session.login({ username, password });
  const logout = session.logout();
  release();
  await Promise.all([login, logout]);
  await note(session);

  Object.defineProperty(navigator, 'locks', { value: undefined, configurable: true });
  session = opened();
  await session.login({ username, password });
  const { accessToken, refreshToken } = session.credentials;
  session.credentials.keep({ accessToken: accessToken.slice(0, -8) + 'AAAAAAAA', refreshToken });
  const request = session.request('{ me { username } }').catch((error) => error.reason);
  const newer = session.login({ username: other, password });
  found.push([await request, (await newer, null)]);
  await note(session);
  return found;
}"""

# What a request says, and how often a new sign-in is asked for, of a session never opened and of one signed out of.
SIGNED_OUT = """async ([url, username, password]) => {
  const { connect } = await import('topten-client');
  const { session } = connect({ url, storage: sessionStorage });
  let asked = 0;
  session.signInAgain = () => ((asked += 1), Promise.reject(new Error('asked')));
  const ask = () => session.request('{ me { username } }').catch((error) => error.reason);
  const found = [await ask()];
  await session.login({ username, password });
  await session.logout();
  return [...found, await ask(), asked];
}"""

# How many errors in a row an EventSource may have until it is closed: from the start, and after the server was heard.
ATTEMPTS = """async () => {
  const made = [];
  window.EventSource = class extends EventTarget {
    static CLOSED = 2;
    readyState = 0;
    constructor() { super(); made.push(this); }
    close() { this.readyState = 2; }
  };
  const { follow } = await import('/assets/0000000000000000/client/stream.js');
  const fail = (source, most) => {
    let errors = 0;
    for (; errors < most && !source.readyState; errors += 1) source.dispatchEvent(new Event('error'));
    return errors;
  };
  const begin = () => {
    follow('all', { streamUrl: () => '' }, { onFrame() {}, onMe() {}, onState() {} }, () => new Promise(() => {}));
    return made.at(-1);
  };
  const away = fail(begin(), 1_000);
  const source = begin();
  fail(source, away - 1);
  const data = JSON.stringify({ timestamp: new Date().toISOString(), interval: 15 });
  source.dispatchEvent(new MessageEvent('ping', { data }));
  return [away, fail(source, 1_000)];
}"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plain example beside the installed package."""
    to = tmp_path_factory.mktemp("client")
    subprocess.run([sys.executable, "-m", "codegen.build", "--to", to, "client"], cwd=ROOT, check=True)
    site = shutil.copytree(EXAMPLES / "plain", to / "plain")
    with tarfile.open(to / f"topten-client-{VERSION}.tgz") as archive:
        archive.extractall(site / "node_modules", filter="data")
    (site / "node_modules" / "package").rename(site / "node_modules" / "topten-client")
    return site


@pytest.fixture(scope="module")
def bundled(plain: Path) -> Path:
    """The React example, bundled with React and the package, and without the worker's script."""
    site = shutil.copytree(EXAMPLES / "react", plain.parent / "react")
    (site / "node_modules").mkdir()
    (site / "node_modules" / "topten-client").symlink_to(plain / "node_modules" / "topten-client")
    for name in ("react", "react-dom", "scheduler"):
        (site / "node_modules" / name).symlink_to(MODULES / name)
    esbuild = MODULES / "esbuild" / "bin" / "esbuild"
    options = ["--bundle", "--format=esm", "--preserve-symlinks", "--log-level=warning", "--outfile=bundle.js"]
    # Installing it replaces a script for Node.js by the program itself: either runs by its name.
    environ = os.environ | {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([esbuild, "app.jsx", *options], cwd=site, env=environ, check=True)
    return site


@pytest_asyncio.fixture
async def player(stack: RunningStack) -> AsyncIterator[Player]:
    async with GraphqlClient(endpoints(stack).graphql) as client:
        yield await register(client)


async def open_example(context: BrowserContext, address: str, player: Player | None) -> Page:
    page = await context.new_page()
    await page.goto(address)
    if player is not None:
        await page.get_by_label("Name").fill(player.username)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
    return page


def served(site: Path) -> TestServer:
    application = web.Application()
    application.router.add_static("/", site, follow_symlinks=True)
    return TestServer(application, host="localhost")


def test_the_package_has_types_and_no_dependencies(plain: Path) -> None:
    (plain / "tsconfig.json").write_text(json.dumps(TYPES))
    compiler = MODULES / "typescript" / "bin" / "tsc"
    checked = subprocess.run([NODE, compiler, "-p", plain], capture_output=True, text=True, check=False)
    assert checked.stdout == ""
    description = json.loads((plain / "node_modules" / "topten-client" / "package.json").read_text())
    assert "dependencies" not in description
    assert description["version"] == VERSION


async def test_a_plain_page_plays_and_stays_live_with_a_wrong_clock(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player
) -> None:
    quiz_id = await short_quiz(stack)
    # Ten minutes ahead is more than the server accepts of a timestamp.
    await context.add_init_script("const now = Date.now; Date.now = () => now() + 10 * 60 * 1000;")
    async with served(plain) as server:
        address = f"http://localhost:{server.port}/index.html?server={stack.http}&quiz={quiz_id}&board=quiz:{quiz_id}"
        page = await open_example(context, address, player)
        await expect(page.locator("#state")).to_have_text("live")
        await page.get_by_role("button", name="Answer a quiz").click()
        await expect(page.locator("li", has_text=player.username)).to_have_text(f"{player.username} 20")
        await page.reload()
        await expect(page.locator("li", has_text=player.username)).to_be_visible()
        await expect(page.locator("form")).to_be_hidden()


async def test_tabs_of_another_origin_share_one_refresh_and_one_session(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player
) -> None:
    async with served(plain) as server:
        address = f"http://localhost:{server.port}/index.html?server={stack.http}"
        first = await open_example(context, address, player)
        await expect(first.locator("#state")).to_have_text("live")
        second = await open_example(context, address, None)
        await expect(second.locator("#state")).to_have_text("live")
        sent = [requests_of(first), requests_of(second)]
        await first.evaluate(EXPIRE)
        names = await asyncio.gather(*(page.evaluate(REQUEST, stack.http) for page in (first, second)))
        assert names == [player.username, player.username]
        refreshes = ["refreshToken(refreshToken" in (each.post_data or "") for each in (*sent[0], *sent[1])]
        assert refreshes.count(True) == 1


async def test_a_guest_who_registers_keeps_the_id(context: BrowserContext, stack: RunningStack, plain: Path) -> None:
    async with served(plain) as server:
        page = await open_example(context, f"http://localhost:{server.port}/index.html?server={stack.http}", None)
        (guest, *was), (player, *roles) = await page.evaluate(CLAIM, [stack.http, unique("g"), PASSWORD])
    assert (guest, was, roles) == (player, ["guest"], ["player"])


async def test_what_comes_late_changes_nothing_of_a_newer_session(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player
) -> None:
    async with served(plain) as server, GraphqlClient(endpoints(stack).graphql) as client:
        other = await register(client)
        page = await open_example(context, f"http://localhost:{server.port}/index.html?server={stack.http}", None)
        found = await page.evaluate(LATE, [stack.http, player.username, PASSWORD, other.username])
    signed_in, signed_out, by_other = [player.username] * 2, [None] * 2, [other.username] * 2
    assert found == [signed_in, signed_out, ["UNAUTHENTICATED", None], by_other]


async def test_nobody_is_asked_to_sign_in_again_who_is_not_signed_in(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player
) -> None:
    async with served(plain) as server:
        page = await open_example(context, f"http://localhost:{server.port}/index.html?server={stack.http}", None)
        found = await page.evaluate(SIGNED_OUT, [stack.http, player.username, PASSWORD])
    assert found == ["UNAUTHENTICATED", "UNAUTHENTICATED", 0]


async def test_an_attempt_handed_in_without_a_network_counts_once_after_the_page_was_closed(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player
) -> None:
    quiz_id = await short_quiz(stack)
    async with served(plain) as server:
        address = f"http://localhost:{server.port}/index.html?server={stack.http}&quiz={quiz_id}&board=quiz:{quiz_id}"
        page = await open_example(context, address, player)
        await expect(page.locator("#state")).to_have_text("live")

        async def lose(route: Route) -> None:
            await (route.abort() if "submitQuizAction" in (route.request.post_data or "") else route.continue_())

        await page.route("**/graphql", lose)
        await page.get_by_role("button", name="Answer a quiz").click()
        await expect(page.locator("#own")).to_have_text("Waiting for the server …")
        await page.close()
        again = await open_example(context, address, None)
        await expect(again.locator("li", has_text=player.username)).to_have_text(f"{player.username} 20")


@pytest.mark.parametrize("is_silent", [False, True], ids=["its script is missing", "it never starts"])
async def test_a_react_page_shows_live_boards_without_a_shared_worker(
    context: BrowserContext, stack: RunningStack, bundled: Path, player: Player, *, is_silent: bool
) -> None:
    if is_silent:
        await context.add_init_script("globalThis.SharedWorker = class { port = new MessageChannel().port1; };")
    quizzes = [await short_quiz(stack), await short_quiz(stack)]
    boards = [f"quiz:{quiz_id}" for quiz_id in quizzes]
    async with served(bundled) as server:
        address = f"http://localhost:{server.port}/index.html?server={stack.http}&boards={','.join(boards)}"
        page = await open_example(context, address, player)
        for board in boards:
            await expect(page.get_by_role("heading", name=f"{board}: live")).to_be_visible()
        for board, quiz_id in zip(boards, quizzes, strict=True):
            await player.submit(quiz_id, [("q1", "a"), ("q2", "a")])
            await expect(page.get_by_label(board).locator("li", has_text=player.username)).to_contain_text("20")


async def test_an_edge_that_trusts_documents_alone_trusts_those_of_the_package(
    context: BrowserContext, stack: RunningStack, plain: Path, player: Player, tmp_path: Path
) -> None:
    quiz_id = await short_quiz(stack)
    text = "query ($id: ID!) { quiz(id: $id) { id title version questions { id text kind options { id text } } } }"
    manifest = tmp_path / "own.json"
    manifest.write_text(json.dumps({digest_of(text): text}))
    manifests = f"{plain}/node_modules/topten-client/documents.json,{manifest}"
    with second_instance(stack, "edge", EDGE_DOCUMENTS="trusted", EDGE_TRUSTED_DOCUMENTS=manifests) as edge:
        url = f"http://{edge['TOPTEN_EDGE_HTTP_ADDRESS']}"
        async with served(plain) as server:
            address = f"http://localhost:{server.port}/index.html?server={url}&quiz={quiz_id}&board=quiz:{quiz_id}"
            page = await open_example(context, address, player)
            await expect(page.locator("#state")).to_have_text("live")
            await page.get_by_role("button", name="Answer a quiz").click()
            await expect(page.locator("li", has_text=player.username)).to_have_text(f"{player.username} 20")


async def test_a_room_whose_store_went_back_is_shown_again(context: BrowserContext) -> None:
    """An earlier state that a later one follows at once is that of a server behind others, and is not shown."""
    page = await context.new_page()
    await page.goto("/")
    assert await page.evaluate(WENT_BACK) == [9, 10, 4]


async def test_a_browser_that_reaches_no_server_many_times_in_a_row_is_left_to_try_no_longer(
    context: BrowserContext,
) -> None:
    """It would ask every few hundred milliseconds, as `retry:` says, for as long as the server is away."""
    page = await context.new_page()
    await page.goto("/")
    assert await page.evaluate(ATTEMPTS) == [31, 31]
