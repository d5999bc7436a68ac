"""docs/troubleshooting.md quotes errors as the code has them; links between documents lead somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = "\n".join(path.read_text() for path in sorted((ROOT / "src").rglob("*.py")))
WHOLE = re.sub(r'"\s+f?"', "", CODE)  # texts that go on in the next line
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize(
    "text", re.findall(r"^### `(.*)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.M)
)
def test_a_text_that_is_explained_is_in_the_code(text: str) -> None:
    for part in text.split("…"):
        assert part.strip(" :'") in WHOLE


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), target
