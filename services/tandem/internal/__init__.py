"""Generated code of the protos for log and link (see scripts/protos.sh)."""
