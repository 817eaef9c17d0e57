"""Processes that outlive cells: trainings, generations, scripts."""
