"""The verb ``gtl compress``: a compression on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gtl.checkpoint import read_json
from gtl.reader_options import typed_options


def compress(
    run: Path,
    method: Any = "int8",
    data: str | dict | None = None,
    root: Path | None = None,
    seed: int = 0,
    device: str | None = None,
    out: Path | None = None,
    resume: bool = False,
) -> str:
    """Make a trained run smaller or faster: int8, prune, low_rank, distill, several in a row.

    Args:
        run: Run folder of finetune or of another compression.
        method: int8, prune, low_rank, distill or finetune. Options: '{name: prune, keep: 0.5}';
            several in a row: '[prune, finetune, int8]'.
        data: What to train and measure on, a spec or a mapping; the data of the run by default.
        root: Folder of named data sets; GTL_DATA by default.
        seed: Reproduces the compression bit for bit.
        device: Where to train; by default where the model is.
        out: Run folder to write; by default beside the run, named after the steps.
        resume: Continue in the folder.

    Returns:
        A line for each measure, before and after.
    """
    import gtl
    from gtl.efficiency.steps import STEPS, as_steps

    steps = as_steps(method)
    if out is None:
        out = run.with_name(f"{run.name}-{'-'.join(STEPS.name_of(step) for step in steps)}")
    if isinstance(data, Mapping):
        spec = data.get("spec") or read_json(run / "config.json").get("data")
        options = {key: value for key, value in data.items() if key != "spec"}
        data = {**data, **typed_options(str(spec), options)}
    how = {"method": method, "root": root, "seed": seed, "device": device}
    model = gtl.compress(run, data, **how, out=out, resume=resume)
    return f"{comparison(model.results)}\nrun folder: {out}"


def comparison(results: Mapping[str, Any]) -> str:
    """Both ends of a compression as lines of text.

    Args:
        results: Of the model that :func:`gtl.compress` returns.
    """
    ends = results["compression"]
    before, after = ends["before"], ends["after"]
    rows = [("", "before", "after")]
    for name, shown in _SHOWN.items():
        if before.get(name) is not None and after.get(name) is not None:
            title = name if name not in ("valid", "test") else f"{name} {results['metric']}"
            rows.append((title, f"{before[name]:{shown}}", f"{after[name]:{shown}}"))
    return "\n".join(f"{title:16}{one:>14}{two:>14}" for title, one, two in rows)


_SHOWN = {
    "valid": ".4f",
    "test": ".4f",
    "parameters": ",",
    "bytes": ",",
    "flops": ",",
    "latency_p50_ms": ".3f",
    "latency_p95_ms": ".3f",
}
