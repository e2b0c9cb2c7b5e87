from pathlib import Path

import pytest

from pipeline.reports.comparison.page import render_comparison
from pipeline.reports.comparison.sets import make_sets
from tests.browser.pages import browser_page, keep
from tests.pipeline.reports.comparison.test_sets import ROWS, table

pytestmark = pytest.mark.slow


def test_the_comparison_shows_itself_and_sorts(tmp_path: Path) -> None:
    file = tmp_path / "comparison.html"
    file.write_text(render_comparison(make_sets("one", "standardize", table(ROWS))), "utf-8")
    seen: list[str] = []
    with browser_page(1100, 900) as page:
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("request", lambda request: seen.append(request.url))
        page.goto(file.as_uri())
        assert [text for text in seen if not text.startswith((file.as_uri(), "data:"))] == []
        assert page.locator("figure svg.wide").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        keep(page, "comparison", full=True)
        heading = page.locator("#arms th", has_text="bytes")
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == "descending"
        assert "RBF-SVM" in page.locator("#arms tbody tr").first.inner_text()
