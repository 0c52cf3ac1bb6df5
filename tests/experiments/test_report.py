"""The HTML report, read as a browser would: its elements, its text, its images."""

import signal
from base64 import b64decode
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from experiments import report
from experiments.history import History
from experiments.new_classes import ClassAddition, TaughtClassifier
from experiments.reliability import Reliability
from experiments.report import Answers
from experiments.statistics import Accuracy, ClassFigures
from experiments.tables import addition_cells, bin_cells, class_cells, confidence_cells
from slicing.baselines import Epoch
from slicing.data import mnist
from slicing.data.dataset import Images
from slicing.engine.engine import Engine
from slicing.stack import Conv, ConvStack, Pool
from tests.experiments.runs import run_here
from tests.experiments.test_summary import RELIABILITY, SUMMARY

PNG = "data:image/png;base64,"
VOID = {"img", "meta", "br", "link", "hr", "input"}


@dataclass
class Element:
    tag: str
    attributes: dict = field(default_factory=dict)
    children: list = field(default_factory=list)

    def all(self, tag, **attributes):
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        for child in self.children:
            if isinstance(child, Element):
                if child.tag == tag and wanted.items() <= child.attributes.items():
                    yield child
                yield from child.all(tag, **attributes)

    def one(self, tag, **attributes):
        [found] = self.all(tag, **attributes)
        return found

    @property
    def text(self):
        texts = (c.text if isinstance(c, Element) else c for c in self.children)
        return " ".join(" ".join(texts).split())


class Tree(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open = [Element("document")]
        self.feed(text)
        self.close()
        assert len(self.open) == 1, "an element is not closed"

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes)
        element = Element(tag, dict(attributes))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)


def read(folder):
    return Tree((folder / "report.html").read_text("utf-8")).open[0]


def every(element):
    for child in element.children:
        if isinstance(child, Element):
            yield child
            yield from every(child)


def rows_of(table):
    return [
        [cell.text for cell in row.children if isinstance(cell, Element)] for row in table.all("tr")
    ]


def pixels_of(img):
    with Image.open(BytesIO(b64decode(img.attributes["src"].removeprefix(PNG)))) as image:
        return np.asarray(image)


def mistakes_of(page):
    lists = list(page.all("ol", class_="mistakes"))
    return [c for each in lists for c in each.children if isinstance(c, Element)]


