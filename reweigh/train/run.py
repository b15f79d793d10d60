"""One training from events to a model that has been measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from reccore.weights import Weights
from recsvc.models.model import Model
from reweigh.progress import Tell
from reweigh.train.events import TEST, VALIDATION, EventTable
from reweigh.train.fitting import Choice, best_blend, blended, fit
from reweigh.train.lift import LiftAnswers
from reweigh.train.measuring import Quality, measure


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and how its rankings did for ``measured_by`` people; none where nobody has anything held out."""

    model: Model
    qualities: Mapping[str, Quality]
    measured_by: int
    chosen_by: int


def train(table: EventTable, weights: Weights, choice: Choice, most_people: int, tell: Tell) -> Trained:
    """Train on what is known, choose the blend by one half of the people, measure by the other, train on everything.

    Raises :class:`~reweigh.errors.CommandError` when there is nothing to train on.
    """
    events = table.prepare(most_people)
    model = fit(table.interactions(held_out=True), weights.values, choice, tell)
    validation = table.people(VALIDATION)
    model = blended(model, best_blend(model, validation, weights.values, tell))
    test = table.people(TEST)
    qualities = measure(model, test, LiftAnswers(table, weights), weights)
    interactions = table.interactions(held_out=False)
    model = fit(interactions, weights.values, choice, tell, blend=model.parameters.blend)
    training = {
        "events": events,
        "people": interactions.people,
        "weights": weights.as_dict(),
        "choice": asdict(choice),
        "measured_by": len(test),
        "chosen_by": len(validation),
        "qualities": {name: asdict(each) for name, each in qualities.items()},
    }
    return Trained(replace(model, training=training), qualities, len(test), len(validation))
