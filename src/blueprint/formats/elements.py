"""XML elements from Python values, the same text on every machine."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np


def element(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    """Append an element; numbers and sequences become text, None is left out, `class_` becomes `class`."""
    texts = {name.rstrip("_"): text_of(value) for name, value in attributes.items() if value is not None}
    return ET.SubElement(parent, tag, texts)


def text_of(value: object) -> str:
    """Numbers with ten digits, sequences with spaces."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, np.integer)):
        return str(value)
    if isinstance(value, (float, np.floating)):
        return f"{float(value):.10g}"
    return " ".join(text_of(part) for part in value)  # type: ignore[union-attr]


def document(root: ET.Element) -> str:
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode") + "\n"
