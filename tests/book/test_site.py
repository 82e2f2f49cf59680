"""The built pages as files: nothing from another host, no dead link, no picture without words."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
LOADING = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
}
CDN_NAMES = (
    "jsdelivr", "unpkg.com", "cdnjs", "googleapis", "gstatic", "polyfill.io", "esm.sh", "skypack",
    "bootstrapcdn", "use.fontawesome", "mathjax.org", "googletagmanager", "google-analytics",
)  # fmt: skip
OTHER_HOST = re.compile(r"(?:https?:)?//", re.IGNORECASE)
CSS_OTHER_HOST = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//", re.IGNORECASE)
PICTURE_FILE = re.compile(r"\.(?:png|svg|jpe?g|gif|webp)$", re.IGNORECASE)
VOID = {"img", "link", "source", "embed", "input", "br", "hr", "meta", "area", "base", "col", "wbr"}


@dataclass
class Page(HTMLParser):
    """What the checks need to know of one page."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str | None]] = field(default_factory=list)
    described: list[tuple[str, str | None]] = field(default_factory=list)
    _inside: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in VOID:
            self._inside.append(tag)
        self.anchors.update(v for k in ("id", "name") if (v := named.get(k)))
        if tag in ("a", "area") and named.get("href"):
            self.links.append(named["href"] or "")
        if tag == "meta" and (kind := named.get("name") or named.get("property")):
            self.described.append((kind, named.get("content")))
        if named.get("rel") != "canonical":
            self.loads.extend(v for k in LOADING.get(tag, ()) if (v := named.get(k)))
        if "article" not in self._inside or named.get("aria-hidden") == "true":
            return
        if tag == "img":
            self.pictures.append((named.get("src") or "", named.get("alt")))
        if tag == "svg":
            self.pictures.append(("inline svg", named.get("aria-label")))

    def handle_endtag(self, tag: str) -> None:
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass


def loads_from_elsewhere(paths: Iterable[Path]) -> list[str]:
    """Addresses on another host that a page would fetch when it opens."""
    return [
        f"{path.name}: {address}"
        for path in paths
        for address in Page.read(path).loads
        if OTHER_HOST.match(address)
    ]


def dead_links(paths: Iterable[Path]) -> list[str]:
    """Links inside the book whose file or anchor does not exist."""
    read: dict[Path, Page] = {}

    def page_of(path: Path) -> Page:
        if path not in read:
            read[path] = Page.read(path)
        return read[path]

    dead = []
    for path in paths:
        page = page_of(path)
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (
                anchor and target.suffix == ".html" and anchor not in page_of(target).anchors
            ):
                dead.append(f"{path.name}: {link}")
    return dead


def pictures_without_words(paths: Iterable[Path]) -> list[str]:
    """Pictures in the text whose alt text is missing, empty or a file name."""
    return [
        f"{path.name}: {source} (alt={alt!r})"
        for path in paths
        for source, alt in Page.read(path).pictures
        if not (alt or "").strip() or PICTURE_FILE.search(alt or "")
    ]


def test_no_page_loads_anything_from_another_host(pages: list[Path]) -> None:
    assert loads_from_elsewhere(pages) == []


def test_no_style_sheet_loads_anything_from_another_host(site: Path) -> None:
    sheets = sorted(site.rglob("*.css"))
    assert sheets
    assert [s.name for s in sheets if CSS_OTHER_HOST.search(s.read_text("utf-8"))] == []


def test_no_page_names_a_content_delivery_network(pages: list[Path]) -> None:
    named = [(p.name, n) for p in pages for n in CDN_NAMES if n in p.read_text("utf-8").lower()]
    assert named == []


def test_internal_links_resolve(site: Path, pages: list[Path]) -> None:
    assert dead_links([site / "index.html", *pages]) == []


def test_every_picture_has_alt_text(pages: list[Path]) -> None:
    assert pictures_without_words(pages) == []


def test_mathjax_is_shipped_with_its_license(site: Path) -> None:
    assert (site / "vendor/mathjax/tex-svg.js").stat().st_size > 1_000_000
    assert "Apache License" in (site / "vendor/mathjax/LICENSE").read_text("utf-8")


def listed_pages(site: Path) -> list[Path]:
    """The pages of the table of contents, the landing page first."""
    contents = (ROOT / "_toc.yml").read_text("utf-8")
    names = re.findall(r"^(?:root|\s*- file): (\S+)$", contents, re.MULTILINE)
    return [site / f"{name}.html" for name in names]


def described(path: Path) -> dict[str, str]:
    """What a page's head says about it, by the name or property of each tag."""
    page = Page.read(path)
    return {name: content for name, content in page.described if content}


def test_every_page_is_described_by_its_own_words(site: Path) -> None:
    found = {path.name: described(path).get("description", "") for path in listed_pages(site)}
    assert [name for name, text in found.items() if not 20 <= len(text) <= 200] == []
    assert len(set(found.values())) == len(found)


