"""What a page leaves out, in the two languages of the page."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

LONGEST = 40  # characters of a text by which it is named


def _named(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\u2026"


class Note(NamedTuple):
    """One thing that is left out."""

    en: str
    ko: str

    @classmethod
    def of_runs(cls, left_out: Sequence[str], most: int) -> Self:
        names = ", ".join(left_out)
        return cls(
            f"a page shows {most} runs: {names} {'is' if len(left_out) == 1 else 'are'} left out",
            f"한 페이지에는 모델을 {most}개까지 담으므로 다음은 빠졌습니다: {names}",
        )

    @classmethod
    def of_checkpoints(cls, there_are: Mapping[str, int], most: int) -> Self:
        named = ", ".join(f"{run} ({number})" for run, number in there_are.items())
        return cls(
            f"of more checkpoints than {most}, {most} are shown, evenly spread: {named}",
            f"체크포인트가 {most}개보다 많은 모델은 고르게 뽑은 {most}개만 담았습니다: {named}",
        )

    @classmethod
    def of_tokens(cls, text: str, kept: int, there_are: int, runs: Sequence[str] = ()) -> Self:
        by = f" under {', '.join(runs)}" if runs else ""
        by_ko = f"{', '.join(runs)}에서 " if runs else ""
        return cls(
            f"the first {kept} of {there_are} tokens of \u201c{_named(text)}\u201d are shown{by}",
            f"{by_ko}\u201c{_named(text)}\u201d의 토큰 {there_are}개 가운데 앞의 {kept}개만 담았습니다",
        )

    @classmethod
    def of_windows(cls, kept: int, there_are: int) -> Self:
        return cls(
            f"the first {kept} of the {there_are} tokens of each held-out window are shown",
            f"검증 텍스트의 윈도마다 토큰 {there_are}개 가운데 앞의 {kept}개만 담았습니다",
        )

    @classmethod
    def of_draws(cls, kept: int, there_are: int) -> Self:
        return cls(
            f"to stay below 2 MB: {kept} of {there_are} draws of each setting are kept",
            f"2 MB를 넘지 않도록 설정마다 표본 {there_are}개 가운데 {kept}개만 담았습니다",
        )

    @classmethod
    def of_runs_draws(cls, kept: int, there_are: int) -> Self:
        return cls(
            f"to stay below 2 MB: at most {kept} of {there_are} draws of each run are kept",
            f"2 MB를 넘지 않도록 모델마다 표본 {there_are}개 가운데 최대 {kept}개만 담았습니다",
        )

    @classmethod
    def of_passes(cls, kept: int) -> Self:
        return cls(
            f"to stay below 2 MB: at most {kept} checkpoints of each run are kept",
            f"2 MB를 넘지 않도록 모델마다 체크포인트를 최대 {kept}개만 담았습니다",
        )

    @classmethod
    def of_attention(cls, kept: int) -> Self:
        if not kept:
            return cls("to stay below 2 MB: attention is left out", "2 MB를 넘지 않도록 어텐션은 담지 않았습니다")
        return cls(
            f"to stay below 2 MB: attention of the last {kept} layers of each stack is kept",
            f"2 MB를 넘지 않도록 어텐션은 스택마다 마지막 {kept}개 층만 담았습니다",
        )

    @classmethod
    def of_texts(cls, kept: int, there_are: int) -> Self:
        return cls(
            f"to stay below 2 MB: the first {kept} of {there_are} texts are kept",
            f"2 MB를 넘지 않도록 텍스트 {there_are}개 가운데 앞의 {kept}개만 담았습니다",
        )
