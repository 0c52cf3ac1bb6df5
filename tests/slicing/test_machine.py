from pathlib import Path

import pytest

from slicing import machine
from slicing.machine import processor, switches

X86 = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum
flags\t\t: fpu avx2

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum
"""
ARM = """processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (X86, "model name: Intel(R) Xeon(R) Platinum, cpu family: 6, model: 143"),
        (ARM, "CPU implementer: 0x41, CPU part: 0xd40"),
        ("", "arm"),
        (None, "arm"),
    ],
)
def test_a_processor_is_its_model_and_its_instructions(text, model, monkeypatch):
    def read_text(path, *given, **options):
        assert str(path) == "/proc/cpuinfo"
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(machine.platform, "processor", lambda: "arm")
    found = {"baseline": ["X86_V2"], "found": ["X86_V3"], "not found": ["X86_V4"]}
    monkeypatch.setattr(machine.np, "show_config", lambda mode: {"SIMD Extensions": found})
    assert processor() == f"{model} (X86_V2 X86_V3)"
    monkeypatch.setattr(machine.np, "show_config", lambda mode: {"SIMD Extensions": {}})
    assert processor() == f"{model} ()"


def test_variables_are_found_by_how_they_begin(monkeypatch):
    monkeypatch.setenv("OWN_B", "2")
    monkeypatch.setenv("OWN_A", "1")
    monkeypatch.setenv("NOT_OWN_C", "3")
    assert list(switches(["OWN_", "ELSE_"]).items()) == [("OWN_A", "1"), ("OWN_B", "2")]
