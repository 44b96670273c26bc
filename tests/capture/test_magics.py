from __future__ import annotations

import ast

import pytest

from lossproof.capture.magics import as_python

UNTOUCHED = [
    "x = 1\ny = (x\n     % 2)\n",
    "text = '''\n%matplotlib inline\n!pip install x\nwhat?\n'''\n",
    "x = 5 \\\n% 3\n",
    "d = {\n    'a': 1,  # why?\n}\n",
    "s = 'is it?'  # yes?",
    "",
    "\n\n",
    "x == 1 != 2",
]


@pytest.mark.parametrize("source", UNTOUCHED)
def test_python_is_left_alone(source):
    assert as_python(source).source == source
    assert as_python(source).left_out == ()


REPLACED = {
    "%matplotlib inline\nx = 1": ("pass\nx = 1", []),
    "x = 1\n  \n%load_ext autoreload\n%autoreload 2": ("x = 1\n  \npass\npass", []),
    "!pip install -q keras": ("pass", [1]),
    "!!ls": ("pass", [1]),
    "%pip install keras": ("pass", [1]),
    "pip install keras": ("pass", [1]),
    "conda install -y keras": ("pass", [1]),
    "%cd data\n%run setup.py": ("pass\npass", [1, 2]),
    "if True:\n    !ls\n    %timeit f()\nelse:\n\t%pip install x": (
        "if True:\n    pass\n    pass\nelse:\n\tpass",
        [2, 5],
    ),
    "!pip install \\\n  keras \\\n  numpy\nx = 1": ("pass\n\n\nx = 1", [1]),
    "?print": ("pass", []),
    "print?": ("pass", []),
    "keras.Model.fit??": ("pass", []),
    "x.y?  # what is it?": ("pass", []),
    "files = !ls data": ("files = []", [1]),
    "a, b = !ls": ("a, b = []", [1]),
    "    \nx = %timeit -o f()": ("    \nx = None", [2]),
    "self.x['a'] = %who_ls": ("self.x['a'] = None", [1]),
    "%time model.fit(x, y)": ("model.fit(x, y)", []),
    "%time h = model.fit(x,\n    y)\n%time": ("h = model.fit(x,\n    y)\npass", []),
    "for i in a:\n    %time f(i)": ("for i in a:\n    f(i)", []),
    "%env KERAS_BACKEND=jax": ("__import__('os').environ['KERAS_BACKEND'] = 'jax'", []),
    "%env KERAS_BACKEND = jax": ("__import__('os').environ['KERAS_BACKEND'] = 'jax'", []),
    "%set_env A it's b": ("__import__('os').environ['A'] = \"it's b\"", []),
    "%%time\nx = 1": ("\nx = 1", []),
    "\n%%capture out\n\nx = 1": ("\n\n\nx = 1", []),
    "%%time\n%%capture\n!ls\nx = 1": ("\n\npass\nx = 1", [3]),
    "%%timeit -n 3\nx = '''\n!no\n'''": ("\nx = '''\n!no\n'''", []),
    "%%time": ("", []),
    "%%bash\nls -l\necho 'it''s'": ("\n\n", [1]),
    "%%html\n<b>x = 1</b>": ("\n", [1]),
    "%%writefile a.py\nx = 1\n": ("\n\n", [1]),
    "%%R -i x\nx <- 1": ("\n", [1]),
    # What surrounds a magic is read as Python, to know where a statement begins.
    "!ls\ntext = '''\n!ls\n'''\n!ls": ("pass\ntext = '''\n!ls\n'''\npass", [1, 5]),
    "!ls\nx = (1\n%2)\n!ls": ("pass\nx = (1\n%2)\npass", [1, 4]),
    "!ls\nx = 5 \\\n%3": ("pass\nx = 5 \\\n%3", [1]),
    "!ls\nx = 'a\\\n!b'\n!c": ("pass\nx = 'a\\\n!b'\npass", [1, 4]),
    "!ls\nx = '(' + \"[\" + r'{'  # ( [ {\n!ls": ("pass\nx = '(' + \"[\" + r'{'  # ( [ {\npass", [1, 3]),
    "!ls\nx = 'it\\'s (' ; y = '''a''' '\"'\n!ls": ("pass\nx = 'it\\'s (' ; y = '''a''' '\"'\npass", [1, 3]),
    "!echo 'it\nx = {\n'a': 1}\n!ls": ("pass\nx = {\n'a': 1}\npass", [1, 4]),
    "  x = 1\n  !ls\n  if x:\n    !ls": ("x = 1\npass\nif x:\n  pass", [2, 4]),
    "!ls\nf'{x!r}' '%d' % 3\nx != y\n!ls": ("pass\nf'{x!r}' '%d' % 3\nx != y\npass", [1, 4]),
}


@pytest.mark.parametrize("source", REPLACED)
def test_ipython_becomes_python(source):
    expected, lines = REPLACED[source]

    python = as_python(source)

    assert python.source == expected
    assert [line for line, _ in python.left_out] == lines
    assert [text for _, text in python.left_out] == [source.split("\n")[line - 1].strip() for line in lines]


@pytest.mark.parametrize("source", [*UNTOUCHED, *REPLACED])
def test_no_line_is_shifted(source):
    assert as_python(source).source.count("\n") == source.count("\n")


@pytest.mark.parametrize("source", REPLACED)
def test_the_result_is_python(source):
    ast.parse(as_python(source).source)


@pytest.mark.parametrize("source", ["x = = 1\ny = 2", "def f(:\n    pass", "x = 'abc\n!ls", "(\n!ls", "x = 1 2"])
def test_wrong_python_stays_wrong(source):
    """The error must be found where the user made it, not be replaced away."""
    with pytest.raises(SyntaxError) as theirs:
        ast.parse(source)
    with pytest.raises(SyntaxError) as ours:
        ast.parse(as_python(source).source)

    assert ours.value.lineno == theirs.value.lineno
