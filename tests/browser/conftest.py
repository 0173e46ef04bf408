"""A real browser for the pages: Chromium, one start for each module."""

import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

PATIENCE = 20_000
"""Milliseconds: the machine may be busy."""
expect.set_options(timeout=PATIENCE)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(f"a browser is needed, one of {', '.join(NAMES)}: `apt-get install chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser):
    """Opens a page file; at the end of the test, it has made no request, and its scripts have raised no error."""
    contexts, requests, errors = [], [], []

    def opened(path, theme="light", width=1280):
        context = browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 900}, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        address = path.resolve().as_uri()
        page.on("request", lambda request: None if request.url == address else requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: errors.append(f"dialog {dialog.message}"))
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        return page

    yield opened
    for context in contexts:
        context.close()
    # Downloads are blobs of the page itself, and pictures are in it.
    assert [url for url in requests if not url.startswith(("blob:", "data:"))] == []
    assert errors == []


@pytest.fixture(scope="session")
def accessibility_faults():
    """The serious faults that axe-core finds in a page, by rule."""

    def found(page):
        violations = Axe().run(page).response["violations"]
        serious = [each for each in violations if each["impact"] in ("serious", "critical")]
        return {each["id"]: [node["html"][:200] for node in each["nodes"][:3]] for each in serious}

    return found
