"""Turn a GGUF file into a plain half-precision model folder, in a process of its own.

Decoding takes over a gigabyte and draws progress bars; in a child process neither the caller's
memory peak nor its terminal notice. The child reports a line "fraction<TAB>what" a stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..errors import DataError
from .cache import Progress


def convert(gguf: Path, folder: Path, progress: Progress | None = None) -> None:
    """Write the model and the tokenizer of `gguf` into `folder`."""
    command = [sys.executable, "-P", "-m", __name__, str(gguf), str(folder)]
    if progress is not None:
        progress(0.0, "starting the conversion")
    quiet = {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with (
        open(folder / "conversion.log", "w+", encoding="utf-8") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **quiet}
        ) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                fraction, _, what = line.rstrip("\n").partition("\t")
                if progress is not None:
                    progress(float(fraction), what)
        except BaseException:
            child.kill()
            raise
        if child.wait() != 0:
            log.seek(0)
            reason = (log.read().strip().splitlines() or ["no reason given"])[-1]
            raise DataError(f"{gguf}: could not be converted: {reason}")
    Path(log.name).unlink()


def _report(fraction: float, what: str) -> None:
    sys.stdout.write(f"{fraction}\t{what}\n")
    sys.stdout.flush()


def _convert_here(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"gguf_file": gguf.name, "local_files_only": True}
    _report(0.05, "reading the vocabulary")
    AutoTokenizer.from_pretrained(gguf.parent, **source).save_pretrained(folder)
    _report(0.35, "decoding the weights")
    decoded = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **source)
    _report(0.9, "writing the weights")
    # transformers refuses to save a model that remembers it came from a quantised file.
    del decoded.config.quantization_config
    plain = AutoModelForCausalLM.from_config(decoded.config, dtype=torch.float16)
    plain.load_state_dict(decoded.state_dict())
    plain.generation_config = decoded.generation_config
    plain.save_pretrained(folder)
    _report(1.0, "converted")


if __name__ == "__main__":
    _convert_here(Path(sys.argv[1]), Path(sys.argv[2]))
