"""The cell's tenants, and the configuration of each: pure."""
