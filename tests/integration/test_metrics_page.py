"""The table "What is there" of docs/guide/observability.md names every family that the kit registers, and none that it does not."""
import re
from pathlib import Path

from support import ask

ROOT = Path(__file__).resolve().parent.parent.parent
# Where a family's name stands: in options, in an alias, in a table of options whose second column is the unit, in a call.
NAMED = re.compile(r"\.(?:name|metric)\s*=\s*([^,;}]*)")
IN_TABLE = re.compile(r'\{"([a-z0-9]+(?:_[a-z0-9]+)+)", (?:NULL|"[a-z]+"),')
IN_CALL = re.compile(r'\(metrics, "([a-z0-9]+(?:_[a-z0-9]+)+)"')


def page():
    guide = (ROOT / "docs" / "guide" / "observability.md").read_text()
    rows = guide[guide.index("## What is there"):guide.index("## Traces")].splitlines()
    return {name for row in rows if row.startswith("| `") for name in re.findall(r"`([a-z0-9_]+)`", row.split(" | ")[0])}


def base(name):
    return name.removesuffix("_total")


def registered():
    found = set()
    for file in sorted((ROOT / "src").glob("*/*.c")):
        text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.S)
        if "proa_metric_options" in text or ".metric = " in text:
            named = " ".join(NAMED.findall(text))
            found |= set(re.findall(r'"([a-z0-9]+(?:_[a-z0-9]+)+)"', named)) | set(IN_TABLE.findall(text)) | set(IN_CALL.findall(text))
    return found


def test_every_family_of_the_sources_is_on_the_page():
    found = registered()
    assert len(found) > 50 and {"proa_timers", "liveness_check", "workqueue_depth"} <= found
    assert found == {base(name) for name in page()}


def test_what_a_service_shows_is_on_the_page(start, tmp_path):
    users = start("users", env={"DATABASE_URL": f"sqlite:{tmp_path}/users.db"}).wait_ready()
    assert ask(users.port, "GET", "/users").status == 200
    text = ask(users.port, "GET", "/metrics").body.decode()
    shown = set(re.findall(r"^# TYPE ([a-z0-9_]+) ", text, re.M))
    assert {"http_requests_total", "db_client_connection_max", "readiness_check", "process_threads"} <= shown
    assert shown <= page()
