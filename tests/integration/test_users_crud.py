"""The users service over both databases: every status and header that its interface promises."""
import contextlib
import json
import re
import sqlite3
import threading

import httpx
import pytest
from support import Client, ask, expect_problem, wait_until

JSON = {"Content-Type": "application/json"}
PATCH = {"Content-Type": "application/merge-patch+json"}


def create(users, email, name="Ada", headers=()):
    return ask(users.port, "POST", "/users", {**JSON, **dict(headers)}, json.dumps({"name": name, "email": email}))


@pytest.fixture
def ada(users):
    """A user that is there: its path and entity tag."""
    answer = create(users, "ada@example.org")
    assert answer.status == 201
    return answer.header("Location"), answer.header("ETag")


def test_create(users):
    answer = create(users, "ada@example.org", "Ada Lovelace")
    assert answer.status == 201
    assert answer.header("Content-Type") == "application/json"
    user = answer.json()
    assert user == {"id": user["id"], "name": "Ada Lovelace", "email": "ada@example.org"}
    assert answer.header("Location") == f"/users/{user['id']}"
    assert re.fullmatch(r'"[^"]+"', answer.header("ETag"))
    read = ask(users.port, "GET", answer.header("Location"))
    assert (read.status, read.json(), read.header("ETag")) == (200, user, answer.header("ETag"))


def test_id_of_the_client_is_not_taken(users):
    answer = ask(users.port, "POST", "/users", JSON, '{"id":77,"name":"a","email":"a@example.org"}')
    assert answer.status == 201 and answer.json()["id"] != 77


def test_text_survives(users):
    for i, name in enumerate(["Zoë", "李小龍", "O'Brien; DROP TABLE users;--", "\U0001F600", 'quote " and \\ slash', "a\u0007b"]):
        answer = create(users, f"t{i}@example.org", name)
        assert answer.status == 201 and answer.json()["name"] == name
        assert ask(users.port, "GET", answer.header("Location")).json()["name"] == name


@pytest.mark.parametrize("path", ["/users/1000000", "/users/0", "/users/9223372036854775807", "/users/9223372036854775808",
                                  "/users/18446744073709551615"])
def test_not_found(users, path):
    for method, headers, body in (("GET", {}, None), ("DELETE", {}, None), ("PUT", JSON, '{"name":"a","email":"a@b.org"}'),
                                  ("PATCH", PATCH, '{"name":"a"}')):
        expect_problem(ask(users.port, method, path, headers, body), 404)


def test_id_that_is_no_number(users):
    for path in ("/users/x", "/users/-1", "/users/1.0", "/users/18446744073709551616"):
        problem = expect_problem(ask(users.port, "GET", path), 400)
        assert "id" in problem["detail"]


def test_conflict(users, ada):
    problem = expect_problem(create(users, "ada@example.org", "Other"), 409)
    assert problem["errors"][0]["pointer"] == "#/email"
    expect_problem(create(users, "ADA@example.org"), 409)  # whatever the case of its letters
    other = create(users, "grace@example.org").header("Location")
    expect_problem(ask(users.port, "PATCH", other, PATCH, '{"email":"ada@example.org"}'), 409)
    expect_problem(ask(users.port, "PUT", other, JSON, '{"name":"G","email":"ada@example.org"}'), 409)
    assert ask(users.port, "GET", other).json()["email"] == "grace@example.org"


def test_all_broken_rules_are_told(users):
    problem = expect_problem(ask(users.port, "POST", "/users", JSON, '{"name":"","email":"no","shoe":1}'), 422)
    pointers = {error["pointer"]: error for error in problem["errors"]}
    assert set(pointers) == {"#/name", "#/email", "#/shoe"}, problem
    assert all(error["code"] and error["detail"] for error in problem["errors"])
    problem = expect_problem(ask(users.port, "POST", "/users", JSON, "{}"), 422)
    assert {error["pointer"] for error in problem["errors"]} == {"#/name", "#/email"}
    problem = expect_problem(ask(users.port, "POST", "/users", JSON, json.dumps({"name": "n" * 101, "email": "a@b.org"})), 422)
    assert [error["pointer"] for error in problem["errors"]] == ["#/name"]


@pytest.mark.parametrize("body", ['{"name":1,"email":"a@b.org"}', '{"name":null,"email":"a@b.org"}', "[]", "7", '"x"', "null",
                                  '{"name":"a","name":"b","email":"a@b.org"}', "[" * 100 + "]" * 100],
                         ids=range(8))
