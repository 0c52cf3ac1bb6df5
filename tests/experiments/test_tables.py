from experiments.statistics import Accuracy, ClassFigures
from experiments.tables import class_cells, table


def test_table_is_markdown():
    assert table(["a", "b"], [["x", "1"], ["longer", "100"]]) == [
        "| a      |   b |",
        "| ------ | --: |",
        "| x      |   1 |",
        "| longer | 100 |",
    ]


def test_the_rule_of_a_narrow_column():
    assert table(["a", "p"], [["x", "1"]]) == ["| a  |  p |", "| -- | -: |", "| x  |  1 |"]


def test_a_class_without_images_has_dashes():
    half = Accuracy(5, 10)
    header, body = class_cells(["cat", "dog"], [ClassFigures(half, None), ClassFigures(None, half)])
    assert header[:2] == ["class", "test images"]
    assert body == [
        ["cat", "10", "50.00 (23.66-76.34)", "-"],
        ["dog", "0", "-", "50.00 (23.66-76.34)"],
    ]
