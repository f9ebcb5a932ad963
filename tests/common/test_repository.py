"""The hash of the project's own files, by which a run records its code and a kept command line its parser."""

from pathlib import Path

from common.repository import sha256_of_files, source_files


def test_the_hash_of_the_code_follows_every_module_and_script_and_no_test(tmp_path: Path) -> None:
    for name in ("train.py", "models/__init__.py", "models/deep/block.py", "tests/__init__.py", "tests/test_block.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one = 1\n", encoding="utf-8")

    def sha256() -> str:
        return sha256_of_files(source_files(tmp_path), tmp_path)

    before = sha256()
    (tmp_path / "tests/test_block.py").write_text("one = 2\n", encoding="utf-8")
    assert sha256() == before
    seen = {before}
    for name in ("train.py", "models/__init__.py", "models/deep/block.py"):
        (tmp_path / name).write_text("one = 2\n", encoding="utf-8")
        seen.add(sha256())
    (tmp_path / "models/deep/block.py").rename(tmp_path / "models/deep/other.py")
    assert len(seen | {sha256()}) == 5
