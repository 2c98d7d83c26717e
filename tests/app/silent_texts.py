"""What reads like a sentence in the source and is told to nobody in the window: names, code, words of the log."""

FILES = (
    *("engine/point_code.py", "engine/edit_code.py"),  # code
    *("engine/checkpoint/traits.py", "engine/pre_tokenizers.py"),  # the command line's, and names
)
WHOLE = ("app/export.py",)  # of which sentences are told and nothing less: the rest goes into files
TEXTS = (
    *("module {0} has no attribute {1}", "hugging face hub", "Bearer {0}", "bytes {0}-", "{0}, text/html;q=0.5"),
    "a model has bytes",
    *("Fluoroscope demo", "A small mixture of experts that was trained for this program: it is there at once."),
    *("final norm", "attention out", "mlp out", "gate up"),  # stages
    *("router entropy", "not the best", "not finite", "knock out", "next layer", "end of sequence", "full context"),
    *("g = W_gate x", "u = W_up x", "ℓ = W_router x", "W_down post"),
    *("safetensors {0}", "{0} bias", "{0} scale", "rope divisors", "pip download"),  # what tensors are called
    *("fluoroscope engine", "fluoroscope {0}", "fluoroscope download {0}", "fluoroscope headers"),  # threads
    *("fluoroscope run", "forget folders", "forget token", "delete {0}", "given up"),
    "fluoroscope: {0} cannot be written ({1}).",
)
