"""Generated code of the public protos (see scripts/protos.sh)."""
