"""Figures stay blank in tests, but for those that look at them."""

import builtins

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.layout_engine import ConstrainedLayoutEngine

EXECUTE, DRAW = ConstrainedLayoutEngine.execute, FigureCanvasAgg.draw


def leave_blank(patch):
    """To lay its figures out and draw them takes a small experiment longer than all the rest."""
    patch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: None)
    patch.setattr(FigureCanvasAgg, "draw", lambda self: self.get_renderer())


def leave_blank_for_good():
    """In a process that ends with its experiment."""
    leave_blank(builtins)


def draw(patch):
    patch.setattr(ConstrainedLayoutEngine, "execute", EXECUTE)
    patch.setattr(FigureCanvasAgg, "draw", DRAW)
