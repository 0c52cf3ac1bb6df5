"""Work for executors; whoever does it in another process imports no more than this."""

import os


def half(task):
    if task == "deadly":
        os._exit(7)
    return task / 2


class Deadly:
    """Dies over every task, at first before it asks for the network."""

    def __init__(self, deaths):
        self.deaths = deaths

    def __call__(self, task):
        if task.stack is None and self.deaths.read_text():
            return
        with self.deaths.open("a") as file:
            file.write("died\n")
        os._exit(7)
