"""Every example of README.md and docs/ does what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest
from markdown_examples import Failure, Page, blocks
from refresh_examples import Refresher, refreshed

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES)
def test_examples(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = Page(Path(page), ROOT, tmp_path)
    for block in blocks((ROOT / page).read_text()):
        runner.run(block)


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.chdir(tmp_path)
    return Page(Path("page.md"), ROOT, tmp_path)


def run(page: Page, markdown: str) -> None:
    for block in blocks(markdown):
        page.run(block)


class TestTheRunnerItself:
    def test_blocks_share_names_and_files(self, page: Page) -> None:
        run(
            page,
            "```python\nfrom pathlib import Path\nx = 20\n```\n"
            "```python\n>>> x + 1\n21\n>>> Path('made').write_text('hello')\n5\n\n```\n"
            "```console\n$ cat made\nhello\n```\n",
        )

    def test_a_wrong_doctest_fails(self, page: Page) -> None:
        with pytest.raises(Failure, match=r"page.md: line 2:[\s\S]*Expected:\s*3\s*Got:\s*2"):
            run(page, "text\n```python\n>>> 1 + 1\n3\n\n```\n")

    def test_a_python_block_that_raises_fails(self, page: Page) -> None:
        with pytest.raises(ZeroDivisionError):
            run(page, "```python\n1 / 0\n```\n")

    def test_shown_output_must_be_printed(self, page: Page) -> None:
        run(page, "```console\n$ echo one two; echo three\none ...\n...\nthree\n```\n")
        with pytest.raises(Failure, match=r"line 2: \$ echo one\n.*isn't printed \(there\):\ntwo"):
            run(page, "```console\n$ echo one\ntwo\n```\n")

    def test_shown_output_must_be_in_order(self, page: Page) -> None:
        with pytest.raises(Failure, match=r"\(there\):\none"):
            run(page, "```console\n$ echo one; echo two\ntwo\none\n```\n")

    def test_exit_codes_count(self, page: Page) -> None:
        run(page, "```console exit=1\n$ cat nowhere\n...nowhere...\n```\n")
        with pytest.raises(Failure, match="exit code 0, not 1"):
            run(page, "```console exit=1\n$ echo fine\n```\n")

    def test_set_up_commands_are_left_to_the_reader(self, page: Page) -> None:
        run(page, "```console\n$ make demo\nwhatever\n$ pip install blis-sim\n```\n")

    def test_commands_go_on_after_a_backslash(self, page: Page) -> None:
        run(page, "```console\n$ echo one \\\n    two\none two\n```\n")

    @pytest.mark.parametrize(
        ("markdown", "message"),
        [
            ("```bash\nls\n```\n", "no rule for 'bash' blocks"),
            ("```console\n$ rm -rf specs\n```\n", "neither a set-up command nor one that is run"),
            ("```console\noutput\n```\n", "starts with a command"),
            ("```python\nx = 1\n", "never closed"),
        ],
    )
    def test_what_is_not_checked_is_refused(self, page: Page, markdown: str, message: str) -> None:
        with pytest.raises(Failure, match=message):
            run(page, markdown)

    def test_an_invalid_workload_fails(self, page: Page) -> None:
        with pytest.raises(Failure, match="aggregat_rate"):
            run(page, '```yaml\nversion: "2"\naggregat_rate: 1\nclients: []\n```\n')

    def test_an_invalid_deployment_fails(self, page: Page) -> None:
        with pytest.raises(Failure, match="instancs"):
            run(page, '```yaml\nversion: "1"\ninstancs: 2\n```\n')

    def test_yaml_files_are_written(self, page: Page) -> None:
        run(page, "```yaml file=some/notes.yaml\na: 1\n```\n```console\n$ cat some/notes.yaml\na: 1\n```\n")


class TestRefreshing:
    def refresh(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, markdown: str) -> str:
        tmp_path.mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path)
        return refreshed(markdown, Refresher(Path("page.md"), ROOT, tmp_path))

    def test_shown_output_becomes_what_is_printed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old = "a\n```console\n$ echo 'p50  12'; echo other; echo 'p99  7.5 ms'\np50  10\n...\np99  8 ms\n```\nb\n"
        new = "a\n```console\n$ echo 'p50  12'; echo other; echo 'p99  7.5 ms'\np50  12\n...\np99  7.5 ms\n```\nb\n"
        assert self.refresh(tmp_path, monkeypatch, old) == new
        assert self.refresh(tmp_path / "again", monkeypatch, new) == new

    def test_prompts_show_what_they_give(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        old = "```python\n>>> x = 2\n>>> for i in range(x):\n...     print(i + 1)\n7\n>>> x\n2\n>>> [x]\n[...]\n\n```\n"
        new = old.replace("\n7\n", "\n1\n2\n")
        assert self.refresh(tmp_path, monkeypatch, old) == new

    def test_a_command_that_fails_is_no_example(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(Failure, match="exit code 1, not 0"):
            self.refresh(tmp_path, monkeypatch, "```console\n$ cat nowhere\nold 1\n```\n")
