"""Tenants, their credentials and their configuration."""
