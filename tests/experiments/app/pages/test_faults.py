"""What a look at photos found, with the photos that it is about."""

from experiments.app.pages.faults import faults_of


def test_faults_have_their_photos(dataset):
    photos = dataset.photos()
    root = dataset.images
    names = [str(each.path.relative_to(root)) for each in photos]

    def image(number):
        return {"path": names[number], "label": photos[number].label, "part": "train"}

    figures = {
        "root": str(root),
        "unreadable": {names[2]: "truncated", "gone.png": "truncated"},
        "copies": [
            {"images": [image(0), image(4)], "identical": True},
            {"images": [image(1), image(3)], "identical": True},
        ],
        "label_errors": [{"image": image(5), "probable": "cat"}],
    }
    unreadable, copies, errors = faults_of(dataset, figures)
    assert [(each.number, note) for each, note in unreadable.photos] == [(2, "truncated")]
    assert [each.number for each, _ in copies.photos] == [0, 4]
    assert [(each.number, note) for each, note in errors.photos] == [
        (5, f"is in {photos[5].label}, rather cat")
    ]
    assert [each.is_certain for each in (unreadable, copies, errors)] == [True, True, False]


def test_nothing_is_no_fault(dataset):
    figures = {"root": "/", "unreadable": {}, "copies": [], "label_errors": []}
    assert faults_of(dataset, figures) == []
