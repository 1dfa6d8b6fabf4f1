"""What a worker serves just now, and which version a request means."""

from __future__ import annotations

from collections.abc import Mapping

from inferctl.arena.spec import Roster
from inferctl.refusals import NotFound
from inferctl.server.offer import ModelDescription
from inferctl.server.served import ServedModel

LATEST = "latest"


class Catalogue:
    """The roster with its models: `models` has the default version of each, by name."""

    def __init__(self) -> None:
        self.roster = Roster()
        self.models: dict[str, ServedModel] = {}
        self.default: ServedModel | None = None
        # By the model's name, then by what a request may call the version.
        self._versions: dict[str, dict[str, ServedModel]] = {}

    def renew(self, roster: Roster, by_place: Mapping[int, ServedModel]) -> None:
        """Another roster counts from now on."""
        self.roster = roster
        self.models = {
            name: by_place[served.places[served.default]] for name, served in roster.models.items()
        }
        self.default = self.models.get(roster.default or "")
        self._versions = {}
        for name, served in roster.models.items():
            versions = {version: by_place[place] for version, place in served.places.items()}
            self._versions[name] = {
                LATEST: versions[max(versions)],
                **{label: versions[version] for label, version in served.labels.items()},
                **{str(version): model for version, model in versions.items()},
            }

    def find(self, name: str, version: str = "") -> ServedModel:
        """A version by its number or label, or the default one. Raises NotFound."""
        if name not in self.models:
            raise NotFound("no such model", hint="GET /models lists them")
        if not version:
            return self.models[name]
        if version not in self._versions[name]:
            raise NotFound("this version is not served", hint="GET /models lists them")
        return self._versions[name][version]

    def versions(self, name: str) -> Mapping[str, ServedModel]:
        """The versions of a model that is served, by each of their names."""
        return self._versions[name]

    def served(self) -> list[ServedModel]:
        """Every version of every model."""
        return [
            self.find(name, str(version))
            for name, served in self.roster.models.items()
            for version in sorted(served.places)
        ]

    def describe(self, model: ServedModel) -> ModelDescription:
        """What /models says of a version."""
        versions = self.roster.models[model.name]
        return model.offer.describe(versions, default=model.name == self.roster.default)