def check_neighbors(page, engine, train, test, wrong):
    """Compare the neighbors that are shown with those that scikit-learn finds."""
    metric = {"euclidean": "sqeuclidean", "cosine": "cosine"}[engine.metric]
    search = NearestNeighbors(n_neighbors=engine.k, algorithm="brute", metric=metric)
    search.fit(engine.references.astype(np.float64))
    found = search.kneighbors(engine.features(test.images[wrong]).astype(np.float64))
    mistakes = mistakes_of(page)
    assert len(mistakes) == len(wrong)
    for mistake, index, distances, indices in zip(mistakes, wrong, *found, strict=True):
        image = mistake.one("figure").one("img")
        np.testing.assert_array_equal(pixels_of(image), shown(test.images[index]))
        neighbors = list(mistake.one("ol", class_="neighbors").all("li"))
        assert [each.text for each in neighbors] == [
            f"{engine.classes[engine.labels[j]]} {distance:.3g}"
            for j, distance in zip(indices, distances, strict=True)
        ]
        images = [pixels_of(img) for each in neighbors for img in each.all("img")]
        expected = [shown(train.images[j]) for j in indices] if train else []
        assert len(images) == len(expected)
        for one, other in zip(images, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def worst(engine, test, predicted):
    """The wrong answers, the surest first."""
    wrong = np.flatnonzero(predicted != test.labels)
    found = engine.evidence(test.images[wrong])
    sureness = found.margins if found.confidences is None else found.confidences
    return wrong[np.argsort(-sureness, kind="stable")]


def shown(image):
    return np.rint(255 * image[..., 0]).astype(np.uint8)


@pytest.fixture(scope="module")
def page(finished):
    return read(finished.folder)


def test_it_is_one_file_that_needs_no_other(finished, page):
    for element in every(page):
        assert element.tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert not {"href", "srcset", "style", "data", "action"} & element.attributes.keys()
        assert not any(name.startswith("on") for name in element.attributes)
        if "src" in element.attributes:
            assert element.attributes["src"].startswith(PNG)
            assert pixels_of(element).size
    style = page.one("style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in (finished.folder / "report.html").read_text("utf-8")
    files = {item.path for item in finished.client.list_artifacts(finished.run.info.run_id)}
    assert {"report.html", "accuracy.png"} <= files


def test_its_figures_are_those_of_the_folder(finished, page):
    embedded = [pixels_of(img) for img in page.all("img")]
    for name in ("accuracy", "training", "convergence", "kernels", "confusion"):
        with Image.open(finished.folder / f"{name}.png") as image:
            pixels = np.asarray(image)
        assert sum(np.array_equal(pixels, each) for each in embedded) == 1


def test_its_markup_is_for_everyone(finished, page):
    assert (finished.folder / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert page.one("html").attributes["lang"] == "en"
    assert page.one("meta", charset="utf-8")
    assert page.one("title").text == page.one("h1").text == finished.summary.title
    assert [each.text for each in page.all("h2")] == [
        "Networks", "Training", "Evolution", "Mistakes", "Confidence", "Data",
        "Configuration",
    ]  # fmt: skip
    assert all(img.attributes["alt"] for img in page.all("img"))
    assert all(th.attributes["scope"] in ("col", "row", "rowgroup") for th in page.all("th"))
    assert next(page.all("details")).one("summary").text


def test_on_a_phone_what_is_wide_moves_within_itself(page):
    assert page.one("meta", name="viewport").attributes["content"].startswith("width=device-width")
    assert ".wide {\n  overflow-x: auto;" in "\n".join(page.one("style").children)
    inside = [table for place in page.all("div", class_="wide") for table in place.all("table")]
    for table in page.all("table"):
        is_wide = max(map(len, rows_of(table))) > 2
        assert not is_wide or any(table is each for each in inside)


def test_its_figures_are_those_of_the_summary(finished, page):
    markdown = (finished.folder / "summary.md").read_text()
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in markdown.splitlines()
        if line.startswith("|")
    )
    assert rows_of(next(page.all("table"))) == [header, *rows]
    for fact in next(page.all("ul")).all("li"):
        assert f"- {fact.text}" in markdown.splitlines()


def test_it_says_what_the_results_depend_on(finished, page):
    names, values = ([each.text for each in page.all(tag)] for tag in ("dt", "dd"))
    about = dict(zip(names, values, strict=True))
    tags = finished.run.data.tags
    assert about["images"] == "mnist, 200 training images, 60 test images"
    assert about["protocol"] == tags["protocol"]
    assert about["seed"] == "0"
    assert "baseline.filters=[4,6] baseline.units=8" in about["command line"]
    assert about["threads"] == tags["threads"]
    assert about["commit"] == tags.get("git_commit", "none")
    assert f"numpy {tags['version.numpy']}" in about["versions"]
    assert f"python {tags['version.python']}" in about["versions"]


def test_every_option_is_in_its_group(finished, page):
    bodies = page.one("table", class_="options").all("tbody")
    groups = {rows[0][0]: dict(rows[1:]) for rows in map(rows_of, bodies)}
    assert groups["slicing=knn"]["slicing.projection"] == "none"
    assert groups["baseline=lenet"]["baseline.filters"] == "[4, 6]"
    assert groups["strategy=serial"]["strategy.max_seconds"] == "null"
    assert groups["run"]["seed"] == "0"
    options = {name for group in groups.values() for name in group}
    assert options >= {name for name in finished.run.data.params if "." in name}


def test_the_mistakes_are_those_of_the_predictions(finished, page, digits):
    with np.load(finished.folder / "predictions.npz") as predictions:
        labels, predicted = predictions["labels"][:60], predictions["evolved"][:60]
    dataset = mnist(directory=digits, train_size=200, test_size=60)
    engine = Engine.load(finished.folder / "engine.safetensors")
    test = dataset.read_test()
    wrong = worst(engine, test, predicted)
    assert wrong.size
    mistakes = page.one("main").text
    # First of all, before what the results depend on.
    lead = page.one("header").text
    assert lead.endswith(f"(evolved by cmaes) gets {wrong.size} of 60 test images wrong.")
    for mistake, index in zip(mistakes_of(page), wrong[:24], strict=True):
        start = f"Image {index}: {labels[index]} , taken for {predicted[index]} ."
        assert mistake.one("figcaption").text.startswith(start)
    assert "The references are the training images." in mistakes
    check_neighbors(page, engine, dataset.train, test, wrong[:24])


def test_prototypes_are_classes_and_distances(tiny, digits, tmp_path):
    options = ["slicing=prototypes", "slicing.per_class=2", "slicing.storage=int8"]
    result = run_here([*tiny, *options, "strategy.passes=0"], tmp_path)
    page = read(result.folder)
    test = mnist(directory=digits, train_size=120, test_size=60).read_test()
    engine = Engine.load(result.folder / "engine.safetensors")
    with np.load(result.folder / "predictions.npz") as predictions:
        wrong = worst(engine, test, predictions["engine"][:60])
    assert wrong.size
    saved = "The saved engine (its engine: 2 prototypes a class, int8)"
    assert f"{saved} gets {wrong.size} of 60 test images wrong" in page.text
    assert "The references are prototypes" in page.text
    check_neighbors(page, engine, None, test, wrong[:24])


def test_an_interrupted_run_has_one_too(tiny, tmp_path, monkeypatch):
    append = History.append

    def interrupting(self, event):
        monkeypatch.undo()
        signal.raise_signal(signal.SIGINT)
        append(self, event)

    monkeypatch.setattr(History, "append", interrupting)
    result = run_here([*tiny, "strategy.generations=1000"], tmp_path)
    assert result.summary.interrupted
    assert "(interrupted)" in read(result.folder).one("h1").text
    files = {item.path for item in result.client.list_artifacts(result.run.info.run_id)}
    assert "report.html" in files


OPTIONS = {"seed": 1, "data": {"directory": "<i>&amp;"}, "slicing": {"references": "condensed"}}
CLASSES = ("<b>cat</b>", "'a\" & b'", "{{ 7 * 7 }}")


def some(n, shape, seed, labels):
    return Images(np.random.default_rng(seed).random((n, *shape), dtype=np.float32), labels)


def written(
    folder, shape=(8, 8, 1), k=3, n_test=60, right=False, summary=SUMMARY, name="a run",
    references="all", calibrated=False, classes=CLASSES,
):  # fmt: skip
    """Write the report of an engine that knows nothing, or everything, and read it."""
    rng = np.random.default_rng(0)
    conv = Conv(rng.normal(size=(3, 3, shape[2], 4)).astype(np.float32), np.zeros(4, np.float32))
    labels = np.arange(100) % len(classes)
    train, test = some(40, shape, 1, labels[:40]), some(n_test, shape, 2, labels[:n_test])
    engine = Engine.fit(ConvStack((conv, Pool()), shape), train, classes, k)
    if references == "condensed":
        half = {"references": engine.references[::2], "labels": engine.labels[::2]}
        engine = replace(engine, metric="cosine", **half)
    if calibrated:
        engine = engine.calibrated(some(60, shape, 3, labels[:60]))
    predicted = engine.predict_labels(test.images)
    if right:
        test = Images(test.images, predicted)
    for figure in ("accuracy", "training", "convergence", "kernels", "confusion", "reliability"):
        Image.new("L", (1, 1)).save(folder / f"{figure}.png")
    report.write(
        folder / "report.html",
        replace(summary, title=name, dataset="<u>images"),
        Answers(engine, train, test, predicted),
        OPTIONS | {"slicing": {"references": references}},
        {"data": "folder", "debug": "quick"},
    )
    return read(folder), engine, test, predicted


def test_names_of_the_user_are_text(tmp_path):
    page, engine, test, predicted = written(tmp_path, name="</title><script>alert(1)</script>")
    assert page.one("title").text == page.one("h1").text == "</title><script>alert(1)</script>"
    assert not {"b", "i", "u", "script"} & {element.tag for element in every(page)}
    index = worst(engine, test, predicted)[0]
    text = mistakes_of(page)[0].one("figcaption").text
    assert f"{CLASSES[test.labels[index]]} , taken for {CLASSES[predicted[index]]}" in text
    assert "49" not in text
    assert "<i>&amp;" in page.one("table", class_="options").text
    assert "<u>images, 40" in page.text


@pytest.mark.parametrize("calibrated", [False, True])
def test_of_many_mistakes_the_worst_are_shown(calibrated, tmp_path):
    summary = replace(SUMMARY, reliability=RELIABILITY if calibrated else {})
    page, engine, test, predicted = written(tmp_path, calibrated=calibrated, summary=summary)
    wrong = worst(engine, test, predicted)
    assert wrong.size > 24
    assert [each.text for each in page.all("h3")] == [f"The 24 worst of {wrong.size} wrong images"]
    by = "the most confidence" if calibrated else "the largest margin"
    assert f"Worst first: those whose wrong answer has {by}." in page.text
    mistakes = mistakes_of(page)
    assert len(mistakes) == 24
    for mistake, index in zip(mistakes, wrong, strict=False):
        assert mistake.one("img", alt=f"Test image {index}")
        [votes] = engine.votes(test.images[[index]])
        header, *rows = rows_of(mistake.one("table"))
        assert header == ["class", "votes"]
        # That of the image is named, even without a vote.
        is_named = (votes > 0) | (np.arange(3) == test.labels[index])
        assert dict(rows) == {CLASSES[j]: str(votes[j]) for j in np.flatnonzero(is_named)}
        assert mistake.one("table").one("strong").text == CLASSES[test.labels[index]]


def test_every_mistake_says_how_near_it_was(tmp_path):
    page, engine, test, predicted = written(tmp_path)
    found = engine.evidence(test.images[worst(engine, test, predicted)])
    assert len(mistakes_of(page)) == 24
    for mistake, distance, margin in zip(
        mistakes_of(page), found.distances, found.margins, strict=False
    ):
        text = mistake.one("figcaption").text
        assert text.endswith(f"Distance {distance:.3g}, margin {margin:.2f}.")
    assert "This engine gives no confidence" in page.text


@pytest.mark.parametrize("n_classes", [2, 40])
def test_every_class_has_its_recall_and_its_precision(n_classes, tmp_path):
    classes = tuple(f"class {number} of a long name" for number in range(n_classes))
    page, _, test, predicted = written(tmp_path, classes=classes)
    header, body = class_cells(classes, ClassFigures.of_all(predicted, test.labels, n_classes))
    assert rows_of(page.one("table", class_="classes")) == [header, *body]
    assert len(body) == n_classes


def test_the_training_is_drawn_where_there_was_one(tmp_path):
    page, *_ = written(tmp_path)
    assert "Training" not in [each.text for each in page.all("h2")]
    training = (Epoch(2.0, 0.5), Epoch(1.0, 0.75))
    for from_cache in (False, True):
        summary = replace(SUMMARY, training=training, from_cache=from_cache)
        page, *_ = written(tmp_path, summary=summary)
        [curve] = [
            img for img in page.all("img") if img.attributes["alt"].startswith("Loss and accuracy")
        ]
        assert pixels_of(curve).size
        assert ("it was read from the cache" in page.text) == from_cache


def test_a_confidence_is_held_against_the_test_images(tmp_path):
    rng = np.random.default_rng(0)
    confidences = rng.random(200)
    is_right = rng.random(200) < confidences
    reliability = {
        "confidence": Reliability.of(confidences, is_right),
        "votes": Reliability.of(np.ones(200), is_right),
    }
    summary = replace(SUMMARY, calibration_images=123, reliability=reliability)
    page, engine, test, predicted = written(tmp_path, summary=summary, calibrated=True)
    assert "learned from 123 training images" in page.text
    header, body = confidence_cells(reliability)
    _, compared, bins = page.all("table", class_="figures")
    assert rows_of(compared) == [header, *body]
    header, body = bin_cells(reliability)
    assert rows_of(bins) == [header, *body]
    [diagram] = [img for img in page.all("img") if "Reliability" in img.attributes["alt"]]
    assert pixels_of(diagram).size
    found = engine.evidence(test.images[worst(engine, test, predicted)]).confidences
    for mistake, confidence in zip(mistakes_of(page), found, strict=False):
        assert mistake.one("figcaption").text.endswith(f", confidence {100 * confidence:.0f} %.")


def test_an_outlier_among_the_mistakes_is_called_one(tmp_path):
    _, engine, test, _ = written(tmp_path, n_test=3, calibrated=True)
    black = Images(np.zeros((1, 8, 8, 1), np.float32), np.array([0]))
    answers = Answers(engine, test, black, 1 - black.labels)
    report.write(tmp_path / "report.html", SUMMARY, answers, OPTIONS, {"data": "folder"})
    [mistake] = mistakes_of(read(tmp_path))
    assert mistake.one("figcaption").text.endswith(", no confidence: an outlier.")


def test_of_many_votes_the_nearest_are_shown(tmp_path):
    page, *_ = written(tmp_path, k=12)
    assert "the 9 nearest of the 12 references that vote" in page.text
    for mistake in mistakes_of(page):
        assert len(list(mistake.one("ol", class_="neighbors").all("li"))) == 9
        _, *rows = rows_of(mistake.one("table"))
        assert sum(int(count) for _, count in rows) == 12


def test_condensed_references_are_classes_and_distances(tmp_path):
    page, engine, test, predicted = written(tmp_path, references="condensed")
    assert "The references are condensed" in page.text
    assert "class and cosine distance" in page.text
    check_neighbors(page, engine, None, test, worst(engine, test, predicted)[:24])


def test_without_mistakes_there_is_nothing_to_show(tmp_path):
    page, *_ = written(tmp_path, right=True)
    assert "gets 0 of 60 test images wrong" in page.text
    assert mistakes_of(page) == list(page.all("h3")) == []


def test_photographs_are_small_and_in_color(tmp_path):
    page, *_ = written(tmp_path, shape=(100, 50, 3), n_test=20)
    for mistake in mistakes_of(page):
        assert [pixels_of(img).shape for img in mistake.all("img")] == [(64, 32, 3)] * 4


def test_protocol_test_is_a_warning(tmp_path):
    page, *_ = written(tmp_path)
    assert not list(page.all("p", class_="warning"))
    assert "LEAKS" not in page.text
    page, *_ = written(tmp_path, summary=replace(SUMMARY, protocol="test", leaks=True))
    assert "LEAKS: the test images chose the kernels" in page.one("p", class_="warning").text
    leaking = [row[0].endswith("LEAKS") for row in rows_of(next(page.all("table")))]
    assert leaking == [False, False, False, True, True]


def test_new_classes_have_a_table(tmp_path):
    taught = TaughtClassifier(0.002, Accuracy(50, 60), None)
    additions = (ClassAddition(1, taught, None), ClassAddition(5, taught, taught))
    page, *_ = written(tmp_path, summary=replace(SUMMARY, additions=additions))
    assert "New classes" in [each.text for each in page.all("h2")]
    header, body = addition_cells(additions)
    assert rows_of(list(page.all("table"))[1]) == [header, *body]


def test_it_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path):
    path, old = tmp_path / "report.html", tmp_path / "old.html"
    path.write_text("old")
    old.hardlink_to(path)
    written(tmp_path)
    assert old.read_text() == "old"
