"""Objectives shared by the scripts of this folder."""
