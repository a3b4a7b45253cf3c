"""The operators under torch's own tools: opcheck, compile, export, transforms, nested and in both modes."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs the torch extra")

from torch.autograd import gradcheck, gradgradcheck  # noqa: E402
from torch.func import grad, hessian, jacfwd, jacrev, vmap  # noqa: E402

from eigenserve.model.autograd import (  # noqa: E402
    eigh_tridiagonal,
    eigvalsh_tridiagonal,
    library,
    smoothed_eigvalsh_tridiagonal,
)

# torch's forward mode has decompositions that it still scripts.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")


def matrices(count, n, seed=0, wanted=True):
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(count, size, dtype=torch.float64, generator=generator).requires_grad_(wanted) for size in (n, n - 1)
    )


def value(diag, off_diag):
    return eigvalsh_tridiagonal(diag, off_diag, eig_idx=1)


def smoothed(diag, off_diag):
    return smoothed_eigvalsh_tridiagonal(diag, off_diag, eig_idx=1, smoothing=0.5)


def signless(diag, off_diag):
    pairs = eigh_tridiagonal(diag, off_diag, eig_idx=1, window=1)
    return pairs.eigenvalues[..., 1] + (pairs.eigenvectors**4).sum((-1, -2))


FUNCTIONS = {"value": value, "smoothed": smoothed, "vectors": signless}


def arguments(name):
    diag, off_diag = matrices(3, 4)
    values, vectors = (t.detach().requires_grad_() for t in library.eigenpairs(diag, off_diag, 1, 1))
    rhs = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    return {
        "eigenvalues": (diag, off_diag, 2),
        "eigenpairs": (diag, off_diag, 1, 1),
        "eigenvalue_gradients": (values, vectors),
        "pseudo_inverse": (diag, off_diag, values.detach(), vectors.detach(), rhs),
    }[name]


# torch's check reads .grad of every tensor of its graph.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("name", ["eigenvalues", "eigenpairs", "eigenvalue_gradients", "pseudo_inverse"])
def test_the_operator_passes_torchs_own_check(name):
    result = torch.library.opcheck(getattr(torch.ops.eigenserve, name).default, arguments(name))
    assert set(result.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_right_in_both_modes_and_batched(name):
    function, inputs = FUNCTIONS[name], matrices(2, 4)
    batched = name != "smoothed"  # its window is widened by what the values are, which batched gradients do not say
    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=batched)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True)


def test_the_operators_derivatives_are_right_when_they_are_called_by_name():
    diag, off_diag = matrices(2, 4)
    assert gradcheck(lambda d, e: library.eigenvalues(d, e, 2), (diag, off_diag), check_forward_ad=True)
    weights, vectors = arguments("eigenvalue_gradients")
    assert gradcheck(library.eigenvalue_gradients, (weights, vectors), check_forward_ad=True)
    assert gradgradcheck(library.eigenvalue_gradients, (weights, vectors))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("in_dims", [(0, 0), (0, None), (1, 0)])
def test_vmap_is_a_loop(name, in_dims):
    function = FUNCTIONS[name]
    diag, off_diag = matrices(6, 4, wanted=False)
    diag, off_diag = diag.reshape(2, 3, 4), off_diag.reshape(2, 3, 3)
    sides = (diag.movedim(0, in_dims[0]), off_diag[0] if in_dims[1] is None else off_diag)
    loop = torch.stack([function(diag[i], off_diag[0 if in_dims[1] is None else i]) for i in range(2)])
    torch.testing.assert_close(vmap(function, in_dims)(*sides), loop, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_single_samples_are_those_of_a_loop(name):
    function = FUNCTIONS[name]
    diag, off_diag = matrices(4, 4)
    by_sample = vmap(grad(lambda d, e: function(d, e) ** 2, (0, 1)))(diag.detach(), off_diag.detach())
    for i in range(4):
        loop = torch.autograd.grad(function(diag[i], off_diag[i]) ** 2, (diag, off_diag))
        for ours, truth in zip(by_sample, loop, strict=True):
            torch.testing.assert_close(ours[i], truth[i], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["value", "vectors"])
def test_hessians_agree_with_those_of_plain_autograd(name):
    diag, off_diag = matrices(1, 4, wanted=False)

    def total(d):
        return (FUNCTIONS[name](d, off_diag) ** 2).sum()

    truth = torch.autograd.functional.hessian(total, diag)
    for second in (hessian(total), jacrev(jacrev(total)), jacrev(jacfwd(total))):
        torch.testing.assert_close(second(diag), truth, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(jacfwd(total)(diag), jacrev(total)(diag), rtol=1e-10, atol=1e-10)


def test_the_third_derivative_agrees_with_differences():
    diag, off_diag = matrices(1, 3, wanted=False)

    def total(d):
        return (value(d, off_diag) ** 2).sum()

    third = jacrev(hessian(total))(diag)[0, :, 0, :, 0, :]
    step = 1e-5 * torch.eye(3, dtype=torch.float64)
    change = [(hessian(total)(diag + s) - hessian(total)(diag - s))[0, :, 0] / 2e-5 for s in step]
    torch.testing.assert_close(third, torch.stack(change, -1), rtol=1e-6, atol=1e-6)


def test_forward_mode_inside_forward_mode_is_refused_not_computed_as_zero():
    diag, off_diag = matrices(1, 3, wanted=False)
    with pytest.raises(RuntimeError, match="forward mode inside forward mode"):
        jacfwd(jacfwd(lambda d: value(d, off_diag)))(diag)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_code_is_one_graph_for_every_batch_size_with_the_same_gradients(name):
    function = FUNCTIONS[name]
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch._dynamo.config.patch(error_on_recompile=True):
        for count in (6, 7, 33):
            inputs = matrices(count, 4, seed=count)
            ours, truth = compiled(*inputs), function(*inputs)
            torch.testing.assert_close(ours, truth, rtol=0, atol=1e-12)
            for a, b in zip(
                torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(truth.sum(), inputs), strict=True
            ):
                torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_transforms_can_be_compiled():
    torch._dynamo.reset()
    diag, off_diag = matrices(5, 4, wanted=False)

    def by_sample(d, e):
        return vmap(grad(lambda a, b: value(a, b) ** 2))(d, e)

    compiled = torch.compile(by_sample, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(diag, off_diag), by_sample(diag, off_diag), rtol=0, atol=1e-12)


def test_without_a_gradient_no_vector_is_computed(monkeypatch):
    calls = []
    from eigenserve.model.autograd import kernels

    monkeypatch.setattr(kernels, "eigenpairs", lambda *args: calls.append(args))
    diag, off_diag = matrices(3, 4, wanted=False)
    truth = library.eigenvalues(diag, off_diag, 1)
    assert torch.equal(value(diag, off_diag), truth)
    with torch.no_grad():
        assert torch.equal(value(diag.requires_grad_(), off_diag), truth)
    torch._dynamo.reset()
    compiled = torch.compile(value, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(diag.detach(), off_diag), truth)
    assert not calls


def test_mistakes_in_an_operators_arguments_are_named():
    diag, off_diag = matrices(3, 4)
    with pytest.raises(TypeError, match="must be float64"):
        library.eigenvalues(diag.float(), off_diag, 0)
    with pytest.raises(ValueError, match=r"eig_idx must be in \[0, 4\); got 4"):
        library.eigenpairs(diag, off_diag, 4, 0)
    with pytest.raises(ValueError, match=r"off_diag \(M, n - 1\)"):
        library.eigenvalues(diag, diag, 0)


class Value(torch.nn.Module):
    def forward(self, diag, off_diag):
        return value(diag, off_diag)


def test_an_exported_graph_is_saved_and_loaded_in_another_process(tmp_path):
    diag, off_diag = matrices(6, 4, wanted=False)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(
        Value(), (diag, off_diag), dynamic_shapes={"diag": {0: batch}, "off_diag": {0: batch}}
    )
    torch.export.save(exported, tmp_path / "graph.pt2")
    torch.save((diag[:3], off_diag[:3], value(diag[:3], off_diag[:3])), tmp_path / "case.pt")
    code = (
        "import sys, torch, eigenserve.torch\n"
        "graph = torch.export.load(sys.argv[1]).module()\n"
        "diag, off_diag, truth = torch.load(sys.argv[2])\n"
        "assert torch.equal(graph(diag, off_diag), truth)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "graph.pt2"), str(tmp_path / "case.pt")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
