"""The frame of all pages, and the small parts that they are made of."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from experiments.app.store import NotFoundError
from experiments.console import no_access
from slicing.errors import InputError

TITLE = "Photos in, classifier out"
COOKIE = "look"
"""What a browser keeps of how somebody likes the pages."""

LOOKS: dict[str, bool | None] = {"light": False, "dark": True, "auto": None}
"""What that may be, and whether it is dark; None: as the browser's system."""

_STYLE = Path(__file__).with_name("style.css")
_PLACES = (("/", "Photos"), ("/jobs", "Jobs"))
_NEXT = {"auto": ("dark", "Dark"), "dark": ("light", "Light"), "light": ("auto", "Automatic")}

# Quasar's own has a control within a control.
_UPLOAD = """
<div class="line drop">
  <q-btn class="{look}" no-caps unelevated label="TEXT" :disable="!props.canAddFiles"
    @click="props.pickFiles"></q-btn>
  <span class="soft">NOTE</span>
  <span v-if="props.isUploading" role="status">{{{{ props.uploadProgressLabel }}}}</span>
  <span style="display: none"><q-uploader-add-trigger></q-uploader-add-trigger></span>
</div>
"""

Found = TypeVar("Found")


@contextmanager
def frame(title: str, place: str = "") -> Iterator[None]:
    """Draw what all pages have; the body is what this one has."""
    ui.page_title(f"{title} · {TITLE}")
    ui.add_css(_STYLE.read_text("utf-8"))
    look = _look()
    ui.dark_mode(LOOKS[look])
    with ui.header(), ui.element("nav").classes("bar").props('aria-label="Pages"'):
        link("knn-slicing", "/").classes("brand")
        for path, name in _PLACES:
            link(name, path).props('aria-current="page"' if path == place else "")
        following, name = _NEXT[look]
        link(name, f"/look/{following}").props('title="Change how the pages look"')
    # Quasar's own page is the main element.
    with ui.element("div").classes("content") as content:
        yield
    ui.skip_link(target=content)


def missing(error: NotFoundError) -> None:
    """Draw the page of what is not there."""
    with frame("Not here"):
        words("h1", "That is not here")
        words("p", str(error))
        with ui.element("div"):
            link("To the photos", "/")


def _look() -> str:
    request = ui.context.client.request
    look = request.cookies.get(COOKIE, "auto") if request else "auto"
    return look if look in LOOKS else "auto"


def words(tag: str, text: str, classes: str = "") -> TextElement:
    """Write a text, whatever it holds, as an element."""
    return TextElement(tag=tag, text=text).classes(classes)


def link(text: str, target: str) -> TextElement:
    """Lead to another page."""
    element = words("a", text)
    element.props["href"] = target
    return element


def button(text: str, act: Callable[[], object], is_main: bool = False) -> ui.button:
    """Draw a button; a page has one main one."""
    look = "main-button" if is_main else "plain-button"
    return ui.button(text, on_click=act, color=None).props("no-caps unelevated").classes(look)


def card(title: str = "") -> ui.element:
    """Draw a box; what is drawn within belongs to it."""
    with ui.element("section").classes("card") as section:
        if title:
            words("h2", title)
    return section


def figure(name: str, value: str, note: str = "") -> None:
    """Show a figure, what it is, and what belongs to it."""
    with ui.element("div"):
        words("div", name, "soft")
        words("div", value, "figure")
        if note:
            words("div", note, "soft")


def label_upload(upload: ui.upload, text: str, note: str, is_main: bool = False) -> None:
    """Draw the head of an upload so that keyboards and screen readers can use it, too."""
    template = _UPLOAD.format(look="main-button" if is_main else "plain-button")
    upload.add_slot("header", template.replace("TEXT", text).replace("NOTE", note))


def thumbnail(source: str, described: str, classes: str = "photo") -> ui.element:
    """Show a photo, small, when it comes into view."""
    image = ui.element("img").classes(classes)
    image.props["src"], image.props["alt"], image.props["loading"] = source, described, "lazy"
    return image


def watch(seconds: float, read: Callable[[], Found], show: Callable[[Found], None]) -> None:
    """Read something again and again, in a thread, and show it where it has changed."""
    shown: list[Found] = []

    async def look() -> None:
        try:
            found = await asyncio.to_thread(read)
        except NotFoundError as error:
            timer.deactivate()
            ui.notify(str(error), type="warning")
            return
        if not timer.is_deleted and shown != [found]:
            shown[:] = [found]
            show(found)

    timer = ui.timer(seconds, look)


@contextmanager
def telling_mistakes() -> Iterator[None]:
    """Show what somebody can mend as one sentence."""
    try:
        yield
    except (InputError, OSError) as error:
        said = no_access(error) if isinstance(error, OSError) else str(error)
        ui.notify(said, type="negative", multi_line=True, close_button="Close", timeout=0)