def test_wrong_kinds(users, body):
    answer = ask(users.port, "POST", "/users", JSON, body)
    assert answer.status in (400, 422)
    expect_problem(answer, answer.status)


@pytest.mark.parametrize("body", ["", "{", "{} {}", '{"name":}', "{'name':'a'}", '{"name":"\xff","email":"a@b.org"}',
                                  '{"name":"\\ud800","email":"a@b.org"}'], ids=range(7))
def test_malformed_json(users, body):
    answer = ask(users.port, "POST", "/users", JSON, body.encode("latin-1"))
    expect_problem(answer, 400)


def test_media_types(users, ada):
    body = '{"name":"a","email":"m@example.org"}'
    for headers in ({}, {"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"},
                    {"Content-Type": "application/jsonx"}):
        expect_problem(ask(users.port, "POST", "/users", headers, body), 415)
    for media_type in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.example+json"):
        answer = ask(users.port, "POST", "/users", {"Content-Type": media_type},
                     json.dumps({"name": "a", "email": f"{abs(hash(media_type))}@example.org"}))
        assert answer.status == 201, media_type
    expect_problem(ask(users.port, "PATCH", ada[0], {"Content-Type": "application/json-patch+json"}, "[]"), 415)


def test_too_large(users):
    expect_problem(ask(users.port, "POST", "/users", JSON, b" " * (1 << 20) + b"{}"), 413)


def test_put(users, ada):
    path, etag = ada
    answer = ask(users.port, "PUT", path, JSON, '{"name":"Countess","email":"countess@example.org"}')
    assert answer.status == 200
    assert answer.json()["name"] == "Countess" and answer.json()["email"] == "countess@example.org"
    assert answer.header("ETag") not in (None, etag)
    assert ask(users.port, "GET", path).header("ETag") == answer.header("ETag")
    expect_problem(ask(users.port, "PUT", path, JSON, '{"name":"No email"}'), 422)
    # What was read can be sent back, id included.
    assert ask(users.port, "PUT", path, JSON, json.dumps(answer.json())).status == 200


def test_patch(users, ada):
    path, etag = ada
    answer = ask(users.port, "PATCH", path, PATCH, '{"name":"A. L."}')
    assert answer.status == 200
    assert (answer.json()["name"], answer.json()["email"]) == ("A. L.", "ada@example.org")
    assert answer.header("ETag") != etag
    assert ask(users.port, "PATCH", path, JSON, "{}").status == 200
    # RFC 7396: null takes a member away, and these members must be there.
    expect_problem(ask(users.port, "PATCH", path, PATCH, '{"email":null}'), 422)
    expect_problem(ask(users.port, "PATCH", path, PATCH, '{"name":""}'), 422)
    expect_problem(ask(users.port, "PATCH", path, PATCH, '{"nick":"x"}'), 422)
    assert ask(users.port, "PATCH", path, PATCH, '{"id":99}').json()["id"] == answer.json()["id"]
    assert ask(users.port, "GET", path).json()["name"] == "A. L."


