"""The check of the built site finds whatever a reader's browser would fetch from elsewhere."""

import sys

import make_site
import pytest
from make_site import fetched_by_page, fetched_by_style
from making import drawn_net, write_checkpoint

HERE = [
    '<a href="https://arxiv.org/abs/2212.13345">the paper</a>',
    '<link rel="canonical" href="https://example.org/">',
    '<link rel="stylesheet" href="../assets/main.css"><script src="./bundle.js"></script>',
    '<img src="images/goodness.png"><img src="data:image/png;base64,AAAA">',
    "<pre><code>&lt;script src=&quot;https://example.org/a.js&quot;&gt;</code></pre>",
    '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0"/></svg>',
]
ELSEWHERE = {
    '<script src="https://example.org/a.js"></script>': "https://example.org/a.js",
    '<img alt="badge" src="//example.org/badge.svg">': "//example.org/badge.svg",
    '<link rel="stylesheet" href="HTTPS://example.org/font.css">': "HTTPS://example.org/font.css",
    '<link href="https://example.org" rel="preconnect">': "https://example.org",
    "<div style=\"background: url('https://example.org/a.png')\">": "https://example.org/a.png",
    '<iframe src="https://example.org/video"></iframe>': "https://example.org/video",
    "<style>p { background: url(https://example.org/b.png) }</style><p>text</p>": "https://example.org/b.png",
    '<pre class="mermaid"><code>graph</code></pre>': "class mermaid",
}


@pytest.mark.parametrize("page", HERE)
def test_what_is_here_or_is_only_linked_is_fine(page):
    assert fetched_by_page(page) == []


@pytest.mark.parametrize("page", ELSEWHERE)
def test_what_is_fetched_from_elsewhere_is_found(page):
    assert fetched_by_page(page) == [ELSEWHERE[page]]


def test_styles_are_read_too():
    here = "a { background: url(../images/a.svg) } b { mask: url('data:image/svg+xml;charset=utf-8,<svg xmlns=\"http://w\">') }"
    elsewhere = '@import "https://example.org/a.css"; @font-face { src: url(https://example.org/b.woff2) }'
    assert fetched_by_style(here) == []
    assert fetched_by_style(elsewhere) == ["https://example.org/a.css", "https://example.org/b.woff2"]


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        ("Build started", 0, 0),
        ("griffe: ffrecur/a.py:3: no such parameter", 0, 1),
        ("\x1b[33mWarning\x1b[0m: page does not exist", 0, 1),
        ("Traceback (most recent call last)", 1, 1),
    ],
)
def test_a_complaint_or_a_failure_of_the_builder_is_an_error(output, code, expected, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(make_site, "SITE", tmp_path)
    (tmp_path / "index.html").write_text(HERE[0])
    assert make_site.main([sys.executable, "-c", f"print({output!r}); raise SystemExit({code})"]) == expected


def test_a_site_that_fetches_from_elsewhere_is_an_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(make_site, "SITE", tmp_path)
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text(next(iter(ELSEWHERE)))
    assert make_site.main([sys.executable, "-c", ""]) == 1
    assert capsys.readouterr().out == "page/index.html: https://example.org/a.js\n"


@pytest.mark.slow  # three commands
def test_live_pages_are_made_and_one_that_is_too_large_or_cannot_be_made_is_an_error(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(make_site, "SITE", tmp_path / "site")
    net = str(write_checkpoint(drawn_net(), tmp_path / "net.ckpt"))
    build = [sys.executable, "-c", ""]
    assert make_site.main(build, {"small": net}) == 0
    assert [path.name for path in (tmp_path / "site").rglob("*")] == ["live", "small.html"]
    assert "1 pages in site/" in capfd.readouterr().out
    assert make_site.main(build, {"small": net, "none": str(tmp_path / "none")}) == 1
    assert "live/none.html: error: checkpoint is" in capfd.readouterr().out
    monkeypatch.setattr(make_site, "LARGEST", 1000)
    assert make_site.main(build, {"small": net}) == 1
    assert "at most 1,000 are allowed" in capfd.readouterr().out
