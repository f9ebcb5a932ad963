"""A mutant: the project with one careless mistake in one line of it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One mistake, and the tests that should notice it.

    Attributes:
        file: path from the root of the repository.
        original: part of one line, which stands in the file once.
        replacement: what stands there instead.
        mistake: what went wrong, in a few words.
        tests: arguments of pytest, run before all others.
    """

    file: str
    original: str
    replacement: str
    mistake: str
    tests: tuple[str, ...] = ()

    def line(self, text: str) -> int:
        """The number of the line, from 1, that `original` stands in.

        Raises:
            ValueError: where it does not stand in `text` just once.
        """
        if (found := text.count(self.original)) != 1:
            raise ValueError(
                f"mutant '{self.mistake}': {self.file} holds {self.original!r} {found} times, and it must once; "
                f"write the mutant in tests/mutation/ anew for the file as it is"
            )
        return text[: text.index(self.original)].count("\n") + 1

    def applied(self, text: str) -> str:
        """The file's text with the mistake in it.

        Raises:
            ValueError: where `original` does not stand in `text` just once.
        """
        self.line(text)
        return text.replace(self.original, self.replacement)

    def difference(self, text: str) -> str:
        """The line before and behind the mistake."""
        number = self.line(text) - 1
        before, after = text.splitlines()[number], self.applied(text).splitlines()[number]
        return f"- {before.strip()}\n+ {after.strip()}"
