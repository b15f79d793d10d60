"""One training from events to a model that has been measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from reccore.weights import Weights
from recsvc.models.model import BLEND, MOST_POPULAR, Model
from reweigh.progress import Tell
from reweigh.train.events import TEST, VALIDATION, EventTable
from reweigh.train.fitting import Choice, best_blend, blended, fit
from reweigh.train.lift import LiftAnswers
from reweigh.train.measuring import LIFT, Quality, measure

SERVED: Final = (MOST_POPULAR, LIFT, BLEND)
"""The rankings that a service may answer by."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and how its rankings did for ``measured_by`` people; none where nobody has anything held out.

    For the other half, the ``chosen_by`` people, ``best`` did best of the rankings that can be served.
    """

    model: Model
    qualities: Mapping[str, Quality]
    measured_by: int
    chosen_by: int
    best: str | None


def train(table: EventTable, weights: Weights, choice: Choice, most_people: int, tell: Tell) -> Trained:
    """Train on what is known, choose the blend by one half of the people, measure by the other, train on everything.

    Raises :class:`~reweigh.errors.CommandError` when there is nothing to train on.
    """
    events = table.prepare(most_people)
    model = fit(table.interactions(held_out=True), weights.values, choice, tell)
    validation, test = table.people(VALIDATION), table.people(TEST)
    model = blended(model, best_blend(model, validation, weights.values, tell))
    lift = LiftAnswers(table, weights)
    chosen, qualities = (measure(model, people, lift, weights) for people in (validation, test))
    best = max(SERVED, key=lambda name: chosen[name].ndcg.mean) if chosen else None
    interactions = table.interactions(held_out=False)
    model = fit(interactions, weights.values, choice, tell, blend=model.parameters.blend)
    training = {
        "events": events,
        "people": interactions.people,
        "weights": weights.as_dict(),
        "choice": asdict(choice),
        "measured_by": len(test),
        "chosen_by": len(validation),
        "best": best,
        "qualities": {name: asdict(each) for name, each in qualities.items()},
    }
    return Trained(replace(model, training=training), qualities, len(test), len(validation), best)
