"""The files of the page, as a browser asks for them."""

import gzip
from importlib.metadata import version

import httpx
import pytest
from fastapi import FastAPI

from browsers import serve
from explstm.server.pages import accepts_gzip, add_pages, find_chart_script

SCRIPT = f"/static/plotly-{version('plotly')}.js"


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    add_pages(app)
    with serve(app) as address, httpx.Client(base_url=address) as client:
        yield client


def test_the_chart_library_is_packed_for_who_can_unpack_it(client):
    plain = find_chart_script().read_bytes()
    with client.stream("GET", SCRIPT, headers={"Accept-Encoding": "br, gzip"}) as answer:
        packed = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(packed) < len(plain) / 3
    assert gzip.decompress(packed) == plain
    whole = client.get(SCRIPT, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in whole.headers and whole.content == plain
    for answered in (answer, whole):
        assert answered.headers["vary"] == "Accept-Encoding"
        assert "immutable" in answered.headers["cache-control"]
        assert answered.headers["content-type"].startswith("text/javascript")
    assert answer.headers["etag"] != whole.headers["etag"]


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_the_chart_library_is_not_sent_twice(client, encoding):
    headers = {"Accept-Encoding": encoding}
    tag = client.get(SCRIPT, headers=headers).headers["etag"]
    again = client.get(SCRIPT, headers={**headers, "If-None-Match": tag})
    assert again.status_code == 304 and again.content == b""
    other = client.get(SCRIPT, headers={**headers, "If-None-Match": '"another"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("header", "wanted"),
    [("gzip", True), ("br;q=1, GZIP ; q=0.5", True), ("gzip;q=0", False), ("gzip;q=0.000", False),
     ("", False), ("*", False), ("xgzip", False)],
)  # fmt: skip
def test_gzip_is_sent_only_where_it_is_named(header, wanted):
    assert accepts_gzip(header) is wanted
