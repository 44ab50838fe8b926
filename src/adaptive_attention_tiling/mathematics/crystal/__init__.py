"""Bravais lattices and their vibrations."""

from .phonons import dynamical_matrix, face_centred_cubic, nearest_neighbours, phonon_modes

__all__ = ["dynamical_matrix", "face_centred_cubic", "nearest_neighbours", "phonon_modes"]
