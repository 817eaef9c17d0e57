"""Handlers for jobs: run, list, inspect, cancel, logs, and what hardware there is."""

from __future__ import annotations

import json
from collections.abc import Iterator

from starlette.responses import JSONResponse, Response, StreamingResponse

from ml_intern.hub.names import Problem
from ml_intern.hub.running import Running, running
from ml_intern.hub.wire import Call, Routes, number

routes = Routes()


@routes.add("GET /api/jobs/hardware")
def hardware(call: Call) -> Response:
    """The machines and prices of HF Jobs, though this Hub runs everything here and sends no bill."""
    from ml_intern.jobs.flavors import flavors

    rows = []
    for row in flavors().values():
        vram = f"{row.gpu_gb * row.gpus:g} GB"
        gpu = {
            "type": "gpu",
            "model": row.gpu,
            "quantity": str(row.gpus),
            "vram": vram,
            "manufacturer": "Nvidia",
        }
        cost = row.usd_per_hour / 60
        rows.append(
            {
                "name": row.name,
                "prettyName": row.name,
                "cpu": f"{row.cores} vCPU",
                "ram": f"{row.memory_gb:g} GB",
                "accelerator": gpu if row.gpus else None,
                "unitCostMicroUSD": round(cost * 1e6),
                "unitCostUSD": cost,
                "unitLabel": "minute",
            }
        )
    return JSONResponse(rows)


@routes.add("POST /api/jobs/{ns}")
def run(call: Call) -> Response:
    """Start a job in the user's own namespace."""
    return JSONResponse(_own(call).run(call.path["ns"], call.json()))


@routes.add("GET /api/jobs/{ns}")
def find(call: Call) -> Response:
    """The jobs of a namespace, filtered by stage and labels."""
    stages = {stage.upper() for stage in call.query.get("stage", [])}
    labels = [label.partition("=")[::2] for label in call.query.get("label", [])]
    rows = [
        row
        for row in _own(call).list(call.path["ns"])
        if (not stages or row["status"]["stage"] in stages)
        and all((row.get("labels") or {}).get(name) == value for name, value in labels)
    ]
    return call.page(rows, 100)


@routes.add("GET /api/jobs/{ns}/{id}")
def inspect(call: Call) -> Response:
    """One job."""
    return JSONResponse(_own(call).inspect(call.path["ns"], call.path["id"]))


@routes.add("POST /api/jobs/{ns}/{id}/cancel")
def cancel(call: Call) -> Response:
    """End a job."""
    return JSONResponse(_own(call).cancel(call.path["ns"], call.path["id"]))


@routes.add("GET /api/jobs/{ns}/{id}/logs")
def logs(call: Call) -> Response:
    """The log as server-sent events, from its beginning until the job has ended."""
    jobs, ns, id = _own(call), call.path["ns"], call.path["id"]
    jobs.inspect(ns, id)  # first: what is not there is told with its status
    tail = number(call.one("tail"), 0) if call.one("tail") else None

    def events() -> Iterator[str]:
        for line in jobs.lines(ns, id, tail):
            yield ": waiting\n\n" if line is None else f"data: {json.dumps({'data': line})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


def _own(call: Call) -> Running:
    """The jobs, for whoever asks about a namespace of theirs: nobody runs anything in another's name."""
    if call.need_user() != call.path["ns"]:
        raise Problem("Forbidden", f"{call.user} may not run jobs as {call.path['ns']}.")
    return running(call.storage.root)
