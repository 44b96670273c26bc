from __future__ import annotations

import importlib.util
import json
import linecache
import os
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

import lossproof
from lossproof.capture import userfiles
from lossproof.capture.userfiles import cell_filename, is_user_file, split_cell


@pytest.fixture(autouse=True)
def _fresh():
    is_user_file.cache_clear()
    yield
    is_user_file.cache_clear()


def made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_a_script_and_its_neighbours_are_the_users(tmp_path):
    assert is_user_file(made(tmp_path / "train.py"))
    assert is_user_file(made(tmp_path / "package/losses.py"))
    assert is_user_file(__file__)


def test_a_relative_name_counts_from_the_working_directory(folder):
    made(folder / "train.py")

    assert is_user_file("train.py")
    assert not is_user_file("other.py")


@pytest.mark.parametrize("module", [json, os, np, pytest, lossproof, userfiles], ids=lambda module: module.__name__)
def test_libraries_and_ourselves_are_not(module):
    assert not is_user_file(module.__file__)
    assert not is_user_file(os.path.realpath(module.__file__))


def test_keras_is_not():
    package = Path(importlib.util.find_spec("keras").origin)  # not imported: it takes seconds
    losses = package.parent / "src/losses/losses.py"

    assert losses.exists()
    assert not is_user_file(str(package))
    assert not is_user_file(str(losses))


def test_commands_are_not():
    assert not is_user_file(str(Path(sysconfig.get_path("scripts")) / "pytest"))


@pytest.mark.parametrize(
    "name", ["<string>", "<stdin>", "<frozen importlib._bootstrap>", "<__array_function__ internals>", "<x>"]
)
def test_what_is_no_file_is_not(name):
    assert not is_user_file(name)


def test_names_that_extensions_give_their_code_are_not(folder):
    assert not is_user_file("pandas/_libs/index.pyx")
    assert not is_user_file("/build/numpy/random/mtrand.pyx")


@pytest.mark.parametrize(
    "path",
    [
        ".venv/lib/python3.11/site-packages/keras/losses.py",
        "venv/lib/python3.12/site-packages/mine.py",
        "env/lib/python3/dist-packages/mine.py",
    ],
)
def test_an_environment_inside_the_project_is_not(path, tmp_path):
    assert not is_user_file(made(tmp_path / path))


def test_a_package_linked_into_an_environment_from_a_store_is_not(tmp_path):
    """As `uv` installs: the real file lies anywhere."""
    real = Path(made(tmp_path / "store/abc/mine.py"))
    link = tmp_path / ".venv/lib/python3.11/site-packages/mine.py"
    link.parent.mkdir(parents=True)
    link.symlink_to(real)

    assert not is_user_file(str(link))


def test_an_editable_install_of_the_users_is_the_users(tmp_path, monkeypatch):
    """Its files lie in the project; that the package is importable as an installed one makes no difference."""
    source = tmp_path / "project/src/mylosses/__init__.py"
    made(source)
    monkeypatch.syspath_prepend(str(source.parents[1]))
    monkeypatch.setitem(sys.modules, "mylosses", importlib.import_module("mylosses"))

    assert is_user_file(sys.modules["mylosses"].__file__)


@pytest.mark.parametrize("name", ["keras", "tensorflow", "torch", "jax", "lossproof"])
def test_an_editable_install_of_a_framework_is_not(name, tmp_path, monkeypatch):
    """Who works on Keras itself has it in a folder of their own; scripts beside the package are theirs."""
    package = tmp_path / "checkout" / name
    inside, beside = made(package / "src/losses.py"), made(package.parent / "examples/train.py")
    module = type(sys)(name)
    module.__path__ = [str(package)]
    monkeypatch.setitem(sys.modules, name, module)

    assert not is_user_file(inside)
    assert is_user_file(beside)


def test_a_module_named_like_a_framework_does_not_hide_the_project(tmp_path, monkeypatch):
    """A user's `torch.py` is no package: the folder it lies in stays the user's."""
    module = type(sys)("torch")
    module.__file__ = made(tmp_path / "torch.py")
    monkeypatch.setitem(sys.modules, "torch", module)

    assert is_user_file(str(tmp_path / "train.py")) is False  # there is no such file
    assert is_user_file(module.__file__)


def test_a_project_under_the_prefix_is_the_users(tmp_path, monkeypatch):
    """/usr/src/app under the prefix /usr, or an environment made in the project's own folder."""
    prefix = tmp_path / "usr"
    paths = {
        "stdlib": prefix / "lib/python3.11",
        "platstdlib": prefix / "lib/python3.11",
        "purelib": prefix / "lib/python3.11/site-packages",
        "platlib": prefix / "lib/python3.11/site-packages",
        "scripts": prefix / "bin",
    }
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(paths[name]))
    userfiles._interpreter_folders.cache_clear()
    try:
        assert is_user_file(made(prefix / "src/app/train.py"))
        assert is_user_file(made(prefix / "train.py"))
        assert not is_user_file(made(prefix / "lib/python3.11/json/decoder.py"))
        assert not is_user_file(made(prefix / "bin/lossproof"))
    finally:
        userfiles._interpreter_folders.cache_clear()


def test_generated_code_is_not(tmp_path):
    assert not is_user_file(made(tmp_path / "__autograph_generated_file1a2b.py"))
    assert not is_user_file(made(tmp_path / "torchinductor_me/ab/cab.py"))


def test_cells_are_the_users(monkeypatch):
    monkeypatch.setitem(linecache.cache, "/tmp/ipykernel_1/2.py", (1, None, ["x\n"], ""))

    assert is_user_file(cell_filename("/home/me/a.ipynb", 3))
    assert is_user_file("/tmp/ipykernel_1/2.py")
    assert is_user_file("<ipython-input-3-0a1b2c>")


@pytest.mark.parametrize("notebook", ["a.ipynb", "/home/me/my cell 2/a b.ipynb", "cell 1.ipynb"])
def test_a_cells_name_is_read_back(notebook):
    assert split_cell(cell_filename(notebook, 12)) == (notebook, 12)
    assert split_cell(notebook) is None
