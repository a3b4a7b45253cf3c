"""The operators of small layers under torch's own check, in both modes, and batched over inputs and matrices."""

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from eigenserve.model.torch import affine_library  # noqa: E402
from eigenserve.torch import SpectralLayer  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")


def arguments():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()

    x, matrices, grad = draw(3, 2), draw(3, 2, 5), draw(3, 2)
    vectors = affine_library.affine_eigenpairs(x, matrices, 1)[1].detach().requires_grad_()
    return {
        "affine_eigenpairs": (x, matrices, 1),
        "affine_input_gradient": (grad, matrices, vectors),
        "affine_matrix_gradient": (grad, x, vectors),
    }


NAMES = ["affine_eigenpairs", "affine_input_gradient", "affine_matrix_gradient"]


# torch's check reads .grad of every tensor of its graph.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_the_operator_passes_torchs_own_check(name):
    result = torch.library.opcheck(getattr(torch.ops.eigenserve, name).default, arguments()[name])
    assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_are_right_in_both_modes(name):
    operator = getattr(affine_library, name)

    def signless(*args):
        out = operator(*args)
        return (out[0], out[1] ** 2) if isinstance(out, tuple) else out

    assert gradcheck(signless, arguments()[name], check_forward_ad=True)
    assert gradgradcheck(signless, arguments()[name], check_fwd_over_rev=True)


def test_layers_stacked_into_one_are_a_loop_with_the_same_gradients():
    layers = [SpectralLayer(2, 3, 5, dtype=torch.float64) for _ in range(4)]
    parameters, buffers = torch.func.stack_module_state(layers)
    x = torch.randn(6, 2, dtype=torch.float64)

    def total(values):
        outputs = torch.func.vmap(lambda p: torch.func.functional_call(layers[0], (p, buffers), (x,)))(values)
        return (outputs**2).sum(), outputs

    gradient, outputs = torch.func.grad(total, has_aux=True)(parameters)
    for i, layer in enumerate(layers):
        torch.testing.assert_close(outputs[i], layer(x), rtol=0, atol=1e-12)
        (truth,) = torch.autograd.grad((layer(x) ** 2).sum(), layer.matrices)
        torch.testing.assert_close(gradient["matrices"][i], truth, rtol=1e-10, atol=1e-10)
