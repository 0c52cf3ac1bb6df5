"""All selectors by their names: those that may be in the file of a system."""

from slicing.adaptive.activations import PremodelActivations
from slicing.adaptive.cascade import Cascade
from slicing.adaptive.deferral import Deferral
from slicing.adaptive.premodel import Premodel
from slicing.adaptive.selector import Selector
from slicing.adaptive.simple import Fixed, Random

SELECTORS: dict[str, type[Selector]] = {
    each.name: each for each in (Fixed, Random, Premodel, PremodelActivations, Cascade, Deferral)
}