def test_every_page_has_a_picture_for_sharing_that_is_in_the_book(site: Path) -> None:
    base = re.search(r"baseurl: (\S+)", (ROOT / "_config.yml").read_text("utf-8"))
    assert base is not None
    for path in listed_pages(site):
        tags = described(path)
        picture = tags["og:image"]
        assert picture.startswith(base[1])
        assert (site / picture.removeprefix(base[1])).is_file()
        assert tags["og:image:alt"]
        assert tags["og:description"] == tags["description"]
        assert tags["og:url"] == base[1] + path.relative_to(site).as_posix()


def test_the_root_is_described_as_the_landing_page_that_it_leads_to(site: Path) -> None:
    root, landing = described(site / "index.html"), described(site / "book/index.html")
    of_landing = {name: text for name, text in landing.items() if name in root}
    assert {name: text for name, text in root.items() if name != "viewport"} == of_landing
    assert {"description", "og:image", "og:url", "twitter:card"} <= set(root)


def test_a_title_names_the_page_before_the_book(site: Path) -> None:
    titles = [
        re.findall(r"<title>(.*?) &#8212; (.*?)</title>", path.read_text("utf-8"))
        for path in listed_pages(site)
    ]
    assert {book for [(_, book)] in titles[1:]} == {"Joules per Token"}
    assert titles[0] == [("Joules per Token", "energy-efficient language models, measured")]


def test_what_is_not_found_stands_alone_and_leads_back(site: Path) -> None:
    base = re.search(r"baseurl: (\S+)", (ROOT / "_config.yml").read_text("utf-8"))
    assert base is not None
    page = Page.read(site / "404.html")
    assert [load for load in page.loads if not load.startswith("data:")] == []
    assert page.links
    for link in page.links:
        assert link.startswith(base[1])
        assert (site / link.removeprefix(base[1])).is_file()


@pytest.mark.parametrize(
    ("typed", "page"),
    [
        ("quantisation", "book/compressing/quantization"),
        ("distil", "book/compressing/distillation"),
        ("prune", "book/compressing/pruning"),
        ("energy per token", "book/metering/joules_per_token"),
        ("rapl", "book/metering/sensors"),
    ],
)
def test_a_search_knows_what_people_type(site: Path, typed: str, page: str) -> None:
    text = (site / "searchindex.js").read_text("utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    first = [index["docnames"][number] for number, _, main in index["indexentries"][typed] if main]
    assert page in first


def test_every_chapter_and_lab_leads_to_the_reference_pages(site: Path) -> None:
    for path in listed_pages(site)[1:]:
        if "reference" in path.as_posix():
            continue
        links = {Path(urlsplit(link).path).name for link in Page.read(path).links}
        assert links >= {"glossary.html", "coverage.html"}, path.name


HAN = re.compile(r"[\u2e80-\u303f\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]+")


def unmarked_chinese(path: Path) -> list[str]:
    """Runs of Chinese characters in the text of a page that no element calls Chinese."""
    bs4 = pytest.importorskip("bs4")
    article = bs4.BeautifulSoup(path.read_text("utf-8"), "html.parser").find("article")
    return [
        run
        for text in (article.find_all(string=HAN) if article else [])
        if not any((parent.get("lang") or "").startswith("zh") for parent in text.parents)
        for run in HAN.findall(text)
    ]


def test_chinese_is_marked_as_chinese(pages: list[Path]) -> None:
    assert {p.name: runs for p in pages if (runs := unmarked_chinese(p))} == {}


def test_the_check_sees_chinese_that_is_not_marked(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<article>a <p>能</p> <b lang="zh">效</b></article>', encoding="utf-8")
    assert unmarked_chinese(page) == ["能"]


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://host.example/a.js"></script>',
        '<link rel="stylesheet" href="//host.example/a.css">',
        '<img srcset="http://host.example/a.png 2x">',
        '<iframe src="HTTPS://host.example"></iframe>',
    ],
)
def test_the_offline_check_sees_another_host(tmp_path: Path, html: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(html, encoding="utf-8")
    assert len(loads_from_elsewhere([page])) == 1


def test_the_offline_check_allows_links_and_the_canonical_address(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<link rel="canonical" href="https://host.example/"><a href="https://host.example/">x</a>',
        encoding="utf-8",
    )
    assert loads_from_elsewhere([page]) == []


@pytest.mark.parametrize("link", ["gone.html", "#gone", "other.html#gone", "gone.css"])
def test_the_link_check_sees_a_dead_link(tmp_path: Path, link: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<a href="{link}">x</a><p id="here">', encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="there">', encoding="utf-8")
    assert len(dead_links([page])) == 1


@pytest.mark.parametrize("link", ["#here", "other.html#there", "https://host.example/gone"])
def test_the_link_check_accepts_a_good_link(tmp_path: Path, link: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f'<a href="{link}">x</a><p id="here">', encoding="utf-8")
    (tmp_path / "other.html").write_text('<p id="there">', encoding="utf-8")
    assert dead_links([page]) == []


@pytest.mark.parametrize(
    "picture",
    ['<img src="a.png">', '<img src="a.png" alt=" ">', '<img src="a.png" alt="a.png">', "<svg>"],
)
def test_the_alt_check_sees_a_picture_without_words(tmp_path: Path, picture: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<article><p>{picture}</p></article>", encoding="utf-8")
    assert len(pictures_without_words([page])) == 1
