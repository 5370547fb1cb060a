"""Runner of the laws, and the comparisons that they use."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gtl.errors import ConfigError, LawError
from gtl.graph import Graph

Trial = TypeVar("Trial")
Law = Callable[[Trial], None]


def obey(subject: Any, trial: Trial, laws: Sequence[Law], skip: Collection[str] = ()) -> None:
    """Run the laws on a trial; the global random state is afterwards what it was.

    Args:
        subject: The part, named in messages.
        trial: What each law is called with.
        laws: Functions whose name and docstring state the law.
        skip: Names of laws that do not apply.

    Raises:
        LawError: Naming the first law that is broken, what came and what was expected.
        ConfigError: If ``skip`` names a law that there is not.
    """
    names = {law.__name__ for law in laws}
    for name in skip:
        if name not in names:
            raise ConfigError(f"`skip` names {name!r}, which is no law; laws: {sorted(names)}")
    for law in laws:
        if law.__name__ in skip:
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            try:
                law(trial)
            except Exception as error:
                kind = "" if isinstance(error, LawError) else f"raised {type(error).__name__}: "
                sentence = (law.__doc__ or "").strip().split("\n")[0]
                raise LawError(
                    f"{describe(subject)} with {trial} breaks the law "
                    f"`{law.__name__}` ({sentence}): {kind}{error}"
                ) from error


def require(holds: bool | Tensor, came: str, expected: str) -> None:
    """Raise a :class:`LawError` with what came and what was expected unless ``holds``."""
    if not holds:
        raise LawError(f"{came}; expected {expected}")


def require_finite(name: str, value: Tensor) -> None:
    """Require that a tensor has no NaN and no infinity."""
    bad = int((~value.isfinite()).sum())
    require(bad == 0, f"{bad} of {value.numel()} values of {name} are NaN or infinite", "none")


def require_close(name: str, came: Tensor, expected: Tensor, tolerance: float = 1e-9) -> None:
    """Require that two tensors agree up to ``tolerance`` relative to the largest value."""
    require(
        came.shape == expected.shape,
        f"{name} has shape {tuple(came.shape)}",
        f"{tuple(expected.shape)}",
    )
    require_finite(name, came)
    if came.numel():
        scale = max(float(expected.detach().abs().max()), 1.0)
        error = float((came - expected).detach().abs().max()) / scale
        require(error <= tolerance, f"{name} is off by {error:.2g}", f"at most {tolerance:.2g}")


def same(a: Any, b: Any) -> bool:
    """Whether two values are equal bit for bit, down to the tensors inside."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        alike = isinstance(a, Tensor) and isinstance(b, Tensor)
        return alike and a.dtype == b.dtype and a.shape == b.shape and _equal(a, b)
    if isinstance(a, Graph) and isinstance(b, Graph):
        return same(graph_fields(a), graph_fields(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return type(a) is type(b) and bool(a == b)


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.nan_to_num(), b.nan_to_num()) and torch.equal(a.isnan(), b.isnan())


def graph_fields(graph: Graph) -> dict[str, Any]:
    """Fields of a graph by name, what it remembers left out."""
    names = [field.name for field in dataclasses.fields(graph)]
    return {name: getattr(graph, name) for name in names if not name.startswith("_")}


def copied(value: Any) -> Any:
    """A copy whose tensors share no memory with those of ``value``."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Graph):
        return Graph(**copied(graph_fields(value)))
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [copied(item) for item in value]
    return value


def generator(seed: int) -> torch.Generator:
    """A CPU generator with a seed."""
    return torch.Generator().manual_seed(seed)


def loosened(module: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter a little, in place.

    Zero biases put a ReLU of an isolated node exactly on its kink, where differences and
    derivatives rightly disagree.
    """
    rng = generator(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
            parameter.add_(0.05 * noise.to(parameter))
    return module


def values_at(module: nn.Module, parameters: Mapping[str, Tensor], *inputs: Any) -> Any:
    """Output of a module at other parameters, buffers and random state left alone."""
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return functional_call(module, {**buffers, **parameters}, inputs)


def require_true_derivatives(
    value: Callable[[dict[str, Tensor]], Tensor], point: Mapping[str, Tensor]
) -> None:
    """Require that first and second derivatives agree with central differences in float64.

    Checked along one random direction ``v`` of length 1 (a longer one would step over kinks): the
    slope, and the whole vector Hessian times ``v``.

    Args:
        value: Scalar function of tensors by name.
        point: Where to look.
    """
    point = {name: tensor.detach().requires_grad_() for name, tensor in point.items()}
    size, v = 1e-5, _direction(point)

    def moved(step: float) -> dict[str, Tensor]:
        return {
            name: (tensor + step * v[name]).detach().requires_grad_()
            for name, tensor in point.items()
        }

    first = _gradient(value(point), point, create_graph=True)
    slope = torch.stack([(first[name] * v[name]).sum() for name in point]).sum()
    ahead, behind = moved(size), moved(-size)
    above, below = value(ahead), value(behind)
    _require_near("slope along a direction", slope, (above - below) / (2 * size))
    up, down = _gradient(above, ahead), _gradient(below, behind)
    bent = {name: (up[name] - down[name]) / (2 * size) for name in point}
    flat = not slope.requires_grad
    second = dict.fromkeys(point, torch.zeros(())) if flat else _gradient(slope, point)
    whole = float(torch.cat([values.flatten() for values in bent.values()]).norm())
    for name in point:
        what = f"second derivative with respect to `{name}`"
        _require_near(what, second[name].expand_as(bent[name]), bent[name], 1e-5 * whole)


def _direction(point: Mapping[str, Tensor]) -> dict[str, Tensor]:
    rng = generator(3)
    v = {name: torch.randn(t.shape, generator=rng, dtype=t.dtype) for name, t in point.items()}
    length = torch.cat([values.flatten() for values in v.values()]).norm()
    return {name: values / length for name, values in v.items()}


def _require_near(name: str, came: Tensor, expected: Tensor, floor: float = 0.0) -> None:
    """Within a ten-thousandth, apart from what rounding does to a difference of 1e-5."""
    require_finite(f"the {name}", came)
    error, size = float((came - expected).detach().norm()), float(expected.detach().norm())
    require(
        error <= 1e-4 * size + floor + 1e-7,
        f"the {name} has length {float(came.detach().norm()):.4g}, off by {error:.2g}",
        f"that of a central difference, {size:.4g}",
    )


def _gradient(
    value: Tensor, point: Mapping[str, Tensor], create_graph: bool = False
) -> dict[str, Tensor]:
    grads = torch.autograd.grad(
        value, list(point.values()), create_graph=create_graph, allow_unused=True
    )
    return {
        name: torch.zeros_like(tensor) if grad is None else grad
        for (name, tensor), grad in zip(point.items(), grads)
    }


def describe(subject: Any) -> str:
    """Class name of a part, or the name of a function that makes one."""
    return getattr(subject, "__name__", None) or type(subject).__name__