def test_delete(users, ada):
    path, _ = ada
    answer = ask(users.port, "DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    expect_problem(ask(users.port, "GET", path), 404)
    expect_problem(ask(users.port, "DELETE", path), 404)
    # Its email is free again, its id is not given twice.
    again = create(users, "ada@example.org")
    assert again.status == 201 and again.header("Location") != path


def test_if_match(users, ada):
    path, etag = ada
    change = ("PATCH", path, {**PATCH, "If-Match": etag}, '{"name":"B"}')
    first = ask(users.port, *change)
    assert first.status == 200
    for method, body in (("PATCH", '{"name":"C"}'), ("PUT", '{"name":"C","email":"c@b.org"}'), ("DELETE", None)):
        expect_problem(ask(users.port, method, path, {**JSON, "If-Match": etag}, body), 412)
    assert ask(users.port, "GET", path).json()["name"] == "B"
    expect_problem(ask(users.port, "PATCH", path, {**PATCH, "If-Match": "W/" + first.header("ETag")}, "{}"), 412)  # strong comparison
    expect_problem(ask(users.port, "PATCH", path, {**PATCH, "If-Match": "nonsense"}, "{}"), 400)
    assert ask(users.port, "PATCH", path, {**PATCH, "If-Match": "*"}, "{}").status == 200
    current = ask(users.port, "GET", path).header("ETag")
    assert ask(users.port, "DELETE", path, {"If-Match": f'"other", {current}'}).status == 204


def test_if_none_match(users, ada):
    path, etag = ada
    for tags in (etag, f'"other", {etag}', "W/" + etag, "*"):
        answer = ask(users.port, "GET", path, {"If-None-Match": tags})
        assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", etag)
        assert ask(users.port, "HEAD", path, {"If-None-Match": tags}).status == 304
    assert ask(users.port, "GET", path, {"If-None-Match": '"other"'}).status == 200
    expect_problem(ask(users.port, "PUT", path, {**JSON, "If-None-Match": "*"}, '{"name":"a","email":"a@b.org"}'), 412)


def test_concurrent_changes_do_not_mix(users, ada):
    """Of several clients that change what they read, with If-Match, none overwrites another."""
    path, _ = ada
    done = []

    def work():
        with Client(users.port) as client:
            while True:
                read = client.ask("GET", path)
                count = int(read.json()["name"]) + 1 if read.json()["name"].isdigit() else 1
                answer = client.ask("PATCH", path, {**PATCH, "If-Match": read.header("ETag")}, json.dumps({"name": str(count)}))
                assert answer.status in (200, 412)
                if answer.status == 200:
                    done.append(count)
                    return

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(1, 13))
    assert ask(users.port, "GET", path).json()["name"] == "12"


def test_concurrent_creates_of_one_email(users):
    statuses = []

    def work():
        statuses.append(create(users, "race@example.org").status)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201] + [409] * 11


# Listing.

def pages(users, target):
    """Follows the Link to the end."""
    while target:
        answer = ask(users.port, "GET", target)
        assert answer.status == 200, answer.body
        yield answer.json()
        link = answer.header("Link")
        target = None
        if link:
            target = re.fullmatch(r'<([^>]+)>; rel="next"', link)[1]


def members(page):
    return page["users"] if isinstance(page, dict) else page


def test_list_empty(users):
    answer = ask(users.port, "GET", "/users")
    assert answer.status == 200 and members(answer.json()) == [] and answer.header("Link") is None


def test_paging(users):
    ids = [create(users, f"u{i:02}@example.org").json()["id"] for i in range(25)]
    seen = [members(page) for page in pages(users, "/users?limit=10")]
    assert [len(page) for page in seen] == [10, 10, 5]
    assert [user["id"] for page in seen for user in page] == sorted(ids)
    assert [len(members(page)) for page in pages(users, "/users")] == [20, 5]  # the default
    assert [len(members(page)) for page in pages(users, "/users?limit=25")] == [25]


def test_paging_is_stable(users):
    """Users that are added or deleted between pages make no other one come twice or be left out."""
    ids = [create(users, f"u{i:02}@example.org").json()["id"] for i in range(20)]
    seen = []
    for number, page in enumerate(pages(users, "/users?limit=5")):
        seen += [user["id"] for user in members(page)]
        if number == 0:
            assert ask(users.port, "DELETE", f"/users/{ids[1]}").status == 204   # already seen
            assert ask(users.port, "DELETE", f"/users/{ids[4]}").status == 204   # the last seen: the cursor's own
            assert ask(users.port, "DELETE", f"/users/{ids[10]}").status == 204  # not seen yet
            ids.append(create(users, "late@example.org").json()["id"])
    assert seen == [id for id in sorted(ids) if id != ids[10]]


def test_list_by_email(users):
    create(users, "ada@example.org")
    create(users, "grace+x@example.org", "Grace")
    found = ask(users.port, "GET", "/users?email=grace%2Bx@example.org").json()
    assert [user["name"] for user in members(found)] == ["Grace"]
    assert members(ask(users.port, "GET", "/users?email=ADA@EXAMPLE.ORG").json())[0]["email"] == "ada@example.org"
    assert members(ask(users.port, "GET", "/users?email=nobody@example.org").json()) == []


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=-1", "limit=", "cursor=x", "cursor=djE", "cursor=%00",
                                   "cursor=" + "A" * 100, "limit=1&limit=2", "lim=1", "email=%zz"])
