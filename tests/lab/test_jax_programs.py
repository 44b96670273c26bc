"""Functions of JAX as one program: the same numbers as eagerly, a NaN included, compiled once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.backend("jax")


@pytest.fixture
def programs() -> Any:
    from lossproof.lab.backends.jax_programs import Programs

    return Programs()


def test_a_nan_of_eager_execution_is_met(programs: Any) -> None:
    import jax.numpy as jnp

    x = jnp.asarray([0.0, 1.0, 2.0])

    def masked(x: Any) -> Any:  # the product of a mask and -inf: compiled as usual XLA makes it a select, and 0
        return (x > 0.0).astype("float32") * jnp.log(x)

    assert np.isnan(np.asarray(masked(x))[0])
    found = np.asarray(programs.prepared(masked, x)(x))
    np.testing.assert_allclose(found, [np.nan, 0.0, np.log(2.0)], rtol=1e-6)


def test_what_it_closes_over_is_data(programs: Any) -> None:
    import jax.numpy as jnp

    random = np.random.default_rng(0)
    arrays = [random.normal(size=(5, 3)).astype("float32") for _ in range(3)]
    for array in arrays:
        weights = jnp.asarray(array)
        found = programs.prepared(lambda x, w=weights: {"sum": jnp.sum(x @ w)}, jnp.ones((2, 5)))(jnp.ones((2, 5)))
        np.testing.assert_allclose(float(found["sum"]), 2.0 * array.sum(dtype="float64"), rtol=1e-5)
    assert len(programs._compiled) == 1


def test_other_operations_are_another_program(programs: Any) -> None:
    import jax.numpy as jnp

    x = jnp.asarray([1.0, 2.0])
    assert float(programs.prepared(lambda x: jnp.sum(1.0000001 * x), x)(x)) == pytest.approx(3.0)
    assert float(programs.prepared(lambda x: jnp.sum(1.0000002 * x), x)(x)) == pytest.approx(3.0)
    assert len(programs._compiled) == 2


def test_a_function_that_looks_at_values_runs_as_it_is(programs: Any) -> None:
    import jax.numpy as jnp

    def looks(x: Any) -> Any:
        return x * 2.0 if float(x[0]) > 0.0 else x

    x = jnp.asarray([1.0, 3.0])
    assert programs.prepared(looks, x) is looks


def test_its_own_errors_are_raised(programs: Any) -> None:
    import jax.numpy as jnp

    def fails(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        programs.prepared(fails, jnp.ones(2))(jnp.ones(2))


def test_inside_of_a_trace_it_is_part_of_it(programs: Any) -> None:
    import jax
    import jax.numpy as jnp

    def double(x: Any) -> Any:
        return 2.0 * x

    np.testing.assert_array_equal(jax.jit(lambda x: programs.prepared(double, x)(x))(jnp.ones(3)), 2.0 * np.ones(3))
    assert not programs._compiled


def test_tensors_made_inside_of_a_trace_are_concrete() -> None:
    import jax

    from lossproof.lab.backends import running_backend

    made = []

    def program(x: Any) -> Any:
        made.append(running_backend().tensor(np.arange(3.0), dtype="float32"))
        return x + made[0]

    jax.make_jaxpr(program)(np.ones(3, "float32"))
    assert running_backend().is_concrete(made[0])
