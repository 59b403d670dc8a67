"""Flows of custom-prefect-result run here."""