def test_bad_queries(users, query):
    problem = expect_problem(ask(users.port, "GET", "/users?" + query), 400)
    if "%zz" not in query:
        assert [error["pointer"] for error in problem["errors"]] == ["#/query/" + query.partition("=")[0]]


# Idempotency-Key.

def test_same_key_same_body_is_replayed(users):
    key = {"Idempotency-Key": "k-1"}
    first = create(users, "ada@example.org", headers=key)
    assert first.status == 201
    again = create(users, "ada@example.org", headers=key)
    assert (again.status, again.json()) == (201, first.json())
    assert again.header("Location") == first.header("Location")
    assert again.header("ETag") == first.header("ETag")
    # The same body written otherwise is the same.
    spaced = ask(users.port, "POST", "/users", {**JSON, **key}, '{ "email": "ada@example.org",\n "name": "Ada" }')
    assert (spaced.status, spaced.json()) == (201, first.json())
    assert len(members(ask(users.port, "GET", "/users").json())) == 1


def test_same_key_other_body(users):
    key = {"Idempotency-Key": "k-2"}
    assert create(users, "ada@example.org", headers=key).status == 201
    expect_problem(create(users, "other@example.org", headers=key), 422)
    assert create(users, "other@example.org", headers={"Idempotency-Key": "k-3"}).status == 201


def test_replay_is_what_the_first_was_answered_with(users):
    key = {"Idempotency-Key": "k-4"}
    first = create(users, "ada@example.org", headers=key)
    assert ask(users.port, "PATCH", first.header("Location"), PATCH, '{"name":"Changed"}').status == 200
    again = create(users, "ada@example.org", headers=key)
    assert (again.status, again.json(), again.header("ETag")) == (201, first.json(), first.header("ETag"))
    assert ask(users.port, "DELETE", first.header("Location")).status == 204
    assert create(users, "ada@example.org", headers=key).json() == first.json()


def test_a_failure_is_not_kept(users):
    assert create(users, "ada@example.org").status == 201
    key = {"Idempotency-Key": "k-5"}
    expect_problem(create(users, "ada@example.org", headers=key), 409)
    assert create(users, "grace@example.org", headers=key).status == 201


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "with space", "\xe4"])
def test_bad_keys(users, key):
    problem = expect_problem(create(users, "ada@example.org", headers={"Idempotency-Key": key}), 400)
    assert [error["pointer"] for error in problem["errors"]] == ["#/header/idempotency-key"]


def test_longest_key(users):
    assert create(users, "ada@example.org", headers={"Idempotency-Key": "x" * 255}).status == 201


