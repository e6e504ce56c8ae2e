"""UCI Adult (Census Income): does a person earn more than 50,000 USD a year?

B. Becker and R. Kohavi, Adult, UCI Machine Learning Repository, 1996, https://archive.ics.uci.edu/dataset/2/adult,
DOI 10.24432/C5XW20, CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tacit.data.locate import locate, need
from tacit.data.tabular import TEST, TRAIN, Tabular, concatenate
from tacit.data.tabular_file import from_file
from tacit.data.tabular_mapping import built_in


@dataclass(frozen=True, slots=True)
class Adult:
    """48,842 persons, 108 features, with the published split (32,561 train, 16,281 test); no institutions."""

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "tabular"

    def load(self, folders: Sequence[Path]) -> Tabular:
        """Read adult.data and adult.test.

        Raises:
            DataError: the files are not in any of the folders, or a line cannot be used.
        """
        files = ("adult.data", "adult.test")
        advice = "Download both files from https://archive.ics.uci.edu/dataset/2/adult into one of these."
        place = locate("adult", ("uci-adult", "census-income"), files, folders, advice)
        mapping = built_in("adult")
        parts = [from_file(need(place, file), mapping, file) for file in files]
        note = (
            f"UCI Adult: {sum(len(part) for part in parts):,} persons of the 1994 US census, with the published split"
        )
        return concatenate("adult", parts, split=(TRAIN, TEST), note=note)
