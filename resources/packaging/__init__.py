"""How ``build_app.py`` makes the folder build: a module for each of its steps. None of it is in the build itself."""