@contextlib.contextmanager
def writers_wait(database_url):
    """Nobody else writes to the table of users meanwhile."""
    if database_url.startswith("sqlite:"):
        connection = sqlite3.connect(database_url.partition(":")[2], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
    else:
        import psycopg
        connection = psycopg.connect(database_url)
        connection.execute("LOCK TABLE users IN EXCLUSIVE MODE")
    try:
        yield
    finally:
        connection.rollback()
        connection.close()


def test_same_key_while_the_first_still_runs(users, database_url):
    """Whichever of the two comes first."""
    key = {"Idempotency-Key": "slow"}
    answers = []
    with writers_wait(database_url):
        threads = [threading.Thread(target=lambda: answers.append(create(users, "ada@example.org", headers=key))) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: answers, what="the second to be answered")
        expect_problem(answers[0], 409)
        assert int(answers[0].header("Retry-After")) >= 1
        assert len(answers) == 1
    for thread in threads:
        thread.join()
    assert answers[1].status == 201
    assert create(users, "ada@example.org", headers=key).json() == answers[1].json()


def test_limits_of_the_database_are_settings(start, postgres_url):
    import psycopg
    users = start("users", "--database.statement-ms=300", "--threads=1", env={"DATABASE_URL": postgres_url}).wait_ready()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE users")
        expect_problem(ask(users.port, "GET", "/users/1"), 504)
    users.stop()
    users = start("users", "--database.own-connections=1", "--database.waiting=1", "--threads=1",
                  env={"DATABASE_URL": postgres_url}).wait_ready()
    statuses = []
    with writers_wait(postgres_url):
        def post(number):
            statuses.append(create(users, f"u{number}@example.org", headers={"Idempotency-Key": f"k{number}"}).status)
        threads = [threading.Thread(target=post, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        # One has the only connection, one waits for it, and there is no room for the third.
        wait_until(lambda: statuses == [503], what="the one too many to be refused")
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 201, 503]


def racing(ports, key, count=16):
    """Many at once with one key; the answers."""
    answers = []
    barrier = threading.Barrier(count)

    def work(number):
        with Client(ports[number % len(ports)]) as client:
            barrier.wait()
            answers.append(client.ask("POST", "/users", {**JSON, "Idempotency-Key": key},
                                      '{"name":"Race","email":"race@example.org"}'))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def check_race(answers):
    assert {answer.status for answer in answers} <= {201, 409}, [a.body for a in answers]
    made = [answer for answer in answers if answer.status == 201]
    assert made and all(answer.json() == made[0].json() for answer in made)
    for answer in answers:
        if answer.status == 409:
            assert "Idempotency-Key" in expect_problem(answer, 409)["detail"]
            assert answer.header("Retry-After")


def test_race_with_one_key(users):
    check_race(racing([users.port], "race"))
    assert len(members(ask(users.port, "GET", "/users").json())) == 1
    assert create(users, "race@example.org", "Race", {"Idempotency-Key": "race"}).status == 201


def test_two_replicas(start, postgres_url):
    """Replicas that start at the same moment on an empty database: one migrates; keys hold across them."""
    first, second = [start("users", env={"DATABASE_URL": postgres_url}) for _ in range(2)]
    first.wait_ready()
    second.wait_ready()
    made = create(first, "ada@example.org", headers={"Idempotency-Key": "k"})
    assert made.status == 201
    replay = create(second, "ada@example.org", headers={"Idempotency-Key": "k"})
    assert (replay.status, replay.json(), replay.header("Location"), replay.header("ETag")) == (
        201, made.json(), made.header("Location"), made.header("ETag"))
    expect_problem(create(second, "b@example.org", headers={"Idempotency-Key": "k"}), 422)
    check_race(racing([first.port, second.port], "race"))
    assert len(members(ask(first.port, "GET", "/users").json())) == 2


def test_many_replicas_start_at_once(start, postgres_url):
    replicas = [start("users", "--threads=1", env={"DATABASE_URL": postgres_url}) for _ in range(4)]
    for replica in replicas:
        replica.wait_ready()
        assert create(replica, f"{replica.pid}@example.org").status == 201


def test_key_is_forgotten_after_a_day(start, postgres_url):
    import psycopg
    users = start("users", env={"DATABASE_URL": postgres_url}).wait_ready()
    key = {"Idempotency-Key": "old"}
    assert create(users, "ada@example.org", headers=key).status == 201
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("UPDATE idempotency_keys SET created_at = created_at - 86400 + 60")
        assert create(users, "ada@example.org", headers=key).status == 201
        connection.execute("UPDATE idempotency_keys SET created_at = created_at - 61")
    # As if new: another body is no conflict with the key.
    assert create(users, "grace@example.org", headers=key).status == 201


def test_data_survives_a_restart(start, database_url):
    users = start("users", env={"DATABASE_URL": database_url}).wait_ready()
    made = create(users, "ada@example.org", headers={"Idempotency-Key": "k"})
    users.stop()
    again = start("users", env={"DATABASE_URL": database_url}).wait_ready()
    assert ask(again.port, "GET", made.header("Location")).json() == made.json()
    assert create(again, "ada@example.org", headers={"Idempotency-Key": "k"}).json() == made.json()


def test_load_of_mixed_requests(users):
    """Many clients at once on one keep-alive connection each: every answer is right, nothing is lost."""
    failures = []

    def work(number):
        try:
            with httpx.Client(base_url=users.url, timeout=30) as client:
                for i in range(15):
                    email = f"c{number}-{i}@example.org"
                    made = client.post("/users", json={"name": email, "email": email})
                    assert made.status_code == 201, made.text
                    path = made.headers["location"]
                    assert client.get(path).json()["email"] == email
                    assert client.patch(path, json={"name": "x"}).json()["name"] == "x"
                    if i % 3 == 0:
                        assert client.delete(path).status_code == 204
                        assert client.get(path).status_code == 404
        except BaseException as error:  # noqa: B902
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(len(members(page)) for page in pages(users, "/users?limit=100")) == 8 * 10
    wait_until(lambda: users.metric("http_server_requests_in_flight") == 0, what="all requests to be over")
