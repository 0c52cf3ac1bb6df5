import numpy as np

from experiments.statistics import Accuracy, ClassFigures
from experiments.tables import class_cells, confused_cells, table, table_lines


def test_table_is_markdown():
    assert table(["a", "b"], [["x", "1"], ["longer", "100"]]) == [
        "| a      |   b |",
        "| ------ | --: |",
        "| x      |   1 |",
        "| longer | 100 |",
    ]


def test_the_rule_of_a_narrow_column():
    assert table(["a", "p"], [["x", "1"]]) == ["| a  |  p |", "| -- | -: |", "| x  |  1 |"]


def test_lines_come_with_their_rows_and_are_those_of_the_table():
    rows = [["x", "1"], ["l|nger", "100"], ["far too long", "1"]]
    taken = []

    def coming():
        for row in rows:
            taken.append(row)
            yield row

    lines = table_lines(["a", "b"], coming(), ["l|nger", "100"])
    assert [next(lines), next(lines)] == ["| a       |   b |", "| ------- | --: |"]
    assert taken == []
    assert next(lines) == "| x       |   1 |"
    assert taken == rows[:1]
    assert [*lines] == [r"| l\|nger | 100 |", "| far too long |   1 |"]
    assert table(["a", "b"], rows[:2]) == [*table_lines(["a", "b"], rows[:2], ["l|nger", "100"])]


def test_a_class_without_images_has_dashes():
    half = Accuracy(5, 10)
    header, body = class_cells(["cat", "dog"], [ClassFigures(half, None), ClassFigures(None, half)])
    assert header[:2] == ["class", "test images"]
    assert body == [
        ["cat", "10", "50.00 (23.66-76.34)", "-"],
        ["dog", "0", "-", "50.00 (23.66-76.34)"],
    ]


def test_what_was_taken_for_what_most_often():
    labels, predicted = np.array([[0, 1], [0, 1], [0, 0], [2, 1], [1, 1], [3, 2]]).T
    header, body = confused_cells("abcd", labels, predicted)
    assert header == ["class", "taken for", "test images"]
    assert body == [["a", "b", "2"], ["c", "b", "1"], ["d", "c", "1"]]
    assert confused_cells("ab", labels % 2, labels % 2)[1] == []
    many = np.arange(200)
    assert len(confused_cells([*map(str, many)], many, (many + 1) % 200)[1]) == 10
