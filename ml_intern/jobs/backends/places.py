"""From the name of a place to its backend; each is made when it is first needed."""

from __future__ import annotations

from ml_intern.jobs.backends.base import Backend, Site
from ml_intern.jobs.model import Compute, Place


class Backends:
    """The backends of one session's jobs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: dict[str, Backend] = {}

    def of(self, place: Place) -> Backend:
        """Who runs the jobs of a place."""
        if place.compute not in self._made:
            self._made[place.compute] = self._make(place.compute)
        return self._made[place.compute]

    def _make(self, compute: Compute) -> Backend:
        from ml_intern.jobs.backends.here import Here, InDocker

        if compute == "slurm":
            from ml_intern.jobs.backends.slurm import OnSlurm

            return OnSlurm(self._site)
        if compute == "hf-jobs":
            from ml_intern.jobs.backends.remote import OnHub

            return OnHub(self._site)
        return InDocker(self._site) if compute == "docker" else Here(self._site)
