"""UCI Heart Disease: patients of four hospitals, a natural federation of institutions.

A. Janosi, W. Steinbrunn, M. Pfisterer and R. Detrano, Heart Disease, UCI Machine Learning Repository, 1988,
https://archive.ics.uci.edu/dataset/45/heart+disease, DOI 10.24432/C52P4X, CC BY 4.0. Columns and dropped rows as in
FLamby's Fed-Heart-Disease: J. Ogier du Terrail et al., NeurIPS Datasets and Benchmarks 2022,
https://arxiv.org/abs/2210.04620.

Differs from the paper: chest pain and resting ECG keep all their levels (15 features, not 13), so that no level is
the silent base; which rows are for testing is chosen by the caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tacit.data.locate import locate, need
from tacit.data.tabular import Tabular, concatenate
from tacit.data.tabular_file import from_file
from tacit.data.tabular_mapping import built_in

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")


@dataclass(frozen=True, slots=True)
class HeartDisease:
    """740 patients of four hospitals (303, 261, 46, 130), 15 features; positive = any heart disease."""

    @property
    def gives(self) -> Literal["interactions", "tabular"]:
        """The kind of data it loads."""
        return "tabular"

    def load(self, folders: Sequence[Path]) -> Tabular:
        """Read the four processed.*.data files; the institution of a row is its hospital.

        Raises:
            DataError: the files are not in any of the folders, or a line cannot be used.
        """
        files = [f"processed.{hospital}.data" for hospital in HOSPITALS]
        advice = "Download the four files from https://archive.ics.uci.edu/dataset/45/heart+disease into one of these."
        place = locate("heart-disease", ("heart_disease", "heart+disease"), files, folders, advice)
        mapping = built_in("heart-disease")
        parts = [
            from_file(need(place, file), mapping, file, institution=hospital)
            for file, hospital in zip(files, HOSPITALS, strict=True)
        ]
        rows = sum(len(part) for part in parts)
        note = f"UCI Heart Disease: {rows} patients of four hospitals with all of FLamby's ten columns recorded"
        return concatenate("heart-disease", parts, note=note)
