"""Characteristic classes: of bands over a torus, of bundles in exact rings, of surfaces."""

from .band_hamiltonians import Hamiltonian, dirac_vector, haldane, qwz, qwz_vector, ssh, two_band
from .bundles import ComplexBundle, RealBundle, from_chern_character, line_bundle
from .chern_lattice import ChernNumber, chern_number
from .gauss_bonnet import angle_defects, euler_number
from .manifolds import (
    CharacteristicClasses,
    ClosedManifold,
    complete_intersection,
    k3_surface,
    product,
    projective_space,
    quaternionic_projective_space,
    sphere,
)
from .map_degree import MapDegree, dirac_second_chern_number, map_degree
from .rational_ring import RationalClass, RationalRing
from .wilson_loop import berry_phase, wilson_loop, wilson_spectrum, zak_phase

__all__ = [
    "CharacteristicClasses",
    "ChernNumber",
    "ClosedManifold",
    "ComplexBundle",
    "Hamiltonian",
    "MapDegree",
    "RationalClass",
    "RationalRing",
    "RealBundle",
    "angle_defects",
    "berry_phase",
    "chern_number",
    "complete_intersection",
    "dirac_second_chern_number",
    "dirac_vector",
    "euler_number",
    "from_chern_character",
    "haldane",
    "k3_surface",
    "line_bundle",
    "map_degree",
    "product",
    "projective_space",
    "quaternionic_projective_space",
    "qwz",
    "qwz_vector",
    "sphere",
    "ssh",
    "two_band",
    "wilson_loop",
    "wilson_spectrum",
    "zak_phase",
]
