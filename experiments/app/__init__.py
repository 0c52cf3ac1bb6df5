"""The app: photos in, classifier out, in a browser and over HTTP.

It reads folders and starts command lines. All that it knows is in files: a restart loses nothing.
"""
