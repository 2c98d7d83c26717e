"""What goes into the build and what stays out of it, as data."""

from __future__ import annotations

import platform
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "fluoroscope"
INNER = "_internal"  # where PyInstaller puts everything but the program itself

PACKAGES = ("app", "engine")  # every module of them: families and panels are found by name
DATA = "resources"  # every file of it but those named below
NOT_DATA = (
    "*.py",
    "*.pyc",
    "packaging/*",
    "packaging/*/*",
    "demo_model/training.json",
    "demo_model/figures.json",
)  # how the model was trained and measured is for those who do it again

# Nothing on the list above names these in an import statement that PyInstaller can see.
HIDDEN = ("huggingface_hub.hf_api", "huggingface_hub.errors", "huggingface_hub.utils", "PySide6.QtSvg")
OPTIONAL = ("keyring",)  # taken along where it is installed

# Installed beside the program, and either never used by it or only by parts of others that it never calls.
EXCLUDED = (
    *("tkinter", "_tkinter", "turtle", "idlelib", "ensurepip", "lib2to3", "pydoc_data"),
    *("readline", "rlcompleter", "curses", "_curses", "sqlite3"),  # readline would put the GPL on the whole
    *("pip", "setuptools", "wheel", "pkg_resources", "_distutils_hack"),
    *("matplotlib", "scipy", "pandas", "numba", "llvmlite", "cupy", "sklearn", "h5py", "PIL", "cv2", "tensorboard"),
    *("IPython", "ipykernel", "jupyter", "notebook", "pytest", "_pytest", "hypothesis", "mypy", "ruff", "coverage"),
    *("transformers", "accelerate", "tensorflow", "jax", "onnx", "onnxruntime", "sentencepiece", "torchvision"),
    "imageio_ffmpeg",  # 170 MB under the GPL: a packaged program records with the ffmpeg of the computer
    *("torch.utils.tensorboard", "torch.utils.benchmark", "triton", "expecttest"),
    *("PyQt5", "PyQt6", "PySide2", "pyqtgraph.examples", "pyqtgraph.opengl", "OpenGL"),
    *("PySide6.QtQml", "PySide6.QtQuick", "PySide6.QtQuickWidgets", "PySide6.QtQuickControls2", "PySide6.QtSql"),
    *("PySide6.QtDesigner", "PySide6.QtHelp", "PySide6.QtUiTools", "PySide6.QtXml", "PySide6.QtNetwork"),
    *("PySide6.QtPrintSupport", "PySide6.QtConcurrent", "PySide6.QtQuickTest", "resources.packaging", "tests"),
)

# Removed after the build, below INNER: tests and exporters of torch that are never imported, the toolkit's texts in
# languages that the program does not speak, a theme that would bring a second toolkit, keyboards on screen.
# torch/bin (it starts processes that share memory), distributed and _export must stay.
PRUNED = (
    *("torch/test", "torch/testing", "torch/onnx", "torch/include", "torch/share", "torch/lib/*.a"),
    *("torch/bin/*[Tt]est*", "torch/bin/protoc*", "torch/lib/libtorchbind_test.*", "torch/lib/libjitbackend_test.*"),
    *("torch/lib/libbackend_with_compiler.*", "torch/lib/libaoti_custom_ops.*"),
    *("PySide6/**/[!q]*.qm", "PySide6/**/qt[!b]*.qm", "PySide6/**/qtbase_[!z]*.qm", "PySide6/**/qtbase_zh_TW.qm"),
    *("PySide6/**/qml", "PySide6/**/metatypes"),
    *("PySide6/**/platformthemes/*gtk3*", "PySide6/**/platforminputcontexts/*virtualkeyboard*"),
    *("PySide6/**/platforms/*vnc*", "PySide6/**/platforms/*vkkhr*", "PySide6/**/platforms/*linuxfb*"),
    *("PySide6/**/platforms/*eglfs*", "PySide6/**/platforms/*minimal*", "PySide6/**/egldeviceintegrations"),
    *("PySide6/**/imageformats/*pdf*", "PySide6/**/imageformats/*tga*", "PySide6/**/imageformats/*tiff*"),
    *("PySide6/**/imageformats/*wbmp*", "PySide6/**/imageformats/*webp*", "PySide6/**/generic/*"),
    *("PySide6/**/networkinformation", "PySide6/**/tls", "PySide6/**/sqldrivers", "PySide6/**/printsupport"),
    *("pyqtgraph/examples", "numpy/**/tests", "numpy/f2py", "**/__pycache__"),
)

# Loose libraries are removed when nothing asks for them any more, but for those that the program itself opens.
OPENED_BY_NAME = ("libpython*",)

MIB = 1024 * 1024


def data_files(root: Path = ROOT) -> list[Path]:
    """Every file of the program that is no code, relative to ``root``."""
    found = sorted(path for path in (root / DATA).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return [path.relative_to(root) for path in found if not _left_out(path.relative_to(root / DATA))]


def modules(root: Path = ROOT) -> list[str]:
    """The program's own modules by name."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    names = (".".join(path.relative_to(root).with_suffix("").parts) for path in paths)
    return [name.removesuffix(".__init__") for name in names]


def platform_name() -> str:
    """ "linux-x86_64", "windows-amd64", "macos-arm64"."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    return f"{system}-{platform.machine().lower()}"


def _left_out(path: Path) -> bool:
    return any(path.match(pattern) for pattern in NOT_DATA)
