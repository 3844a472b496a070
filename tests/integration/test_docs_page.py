"""The page at /docs, in a real browser: it shows the operations, and tries them."""
import json
import os
import shutil
import subprocess
import time

import pytest
from support import wait_until


class Browser:
    """Headless Chromium with one page, told what to do over its debugging pipe (JSON texts that end in a zero byte)."""

    def __init__(self, program, folder):
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; a shell puts them there.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{to_browser} 4>&{from_browser}', "bash", program, "--headless=new", "--no-sandbox",
             "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def _message(self):
        while b"\0" not in self.buffer:
            data = os.read(self.read_end, 65536)
            assert data, "the browser ended"
            self.buffer += data
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.write_end, json.dumps(request).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def run(self, script):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, script, what):
        return wait_until(lambda: self.run(script), 20, what, every=0.05)

    def complaints(self):
        """What the console says, and requests to other hosts."""
        said = [event["params"]["entry"]["text"] for event in self.events if event.get("method") == "Log.entryAdded"
                and "favicon" not in json.dumps(event)]
        said += [json.dumps(event["params"]) for event in self.events if event.get("method") == "Runtime.exceptionThrown"]
        return said

    def hosts(self):
        urls = [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]
        return {url.split("/")[2] for url in urls if url.startswith("http")}

    def close(self):
        try:
            os.close(self.write_end)
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(10)
        os.close(self.read_end)


@pytest.fixture
def browser(tmp_path):
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("no Chromium: apt-get install chromium")
    browser = Browser(program, tmp_path / "browser")
    yield browser
    browser.close()
    for _ in range(50):  # its helpers still write there for a moment
        shutil.rmtree(tmp_path / "browser", ignore_errors=True)
        if not (tmp_path / "browser").exists():
            break
        time.sleep(0.1)


@pytest.fixture
def users(start, tmp_path):
    return start("users", env={"DATABASE_URL": f"sqlite:{tmp_path}/users.db"}).wait_ready()


SEND = """(() => {
  const form = document.querySelector('#%s form');
  for (const [name, value] of Object.entries(%s)) form.querySelector(`[name="${name}"], ${name}`).value = value;
  form.querySelector('button').click();
})()"""


def send(browser, operation, fields):
    """Opens an operation, fills its form, sends it. Returns the status line and the answer."""
    browser.run(f"document.getElementById('{operation}').open = true")
    browser.until(f"document.querySelector('#{operation} form') !== null", "the form")
    browser.run(SEND % (operation, json.dumps(fields)))
    line = f"document.querySelector('#{operation} .status').textContent"
    browser.until(f"/^[0-9]/.test({line})", "the answer")
    return browser.run(line), browser.run(f"document.querySelector('#{operation} pre').textContent")


def test_page(browser, users):
    browser.call("Page.navigate", url=f"{users.url}/docs#getUsers")
    browser.until("document.querySelectorAll('details').length === 6", "the operations")
    assert browser.run("document.title") == "Users"
    assert browser.run("document.getElementById('getUsers').open") is True
    line, answer = send(browser, "postUsers", {"Idempotency-Key": "k1"})  # with the example that stands there
    assert line.startswith("201 Created")
    assert "location: /users/1" in answer and '"name": "Ada Lovelace"' in answer
    line, answer = send(browser, "getUsersById", {"id": "1"})
    assert line.startswith("200 OK") and 'etag: "1"' in answer
    line, answer = send(browser, "patchUsersById", {"id": "1", "textarea": '{"name": "<b>Countess</b>"}'})
    assert line.startswith("200 OK") and "<b>Countess</b>" in answer
    assert browser.run("document.querySelectorAll('b').length") == 0
    line, answer = send(browser, "putUsersById", {"id": "1", "If-Match": '"1"'})
    assert line.startswith("412 Precondition Failed") and "application/problem+json" in answer
    line, answer = send(browser, "getUsers", {"limit": "1"})
    assert line.startswith("200 OK") and "Countess" in answer
    line, _ = send(browser, "deleteUsersById", {"id": "1"})
    assert line.startswith("204 No Content")
    browser.run("(() => { const f = document.getElementById('filter'); f.value = 'delete';"
                " f.dispatchEvent(new Event('input')); })()")
    assert browser.run("document.querySelectorAll('details:not([hidden])').length") == 1
    assert [text for text in browser.complaints() if "412" not in text] == []
    assert browser.hosts() == {f"127.0.0.1:{users.port}"}


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(browser, users, width):
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 800)
    browser.call("Page.navigate", url=f"{users.url}/docs#putUsersById")
    browser.until("document.querySelector('#putUsersById form') !== null", "the form")
    assert browser.run("document.documentElement.scrollWidth") <= width
