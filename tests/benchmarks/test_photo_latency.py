"""What a photo takes: the calls take turns, and the table compares them with the engine."""

from benchmarks.photo_latency import Latency, measure, report


def test_calls_take_turns_on_the_same_photos():
    made = []
    calls = {name: lambda photo, name=name: made.append((name, photo)) for name in ("a", "b")}
    found = measure(calls, 3, 5)
    assert [each.name for each in found] == ["a", "b"]
    assert made[:6] == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert len(made) > 2 * 5  # some of each before the clock runs
    assert all(0 <= each.low <= each.milliseconds <= each.high for each in found)


def test_the_table_compares_with_the_engine():
    found = [Latency("engine", 10.0, 9.0, 11.5), Latency("Keras", 45.0, 40.0, 50.25)]
    *_, first, second = report(found).splitlines()
    assert [cell.strip() for cell in first.strip("|").split("|")][1:] == [
        "10.00",
        "9.00-11.50",
        "1.00",
    ]
    assert [cell.strip() for cell in second.strip("|").split("|")][1:] == [
        "45.00", "40.00-50.25", "4.50",
    ]  # fmt: skip
